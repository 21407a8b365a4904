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
  /** Its number in the table, which stays with it when it is renamed. */
  readonly attnum?: number;
  readonly type: ColumnType;
  readonly notNull: boolean;
  /** A generated column: pgoutput leaves it out before Postgres 18. */
  readonly generated: boolean;
  /** A generated column that is not stored: its values are in no change. */
  readonly virtual?: boolean;
  readonly comment: string | null;
}

/** What the configuration selects of a source table. */
export interface Selection {
  /** Every column of the table, in its order. What the relation's `columns` have not is left out, and passed over unread. */
  readonly names: readonly string[];
  /** Virtual generated columns among those that are left out. */
  readonly virtual: readonly string[];
  /** The configuration names what is copied, so that columns the table gets later are left out too. */
  readonly closed: boolean;
  /** The condition that rows must meet, as Postgres prints it, columns without their table; null when all do. */
  readonly where: string | null;
  /** The columns that the condition reads; they may be left out. */
  readonly whereColumns: readonly WhereColumn[];
}

export interface WhereColumn extends Column {
  /** Its type, or its domain, is not Postgres's own. */
  readonly foreign: boolean;
  /** Texts that differ may be equal, by its collation. */
  readonly fuzzy: boolean;
}

export type ReplicaIdentity = 'default' | 'full' | 'index' | 'nothing';

/** A source table as the catalog describes it, or what is selected of it. Tuples of it follow the order of `columns`. */
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
  /** Left out where whole rows are copied, and all of them. */
  readonly selection?: Selection;
  /**
   * Tells whether its rows were replaced without a row event, see `rowsReplaced`. A `RelationStamp` as JSON; left out where it is
   * not known.
   */
  readonly stamp?: string;
}

/** What the catalog says of the rows of a table, all of it seen at one moment. */
export interface RelationStamp {
  /** The file that the rows are in; empty for a partitioned table. VACUUM FULL, CLUSTER and TRUNCATE change it as well. */
  readonly file: string;
  /** By which transactions the columns were last defined. SET DEFAULT and GRANT change them as well. */
  readonly columns: string;
  /** How many columns the table has ever had. */
  readonly width: number;
  /**
   * What Postgres shows in rows that are older than a column and were not rewritten for it, by the column's name: the text of the
   * constant it was added with. False where rows of several partitions show different things. Left out where such rows show null, or
   * where there are none.
   */
  readonly missing: Readonly<Record<string, string | false>>;
  /** The partitions that hold a partitioned table's rows; empty for any other. */
  readonly leaves: readonly Leaf[];
  /**
   * By which transaction the table (its row type, that is) last got its name, schema or owner. Only where changes are told by the
   * name alone: what was done to it under another name is not in the stream then.
   */
  readonly named?: string;
}

/** A partition that has rows of its own. */
export interface Leaf {
  readonly oid: number;
  /** By which transactions it was attached, from the root down to it: another one after each DETACH and ATTACH. */
  readonly link: string;
  readonly file: string;
  /** All that is in it came through the root since it was attached: it was made as a partition, or is empty. */
  readonly fresh: boolean;
}

/**
 * Whether rows of a table became others between two looks without a row event in the stream.
 *
 * An ALTER TABLE that rewrites rows changes both the file and a column. (TRUNCATE of the table itself is in the stream, and VACUUM
 * FULL leaves the rows as they are; both change the file alone.) Of a partitioned table nothing is in the stream that happens to single
 * partitions: TRUNCATE, DROP, DETACH and ATTACH. A new partition without rows of its own changes nothing. That a partition's file
 * is another one may also come from VACUUM FULL or CLUSTER, which the catalog does not tell apart from TRUNCATE.
 */
export function rowsReplaced(before: string | undefined, after: string | undefined): boolean {
  if (!before || !after || before === after) return false;
  const then = JSON.parse(before) as RelationStamp;
  const now = JSON.parse(after) as RelationStamp;
  if (then.file !== now.file && then.columns !== now.columns) return true;
  if (then.named !== undefined && now.named !== undefined && then.named !== now.named) return true;
  const known = new Map(then.leaves.map((leaf) => [leaf.oid, leaf]));
  for (const leaf of now.leaves) {
    const same = known.get(leaf.oid);
    known.delete(leaf.oid);
    if (same === undefined ? !leaf.fresh : same.link !== leaf.link || same.file !== leaf.file) return true;
  }
  return known.size > 0;
}
