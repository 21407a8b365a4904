import type { ClickHouseClient } from '@clickhouse/client';
import { WalhouseError } from '../../pipeline/errors.js';
import type { Lsn } from '../../pipeline/lsn.js';
import { rowsReplaced, type Column, type Relation } from '../../pipeline/relation.js';
import { parseDefinition } from '../../sink/evolution.js';
import { qualified } from '../../sink/identifier.js';
import type { MaskedColumns } from '../../sink/mask.js';
import { COMMITTED_AT, databasesFor, IS_DELETED, SYNCED_AT, tableName, VERSION } from '../../sink/names.js';
import { askClickHouse } from './sides.js';
import { maskedForm, sqlForm, type SqlForm } from './sql-forms.js';

export interface CheckedColumn {
  readonly column: Column;
  readonly form: SqlForm;
  /** Landing has its hash. */
  readonly masked: boolean;
  /** The type in landing. */
  readonly clickHouseType: string;
}

/** What of a table can be compared, and what cannot. */
export interface ComparedTable {
  readonly relation: Relation;
  readonly landing: { readonly database: string; readonly table: string };
  /** Those that are masked come last. */
  readonly checked: readonly CheckedColumn[];
  /** Indexes into `checked`, in the order of the key. */
  readonly key: readonly number[];
  readonly columns: ColumnFindings;
  /** The position of the snapshot that the copy which people read began with. */
  readonly copiedAt: Lsn;
  /** It was made from other columns than the source has, or before the source replaced the rows: by hand, or a new copy is about to be made. */
  readonly isOther: boolean;
}

export interface ColumnFindings {
  /** Columns of the source that ClickHouse does not have. */
  readonly missing: readonly string[];
  readonly extra: readonly string[];
  /** Columns of both whose types have no common form: nothing is known of their values. */
  readonly unchecked: readonly string[];
}

const OWN_COLUMNS = new Set([VERSION, IS_DELETED, COMMITTED_AT, SYNCED_AT]);

/**
 * Sets a source table's columns against its landing table's. Throws `table_missing` when ClickHouse has none, and when a
 * column of its key cannot be compared: nothing could be said of any row. Throws `schema_changed` when it is masked otherwise than `masked`
 * says.
 */
export async function comparedTable(
  client: ClickHouseClient,
  database: string,
  relation: Relation,
  masked: MaskedColumns | null,
): Promise<ComparedTable> {
  const landing = {
    database: databasesFor(database).landing,
    table: tableName(relation.schema, relation.name),
  };
  const stored = await askClickHouse<{ name: string; type: string }>(
    client,
    'select name, type from system.columns where database = {database:String} and table = {table:String} order by position',
    landing,
  );
  const types = new Map(stored.map(({ name, type }) => [name, type]));
  if (types.size === 0) {
    throw new WalhouseError('table_missing', {
      what: `ClickHouse has no table ${landing.database}.${landing.table}.`,
      why: 'There is nothing to compare with.',
      fix: 'let the snapshot of the table finish first (walhouse status), or correct sink.database',
    });
  }
  // After its columns: a copy that takes its place in between is told by its position.
  const [made] = await askClickHouse<{ definition: string; stamp: string; copied_at: string }>(
    client,
    `select definition, stamp, toString(snapshot_lsn) as copied_at from ${qualified(landing.database, '_walhouse_tables')} final where id = {id:String}`,
    { id: relation.id },
  );
  refuseOtherMask(made?.definition ?? '', relation, masked);
  const found: CheckedColumn[] = [];
  const missing: string[] = [];
  const unchecked: string[] = [];
  for (const column of relation.columns) {
    const clickHouseType = types.get(column.name);
    const isMasked = masked?.names.includes(column.name) === true;
    const form =
      clickHouseType === undefined
        ? null
        : isMasked
          ? maskedForm(column.type)
          : sqlForm(column.type, clickHouseType);
    if (clickHouseType === undefined) missing.push(column.name);
    else if (form === null) unchecked.push(column.name);
    else found.push({ column, form, clickHouseType, masked: isMasked });
  }
  const checked = [...found.filter((each) => !each.masked), ...found.filter((each) => each.masked)];
  const key = relation.key.map((index) => {
    const name = relation.columns[index]!.name;
    const place = checked.findIndex(({ column }) => column.name === name);
    if (place >= 0) return place;
    throw new WalhouseError('sink_unsupported', {
      what: `the key column ${relation.id}.${name} is ${relation.columns[index]!.type.text} in Postgres and ${types.get(name) ?? 'not there'} in ClickHouse.`,
      why: 'Rows cannot be told apart the same way on both sides, so nothing can be compared.',
      fix: `walhouse resync ${relation.id}`,
    });
  });
  const names = new Set(relation.columns.map(({ name }) => name));
  const extra = [...types.keys()].filter((name) => !names.has(name) && !OWN_COLUMNS.has(name));
  const isOther = missing.length + extra.length > 0 || rowsReplaced(made?.stamp, relation.stamp);
  const copiedAt = BigInt(made?.copied_at ?? '0');
  return { relation, landing, checked, key, columns: { missing, extra, unchecked }, copiedAt, isOther };
}

/** Whether the same is compared of both. */
export function isSame(one: ComparedTable, other: ComparedTable): boolean {
  const told = ({ checked, columns }: ComparedTable): string =>
    JSON.stringify([checked.map(({ column, clickHouseType }) => [column.name, clickHouseType]), columns]);
  return told(one) === told(other);
}

/** With another key every hash would differ, and nothing be wrong with any row. */
function refuseOtherMask(stored: string, { id, columns }: Relation, masked: MaskedColumns | null): void {
  const definition = parseDefinition(stored);
  if (definition === null) return;
  const there = new Map(definition.columns.map(({ name, mask }) => [name, mask]));
  const other = columns.find(
    ({ name }) =>
      there.get(name) !== (masked?.names.includes(name) === true ? masked.masker.keyId : undefined),
  );
  if (other === undefined) return;
  throw new WalhouseError('schema_changed', {
    what: `${id}.${other.name} is masked otherwise in ClickHouse than this configuration says, or with another masking.key.`,
    why: 'Every value of it would seem to differ.',
    fix: 'compare with the configuration and the key that walhouse run has; after a change of either, let it copy the table anew first',
    table: id,
  });
}
