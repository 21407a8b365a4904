import type { ClickHouseClient } from '@clickhouse/client';
import type { Client } from 'pg';
import type { Buckets } from './buckets.js';
import type { HashedRow, VersionedRow } from './findings.js';
import type { KeyTexts } from './statements.js';

/** Statements with a thousand keys are longer than the server's default allows. */
const QUERY_BYTES_MAX = '1073741824';

/** A list of texts: rows without names, since a table may have many. */
async function rowsOf(client: Client, text: string, values: unknown[]): Promise<string[][]> {
  const { rows } = await client.query<string[]>({ text, values, rowMode: 'array' });
  return rows;
}

export async function addPostgresSums(
  client: Client,
  statement: string,
  values: unknown[],
  add: (bucket: number, count: number, sum: bigint) => void,
): Promise<void> {
  for (const [bucket, count, sum] of await rowsOf(client, statement, values)) {
    add(Number(bucket), Number(count), BigInt(sum!));
  }
}

export async function readPostgresRows(
  client: Client,
  statement: string,
  values: unknown[],
): Promise<HashedRow[]> {
  return (await rowsOf(client, statement, values)).map(([key, columns, ...texts]) => ({
    key: key!,
    columns: columns!,
    texts,
  }));
}

type SumRow = [kind: number, bucket: number, count: string, sum: string, texts: string[]];

/** Fills the buckets; gives the keys that changed since the position. */
export async function readClickHouseSums(
  client: ClickHouseClient,
  statement: string,
  buckets: Buckets,
): Promise<KeyTexts[]> {
  const changed: KeyTexts[] = [];
  for await (const [kind, bucket, count, sum, texts] of answerOf<SumRow>(client, statement)) {
    if (kind === 1) changed.push(texts);
    else buckets.add(bucket, Number(count), BigInt(sum));
  }
  return changed;
}

type RowRow = [kind: number, key: string, columns: string, version: string, texts: string[]];

export async function readClickHouseRows(
  client: ClickHouseClient,
  statement: string,
): Promise<{ rows: VersionedRow[]; changed: VersionedRow[] }> {
  const rows: VersionedRow[] = [];
  const changed: VersionedRow[] = [];
  for await (const [kind, key, columns, version, texts] of answerOf<RowRow>(client, statement)) {
    (kind === 1 ? changed : rows).push({ key, columns, version: BigInt(version), texts });
  }
  return { rows, changed };
}

async function* answerOf<Row>(client: ClickHouseClient, query: string): AsyncGenerator<Row> {
  const answer = await client.query({
    query,
    format: 'JSONCompactEachRow',
    clickhouse_settings: {
      max_query_size: QUERY_BYTES_MAX,
      // Both parts of a statement see one moment, on servers that know the setting by default; elsewhere the parts are moments apart,
      // and a bucket whose sums then differ is looked into key by key.
      optimize_move_to_prewhere_if_final: 0,
      output_format_json_quote_64bit_integers: 1,
      wait_end_of_query: 1,
    },
  });
  for await (const rows of answer.stream<Row>()) {
    for (const row of rows) yield row.json();
  }
}
