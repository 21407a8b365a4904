import { WalhouseError } from '../pipeline/errors.js';
import type { Relation } from '../pipeline/relation.js';
import { absentColumn, copyToo } from './absent-column.js';
import { ARRAY_GROWTH } from './array-encoder.js';
import { qualified, quoteName } from './identifier.js';
import { RowMask, type Masker } from './mask.js';
import { AUDIT_PREFIX, COMMITTED_AT, IS_DELETED, VERSION, VERSIONS_PREFIX, type Databases } from './names.js';
import { retentionColumn, type Retention } from './retention.js';
import { requireMapping } from './type-override.js';
import { storedType, TEXT, type StoredType } from './types.js';

export interface PlannedColumn {
  readonly name: string;
  readonly stored: StoredType;
  /** Part of the sort key: a row whose value here cannot be held was never stored. */
  readonly sorts: boolean;
  /** It is masked, and with which key: `Masker.keyId`. */
  readonly mask?: string;
  /** What changes show that are older than the column, where such may come. */
  readonly missing?: Missing;
}

export interface Missing {
  /** Postgres's text; null for SQL null. */
  readonly text: string | null;
  /** As it is encoded. */
  readonly field: Buffer;
}

/** How one source table is kept: everything that the hot path and the DDL need to know, worked out once. */
export interface TablePlan {
  readonly relation: Relation;
  readonly id: string;
  /** The name in ClickHouse, without its database. */
  readonly name: string;
  /** Qualified and quoted. */
  readonly landing: string;
  readonly view: string;
  readonly audit: string;
  /** The table behind the audit view. */
  readonly auditRows: string;
  /** Where a table with history keeps every version of its rows, as landing would. */
  readonly versions: string;
  readonly columns: readonly PlannedColumn[];
  /** What rows go through before anything else; null where no column is masked. */
  readonly mask: RowMask | null;
  /** How often longer than Postgres's text a row may become. */
  readonly growth: number;
  /** What `missing` values take in a row at most. */
  readonly missingBytes: number;
  readonly retention: Retention | null;
  readonly history: boolean;
  /** Columns (indexes) whose change must leave a tombstone under the old image: sort keys, retention, what marts sort or filter by. */
  readonly tracked: readonly number[];
  /** Old rows must come whole: something besides the key is tracked, or every change is kept. */
  readonly needsFull: boolean;
  /** The column list of every insert, quoted, in the order the encoder writes. */
  readonly insertColumns: readonly string[];
}

export interface PlanOptions {
  readonly databases: Databases;
  readonly name: string;
  readonly retention: Retention | null;
  readonly history: boolean;
  /** Names of columns that marts track. */
  readonly martColumns: readonly string[];
  /** What the configuration says of single columns, by name. */
  readonly columns?: ColumnOptions | undefined;
  /** Names of columns of which nothing is kept but a hash. */
  readonly mask?: readonly string[] | undefined;
  /** Must be there where a column is masked. */
  readonly masker?: Masker | undefined;
}

export type ColumnOptions = Readonly<Record<string, { readonly type?: string | undefined }>>;

export function planTable(relation: Relation, options: PlanOptions): TablePlan {
  const { databases, name, retention, history, martColumns, columns: chosen = {} } = options;
  const { mask = [], masker } = options;
  if (relation.key.length === 0) {
    throw noIdentity(
      relation,
      'has no primary key and no replica identity index, so its rows cannot be told apart.',
      'An update or delete could not be followed.',
      `ALTER TABLE ${sourceName(relation)} ADD PRIMARY KEY (...);`,
    );
  }
  const masked = maskedColumns(relation, mask);
  if (masked.size > 0 && masker === undefined)
    throw new Error(`${relation.id} is to be masked without a key`);
  const stored = storedTypes(relation, chosen, masked);
  const retained = retention === null ? null : retentionColumn(relation, retention, stored);
  const tracked = new Set(relation.key);
  if (retained !== null) tracked.add(retained);
  for (const column of martColumns) tracked.add(columnIndex(relation, column));
  const needsFull = history || tracked.size > relation.key.length;
  if (needsFull && relation.replicaIdentity !== 'full') {
    const reason = history
      ? 'its history is kept'
      : `${[...tracked]
          .filter((index) => !relation.key.includes(index))
          .map((index) => `"${relation.columns[index]!.name}"`)
          .join(', ')} decides where and how long its rows are kept`;
    throw identityNotFull(relation, reason);
  }
  const columns = relation.columns.map((column, index) => ({
    name: column.name,
    stored: stored[index]!,
    sorts: relation.key.includes(index) || index === retained,
    ...(masked.has(index) ? { mask: masker!.keyId } : {}),
  }));
  return {
    relation,
    id: relation.id,
    name,
    landing: qualified(databases.landing, name),
    view: qualified(databases.views, name),
    audit: qualified(databases.audit, name),
    auditRows: qualified(databases.landing, `${AUDIT_PREFIX}${name}`),
    versions: qualified(databases.landing, `${VERSIONS_PREFIX}${name}`),
    columns,
    mask:
      masked.size === 0
        ? null
        : new RowMask(
            masker!,
            relation.columns.map((_, index) => masked.has(index)),
          ),
    missingBytes: 0,
    growth: stored.some(({ base }) => base.startsWith('Array(')) ? ARRAY_GROWTH : 2,
    retention,
    history,
    tracked: [...tracked],
    needsFull,
    insertColumns: [...columns.map((column) => column.name), VERSION, IS_DELETED, COMMITTED_AT].map(
      quoteName,
    ),
  };
}

