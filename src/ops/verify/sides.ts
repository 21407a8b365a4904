import type { ClickHouseClient, ClickHouseSettings } from '@clickhouse/client';
import { sinkFailure } from '../../sink/failure.js';
import type { Masker } from '../../sink/mask.js';
import type { Buckets } from './buckets.js';
import type { HashedRow, VersionedRow } from './findings.js';
import { maskedPieces, maskedRowSum } from './masked.js';
import type { Reader } from './reader.js';
import type { KeyTexts, Statements } from './statements.js';

/** Statements with a thousand keys are longer than the server's default allows. */
const QUERY_BYTES_MAX = '1073741824';
/** For statements that name many keys and group whole tables: what does not fit into memory goes to disk. */
export const LARGE_ANSWER: ClickHouseSettings = {
  max_query_size: QUERY_BYTES_MAX,
  max_bytes_before_external_group_by: '1000000000',
};
const DOING = 'reading what is to be compared';

/** With a masker, the statement gives each row, and its masked columns as they are. */
export async function addPostgresSums(
  reader: Reader,
  statement: string,
  values: unknown[],
  masker: Masker | null,
  add: (bucket: number, count: number, sum: bigint) => void,
): Promise<void> {
  if (masker === null) {
    for (const [bucket, count, sum] of await reader.rows(statement, values))
      add(Number(bucket), Number(count), BigInt(sum!));
    return;
  }
  await reader.each(statement, values, ([bucket, unmasked, ...texts]) =>
    add(Number(bucket), 1, maskedRowSum(masker, unmasked!, texts)),
  );
}

export async function readPostgresRows(
  reader: Reader,
  statement: string,
  values: unknown[],
  masker: Masker | null,
  maskedColumns: number,
): Promise<HashedRow[]> {
  const rows: HashedRow[] = [];
  await reader.each(statement, values, ([key, unmasked, ...rest]) => {
    const masked = masker === null ? '' : maskedPieces(masker, rest.slice(0, maskedColumns));
    const texts = rest.slice(maskedColumns) as string[];
    rows.push({ key: key!, columns: unmasked! + masked, texts });
  });
  return rows;
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
  statement: ReturnType<Statements['clickHouseRows']>,
): Promise<{ rows: VersionedRow[]; changed: VersionedRow[] }> {
  const rows: VersionedRow[] = [];
  const changed: VersionedRow[] = [];
  for await (const [kind, key, columns, version, texts] of answerOf<RowRow>(
    client,
    statement.text,
    statement.parameters,
  )) {
    (kind === 1 ? changed : rows).push({ key, columns, version: BigInt(version), texts });
  }
  return { rows, changed };
}

/** A small answer, as objects; failures are typed. */
export async function askClickHouse<Row>(
  client: ClickHouseClient,
  query: string,
  parameters: Record<string, unknown> = {},
  settings: ClickHouseSettings = {},
): Promise<Row[]> {
  try {
    const answer = await client.query({
      query,
      query_params: parameters,
      format: 'JSONEachRow',
      clickhouse_settings: settings,
    });
    return await answer.json<Row>();
  } catch (error) {
    throw sinkFailure(error, DOING, false);
  }
}

async function* answerOf<Row>(
  client: ClickHouseClient,
  query: string,
  parameters: Readonly<Record<string, string>> = {},
): AsyncGenerator<Row> {
  try {
    const answer = await client.query({
      query,
      query_params: parameters,
      use_multipart_params_auto: true,
      format: 'JSONCompactEachRow',
      clickhouse_settings: {
        max_query_size: QUERY_BYTES_MAX,
        // A condition must not choose between the versions of a row before FINAL has.
        optimize_move_to_prewhere_if_final: 0,
      },
    });
    for await (const rows of answer.stream<Row>()) {
      for (const row of rows) yield row.json();
    }
  } catch (error) {
    throw sinkFailure(error, DOING, false);
  }
}
