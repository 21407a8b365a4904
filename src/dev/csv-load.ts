import { createReadStream, existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';

import type { CsvError } from 'csv-parse';
import { parse, type Info } from 'csv-parse';
import pg, { type ClientBase } from 'pg';

export interface BadLine {
  /** Of the file, from 1; the header is line 1. Where a record spans several lines, its last. */
  readonly line: number;
  /** Null where it is not about one column. */
  readonly column: string | null;
  /** What Postgres, or the CSV parser, says of it; no value stands in it. */
  readonly reason: string;
}

export interface LoadedFile {
  /** `schema.table`. */
  readonly table: string;
  /** Null where there is no file for the table. */
  readonly file: string | null;
  readonly rows: number;
  readonly badLines: number;
  /** The first of them. */
  readonly bad: readonly BadLine[];
}

export interface CsvLoadOptions {
  readonly client: ClientBase;
  /** Holds `TABLE.csv` or `TABLE.csv.gz`, with a header that names columns of the table, in any order. */
  readonly directory: string;
  /** `schema.table`, in the order in which they are to be filled. */
  readonly tables: readonly string[];
  /** What to do with rows that are there: refuse to load, load beside them, or remove them first. */
  readonly existing: 'refuse' | 'append' | 'replace';
  readonly onProgress?: (table: string, lines: number) => void;
}

/** Why nothing was loaded, in words for whoever asked. */
export class LoadRefused extends Error {}

const BATCH_ROWS_MAX = 2_000;
const BAD_SHOWN_MAX = 1_000;

interface Column {
  readonly name: string;
  readonly type: string;
}

interface Line {
  readonly line: number;
  readonly values: readonly (string | null)[];
}

/**
 * Loads CSV files into tables, all in one transaction: a load that is cut off leaves nothing behind. An empty field and `\N` are null, an
 * empty field in quotes is an empty text. A line that Postgres does not take is reported and left out; the others go on.
 *
 * @throws LoadRefused where a file or a table is not as it has to be; nothing was loaded then
 */
export async function loadCsv(options: CsvLoadOptions): Promise<LoadedFile[]> {
  const { client, directory, tables, existing } = options;
  if (!tables.some((id) => fileOf(directory, id) !== null))
    throw new LoadRefused(
      `${directory} holds none of ${tables.map((id) => `${nameOf(id)}.csv`).join(', ')} (or .csv.gz)`,
    );
  await client.query('begin');
  try {
    // A text without a time zone means UTC, wherever the machine stands.
    await client.query(`set local timezone = 'UTC'; set local datestyle = 'ISO, YMD'`);
    if (existing === 'replace') await client.query(`truncate ${tables.map(quoted).join(', ')}`);
    const loaded: LoadedFile[] = [];
    for (const id of tables) loaded.push(await loadTable(options, id));
    await client.query('commit');
    // The planner's row counts are what progress is reckoned from, and autovacuum may take a minute.
    for (const id of tables) await client.query(`analyze ${quoted(id)}`);
    return loaded;
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
}

async function loadTable(options: CsvLoadOptions, id: string): Promise<LoadedFile> {
  const { client, directory, existing, onProgress } = options;
  const file = fileOf(directory, id);
  if (file === null) return { table: id, file, rows: 0, badLines: 0, bad: [] };
  if (existing === 'refuse') {
    const { rows } = await client.query(`select 1 from ${quoted(id)} limit 1`);
    if (rows.length > 0)
      throw new LoadRefused(`${id} has rows already; --append loads beside them, --replace removes them`);
  }
  const bad: BadLine[] = [];
  let badLines = 0;
  const report = (line: BadLine): void => {
    badLines += 1;
    if (bad.length < BAD_SHOWN_MAX) bad.push(line);
  };
  let columns: readonly Column[] | null = null;
  let rows = 0;
  let batch: Line[] = [];
  const flush = async (): Promise<void> => {
    if (batch.length === 0 || columns === null) return;
    const lines = batch;
    batch = [];
    rows += await insert(client, id, columns, lines, report);
    onProgress?.(id, lines.at(-1)!.line);
  };
  for await (const { record, line } of recordsOf(file, report)) {
    if (columns === null) columns = await columnsOf(client, id, record, file);
    else batch.push({ line, values: record });
    if (batch.length >= BATCH_ROWS_MAX) await flush();
  }
  await flush();
  return { table: id, file, rows, badLines, bad };
}

async function* recordsOf(
  file: string,
  report: (line: BadLine) => void,
): AsyncGenerator<{ record: (string | null)[]; line: number }> {
  const parser = parse({
    bom: true,
    info: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    cast: (value, { quoting }) => (!quoting && (value === '' || value === '\\N') ? null : value),
  });
  parser.on('skip', (error: CsvError) =>
    report({
      line: Number(error['lines'] ?? parser.info.lines),
      column: null,
      // What comes after a colon or in brackets may be of the row.
      reason: error.message.split(/[:[]/)[0]!.trim(),
    }),
  );
  const bytes = createReadStream(file);
  const source: Readable = file.endsWith('.gz') ? bytes.pipe(createGunzip()) : bytes;
  bytes.on('error', (error) => parser.destroy(error));
  source.on('error', (error) => parser.destroy(error));
  source.pipe(parser);
  for await (const item of parser as AsyncIterable<{ record: (string | null)[]; info: Info }>)
    yield { record: item.record, line: item.info.lines };
}

/** The table's columns that the header names, in its order. */
async function columnsOf(
  client: ClientBase,
  id: string,
  header: readonly (string | null)[],
  file: string,
): Promise<Column[]> {
  const { rows } = await client.query<Column>(
    `select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
     where attrelid = to_regclass($1) and attnum > 0 and not attisdropped`,
    [quoted(id)],
  );
  return header.map((name) => {
    const column = rows.find((row) => row.name === name?.trim());
    if (column === undefined)
      throw new LoadRefused(
        `${file} has a column ${JSON.stringify(name)}, and ${id} has none of that name; it has ${rows.map((row) => row.name).join(', ')}`,
      );
    return column;
  });
}

/** Inserts what Postgres takes of these lines, and halves what it does not until each bad line stands alone. */
async function insert(
  client: ClientBase,
  id: string,
  columns: readonly Column[],
  lines: readonly Line[],
  report: (line: BadLine) => void,
): Promise<number> {
  const names = columns.map(({ name }) => pg.escapeIdentifier(name));
  const arrays = columns.map((_, index) => `$${index + 1}::text[]`);
  const places = columns.map((_, index) => `v${index}`);
  const sql = `insert into ${quoted(id)} (${names.join(', ')})
     select ${columns.map(({ type }, index) => `v${index}::${type}`).join(', ')}
     from unnest(${arrays.join(', ')}) as v(${places.join(', ')})`;
  const refused = await attempt(client, sql, columns.map((_, index) => lines.map(({ values }) => values[index] ?? null))); // prettier-ignore
  if (refused === null) return lines.length;
  if (lines.length === 1) {
    report(await explain(client, columns, lines[0]!, refused));
    return 0;
  }
  const half = Math.ceil(lines.length / 2);
  const first = await insert(client, id, columns, lines.slice(0, half), report);
  return first + (await insert(client, id, columns, lines.slice(half), report));
}

/** Says which column it is about, where one value alone is refused. */
async function explain(
  client: ClientBase,
  columns: readonly Column[],
  { line, values }: Line,
  refused: pg.DatabaseError,
): Promise<BadLine> {
  for (const [index, { name, type }] of columns.entries()) {
    const error = await attempt(client, `select $1::text::${type}`, [values[index] ?? null]);
    if (error !== null) return { line, column: name, reason: reasonOf(error) };
  }
  return { line, column: refused.column ?? null, reason: reasonOf(refused) };
}

/** Null where it went well. Errors that are not about the data are thrown. */
async function attempt(
  client: ClientBase,
  sql: string,
  values: readonly unknown[],
): Promise<pg.DatabaseError | null> {
  await client.query('savepoint line');
  try {
    await client.query(sql, [...values]);
    await client.query('release savepoint line');
    return null;
  } catch (error) {
    if (!(error instanceof pg.DatabaseError) || !/^2[23]/.test(error.code ?? '')) throw error;
    await client.query('rollback to savepoint line');
    return error;
  }
}

/** Postgres quotes the value after a colon. */
function reasonOf(error: pg.DatabaseError): string {
  return error.message.replace(/: ".*$/s, '').replace(/ "[^"]*" (is out of range)/, ' $1');
}

function fileOf(directory: string, id: string): string | null {
  const files = ['.csv', '.csv.gz'].map((end) => join(directory, `${nameOf(id)}${end}`));
  return files.find((file) => existsSync(file)) ?? null;
}

function nameOf(id: string): string {
  return id.slice(id.indexOf('.') + 1);
}

function quoted(id: string): string {
  return `${pg.escapeIdentifier(id.slice(0, id.indexOf('.')))}.${pg.escapeIdentifier(nameOf(id))}`;
}
