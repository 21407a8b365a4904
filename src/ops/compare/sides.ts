import type { ClickHouseClient } from '@clickhouse/client';
import type { ClientBase } from 'pg';
import { to as copyTo } from 'pg-copy-streams';

import { WalhouseError } from '../../pipeline/errors.js';
import type { Canonical } from './canonical.js';
import { readFields } from './fields.js';
import type { ComparedRelation } from './relation.js';
import type { RetentionCut } from './retention-cut.js';

/** A view in ClickHouse, e.g. `{ database: 'shop', name: 'payments' }`. */
export interface ComparedView {
  readonly database: string;
  readonly name: string;
}

export interface ComparedColumn {
  readonly name: string;
  readonly canonical: Canonical;
}

/** Rows in the order of the columns, in canonical texts, some at a time. */
export type CanonicalRows = AsyncGenerator<(string | null)[][]>;

/** The settings under which Postgres's output functions print what the canonical texts expect. */
export async function pinSession(client: ClientBase): Promise<void> {
  await client.query(`
    set local timezone = 'UTC';
    set local datestyle = 'ISO, MDY';
    set local intervalstyle = 'postgres';
    set local extra_float_digits = 1;
    set local bytea_output = 'hex';
    set local statement_timeout = 0`);
}

export async function* readPostgres(
  client: ClientBase,
  relation: ComparedRelation,
  columns: readonly ComparedColumn[],
  cut: RetentionCut | null,
): CanonicalRows {
  const list = columns.map((column) => quotePostgres(column.name)).join(', ');
  const name = `${quotePostgres(relation.schema)}.${quotePostgres(relation.name)}`;
  const { rows: roots } = await client.query(
    `select from pg_class where oid = $1::regclass and relkind = 'p'`,
    [name],
  );
  // A partitioned root has no rows of its own; any other table's children are tables of their own.
  const from = roots.length > 0 ? name : `only ${name}`;
  const parts = cut === null ? [] : [cut.postgresCondition(quotePostgres(cut.column))];
  // The line's end keeps a comment from swallowing the parenthesis.
  if (relation.where !== undefined) parts.push(`(${relation.where}\n)`);
  const where = parts.length === 0 ? '' : ` where ${parts.join(' and ')}`;
  const stream = client.query(copyTo(`copy (select ${list} from ${from}${where}) to stdout`));
  for await (const rows of readFields(stream)) {
    for (const row of rows) {
      canonicalise(row, columns, 'fromPostgres');
    }
    yield rows;
  }
}

export async function* readClickHouse(
  client: ClickHouseClient,
  view: ComparedView,
  columns: readonly ComparedColumn[],
  cut: RetentionCut | null,
): CanonicalRows {
  const list = columns.map((column) => column.canonical.select(quoteClickHouse(column.name))).join(', ');
  const from = `${quoteClickHouse(view.database)}.${quoteClickHouse(view.name)}`;
  const where = cut === null ? '' : ` where ${cut.clickHouseCondition(quoteClickHouse(cut.column))}`;
  // The constant in front tells rows from the text of an error that came after the answer had begun.
  const { stream } = await client.exec({
    query: `select 1, ${list} from ${from}${where} format TabSeparated`,
    clickhouse_settings: { output_format_tsv_crlf_end_of_line: 0 },
  });
  for await (const rows of readFields(stream)) {
    for (const row of rows) {
      if (row.shift() !== '1' || row.length !== columns.length) throw brokenAnswer(view);
      canonicalise(row, columns, 'fromClickHouse');
    }
    yield rows;
  }
}

function canonicalise(
  row: (string | null)[],
  columns: readonly ComparedColumn[],
  convert: 'fromPostgres' | 'fromClickHouse',
): void {
  for (let index = 0; index < columns.length; index++) {
    const text = row[index];
    const column = columns[index];
    if (text !== null && text !== undefined && column !== undefined)
      row[index] = column.canonical[convert](text);
  }
}

function brokenAnswer(view: ComparedView): WalhouseError {
  return new WalhouseError('sink_rejected', {
    what: `ClickHouse broke off while it was sending ${view.database}.${view.name}.`,
    why: 'The comparison has not seen all rows and says nothing.',
    fix: `look for the query in system.query_log (exception), then compare again`,
  });
}

/** Name and type of every column that a reader of the view sees. */
export async function describeView(
  client: ClickHouseClient,
  view: ComparedView,
): Promise<ReadonlyMap<string, string>> {
  const answer = await client.query({
    query:
      'select name, type from system.columns where database = {database:String} and table = {name:String}',
    query_params: { database: view.database, name: view.name },
    format: 'JSONEachRow',
  });
  const columns = await answer.json<{ name: string; type: string }>();
  if (columns.length === 0) {
    throw new WalhouseError('table_missing', {
      what: `ClickHouse has no table or view ${view.database}.${view.name}.`,
      why: 'There is nothing to compare with.',
      fix: 'let the snapshot of the table finish first (walhouse status), or correct sink.database',
    });
  }
  return new Map(columns.map(({ name, type }) => [name, type]));
}

export function quotePostgres(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

export function quoteClickHouse(name: string): string {
  return `\`${name.replaceAll('\\', '\\\\').replaceAll('`', '\\`')}\``;
}
