import type { ClickHouseClient } from '@clickhouse/client';
import type { ClientBase } from 'pg';

export interface ComparedRetention {
  readonly column: string;
  /** How long a row is kept, as an interval that Postgres reads: `2 years`. */
  readonly keep: string;
}

/**
 * Where retention cuts both sides while they are compared.
 *
 * ClickHouse hides a row by its own clock, which moves on while we read. So two moments are taken once: a row at or below `from`
 * was past its retention before the comparison began and must be nowhere in the view; a row above `to` outlives the comparison and must be
 * on both sides; what lies between may go at any moment and is left out on both sides.
 */
export interface RetentionCut {
  readonly column: string;
  postgresCondition(column: string): string;
  clickHouseCondition(column: string): string;
  /** Whether rows above `to` may have gone meanwhile: the comparison took longer than was allowed for. */
  isOutrun(): Promise<boolean>;
}

export async function takeRetentionCut(
  postgres: ClientBase,
  clickHouse: ClickHouseClient,
  { column, keep }: ComparedRetention,
  marginSeconds: number,
): Promise<RetentionCut> {
  // ClickHouse's clock, because its view goes by it; Postgres's calendar, because it is the oracle.
  const { rows } = await postgres.query<{ from: string; to: string }>(
    `select cut::timestamp::text as "from", (cut + $3::float8 * interval '1 second')::timestamp::text as "to"
     from (select $1::timestamptz - $2::interval as cut) as taken`,
    [await clickHouseNow(clickHouse), keep, marginSeconds],
  );
  const { from = '', to = '' } = rows[0] ?? {};
  return {
    column,
    postgresCondition: (name) => `(${name} > '${to}'::timestamp at time zone 'UTC' or ${name} is null)`,
    clickHouseCondition: (name) => {
      const date = `toDateTime64(${name}, 6, 'UTC')`;
      const at = (text: string): string => `toDateTime64('${text}', 6, 'UTC')`;
      return `not ifNull(${date} > ${at(from)} and ${date} <= ${at(to)}, false)`;
    },
    isOutrun: async () => {
      const now = await clickHouseNow(clickHouse);
      const answer = await postgres.query<{ outrun: boolean }>(
        `select $1::timestamptz - $2::interval >= $3::timestamp at time zone 'UTC' as outrun`,
        [now, keep, to],
      );
      return answer.rows[0]?.outrun ?? true;
    },
  };
}

async function clickHouseNow(client: ClickHouseClient): Promise<string> {
  const answer = await client.query({
    query: `select concat(toString(now64(6, 'UTC')), '+00') as now`,
    format: 'JSONEachRow',
  });
  return (await answer.json<{ now: string }>())[0]?.now ?? '';
}
