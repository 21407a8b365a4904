/** What Postgres's catalog says of a column's type, with domains resolved to what they stand on. */
export interface ColumnType {
  /** `pg_type.typname` for types of pg_catalog (`int4`, `numeric`, `timestamptz`); `schema.name` for others. */
  readonly name: string;
  readonly kind: 'base' | 'enum' | 'composite' | 'range' | 'multirange' | 'array';
  /** `atttypmod`, or the domain's; -1 when there is none. numeric(p,s) is `((p << 16) | (s & 0x7ff)) + 4`. */
  readonly modifier: number;
  /** As a person would write it: `numeric(12,2)`. */
  readonly text: string;
  /** The element's type when `kind` is `array`. */
  readonly element?: ColumnType;
  /** The labels, in their order, when `kind` is `enum`. */
  readonly labels?: readonly string[];
}

export interface Column {
  readonly name: string;
  readonly type: ColumnType;
  readonly notNull: boolean;
  /** A STORED generated column: logical decoding leaves it out before Postgres 18. */
  readonly generated: boolean;
  readonly comment: string | null;
}

export type ReplicaIdentity = 'default' | 'full' | 'index' | 'nothing';

/** A source table as the catalog describes it. Tuples of it follow the order of `columns`. */
export interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `schema.name`, unquoted: how configuration, status and messages call it. */
  readonly id: string;
  readonly columns: readonly Column[];
  /** Indexes into `columns` of the key that tells rows apart: primary key, or the replica identity index. */
  readonly key: readonly number[];
  readonly replicaIdentity: ReplicaIdentity;
  readonly comment: string | null;
  /**
   * Tells whether its rows were rewritten without a row event, see `rowsRewritten`. Opaque; left out where it is not known.
   */
  readonly stamp?: string;
}

/** What a stamp holds, as JSON. */
export interface RelationStamp {
  /** The files that the rows are in. VACUUM FULL, CLUSTER and TRUNCATE change them as well. */
  readonly files: string;
  /** By which transactions the columns were last defined. SET DEFAULT and GRANT change them as well. */
  readonly columns: string;
}

/** Whether an ALTER TABLE has rewritten the rows between two looks: both of what it changes have changed. */
export function rowsRewritten(before: string | undefined, after: string | undefined): boolean {
  if (!before || !after || before === after) return false;
  const then = JSON.parse(before) as RelationStamp;
  const now = JSON.parse(after) as RelationStamp;
  return then.files !== now.files && then.columns !== now.columns;
}