/** Indexes of the columns to be masked; throws `config_invalid` for one that is not there, or that rows are told apart by. */
function maskedColumns(relation: Relation, names: readonly string[]): ReadonlySet<number> {
  const indexes = names.map((name) => relation.columns.findIndex((column) => column.name === name));
  indexes.forEach((index, place) => {
    const name = names[place]!;
    const known = relation.columns.map((column) => column.name).join(', ');
    if (index < 0) {
      throw new WalhouseError('config_invalid', {
        what: `tables.${relation.id}.mask names "${name}", and ${absentColumn(relation, name)}.`,
        why: 'If it has another name now, it would be copied as it is.',
        fix: `name one of: ${known}; or remove "${name}" from the list`,
        table: relation.id,
      });
    }
    if (relation.key.includes(index)) {
      throw new WalhouseError('config_invalid', {
        what: `tables.${relation.id}.mask names "${name}", which is part of the key.`,
        why: 'Rows are compared, repaired and erased by their keys in Postgres, which does not know the hash.',
        fix: `remove "${name}" from the list; or give the table another primary key in Postgres, or a replica identity index without it`,
        table: relation.id,
      });
    }
  });
  return new Set(indexes);
}

/** Each column's type: its own, the one that the configuration chose, or text where it is masked. */
function storedTypes(relation: Relation, chosen: ColumnOptions, masked: ReadonlySet<number>): StoredType[] {
  const known = new Map(relation.columns.map((column, index) => [column.name, index]));
  for (const [name, { type }] of Object.entries(chosen)) {
    const index = known.get(name);
    if (index === undefined) {
      throw new WalhouseError('config_invalid', {
        what: `tables.${relation.id}.columns names "${name}", and ${absentColumn(relation, name)}.`,
        why: 'What it says would apply to nothing.',
        fix: `name one of: ${[...known.keys()].join(', ')}`,
      });
    }
    if (type?.trim().startsWith('Array(') === true && relation.key.includes(index)) {
      throw new WalhouseError('config_invalid', {
        what: `tables.${relation.id}.columns.${name}.type is "${type}", and the column is part of the key.`,
        why: 'Rows are sorted and looked up by their key.',
        fix: 'leave it out; an array in a key is kept as text',
      });
    }
  }
  return relation.columns.map((column, index) => {
    if (masked.has(index)) return storedType(column, TEXT);
    const type = Object.hasOwn(chosen, column.name) ? chosen[column.name]!.type : undefined;
    return type === undefined
      ? storedType(column)
      : storedType(column, requireMapping(relation.id, column.name, column.type, type));
  });
}

function columnIndex(relation: Relation, name: string): number {
  const index = relation.columns.findIndex((column) => column.name === name);
  if (index >= 0) return index;
  throw new WalhouseError('mart_invalid', {
    what: `a mart tracks ${relation.id}.${name}, and ${absentColumn(relation, name)}.`,
    why: 'Its rows could not follow the source.',
    fix: `${copyToo(relation, name) ?? 'correct the "-- tracks:" line of the mart'}, or leave the mart out of marts in walhouse.yaml`,
  });
}

/** The table as it must be written in SQL for Postgres. */
export function sourceName(relation: Pick<Relation, 'schema' | 'name'>): string {
  return [relation.schema, relation.name]
    .map((part) => (/^[a-z_][a-z0-9_]*$/.test(part) ? part : `"${part.replaceAll('"', '""')}"`))
    .join('.');
}

export function identityNotFull(relation: Relation, reason: string): WalhouseError {
  return noIdentity(
    relation,
    `has replica identity ${relation.replicaIdentity.toUpperCase()}, and needs FULL because ${reason}.`,
    'Without the old row, what it was counted under could not be taken back.',
    `ALTER TABLE ${sourceName(relation)} REPLICA IDENTITY FULL;`,
  );
}

function noIdentity(relation: Relation, what: string, why: string, fix: string): WalhouseError {
  return new WalhouseError('table_no_identity', {
    what: `${relation.id} ${what}`,
    why,
    fix,
    table: relation.id,
  });
}
