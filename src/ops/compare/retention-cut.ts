import type { ClickHouseClient } from '@clickhouse/client';
import type { ClientBase } from 'pg';

export interface ComparedRetention {
  readonly column: string;
  /** How long a row is kept, counted from the column's date by the calendar. */
  readonly keep: { readonly count: number; readonly unit: 'day' | 'month' | 'year' };
}

/**
 * Where retention cuts both sides while they are compared.
 *
 * ClickHouse hides a row by its own clock, which moves on while we read. So two moments are taken once: a row that expired at or before
 * `from` was past its retention before the comparison began and must be nowhere in the view; a row that expires after `to` outlives the
 * comparison and must be on both sides; what expires in between may go at any moment and is left out on both sides.
 * Rows without a date never expire.
 */
export interface RetentionCut {
  readonly column: string;
  /** Conditions on the quoted column. */
  postgresCondition(column: string): string;
  clickHouseCondition(column: string): string;
  /** Whether rows that expire after `to` may have gone meanwhile: the comparison took longer than was allowed for. */
  isOutrun(): Promise<boolean>;
}

/** Dates are held below this before anything is added, on both servers: beyond it the sum does not fit either. */
const LATEST = '2290-01-01 00:00:00';
const ADD = { day: 'addDays', month: 'addMonths', year: 'addYears' } as const;

/** Takes the two moments, `marginSeconds` apart, from ClickHouse's clock, because its view goes by it. */
export async function takeRetentionCut(
  postgres: ClientBase,
  clickHouse: ClickHouseClient,
  { column, keep }: ComparedRetention,
  marginSeconds: number,
): Promise<RetentionCut> {
  const from = await clickHouseNow(clickHouse);
  const { rows } = await postgres.query<{ to: string }>(
    `select ($1::timestamp + $2::float8 * interval '1 second')::text as "to"`,
    [from, marginSeconds],
  );
  const to = rows[0]?.to ?? from;
  const { count, unit } = keep;
  return {
    column,
    postgresCondition: (name) => {
      // The session's time zone is UTC, so dates with and without a time zone mean the same.
      const expires = `least(${name}::timestamp, '${LATEST}') + interval '1 ${unit}' * ${count}`;
      return `(${name} is null or ${expires} > '${to}'::timestamp)`;
    },
    clickHouseCondition: (name) => {
      const at = (text: string): string => `toDateTime64('${text}', 6, 'UTC')`;
      const expires = `${ADD[unit]}(least(toDateTime64(${name}, 6, 'UTC'), ${at(LATEST)}), ${count})`;
      return `not ifNull(${expires} > ${at(from)} and ${expires} <= ${at(to)}, false)`;
    },
    isOutrun: async () => {
      const answer = await postgres.query<{ outrun: boolean }>(
        'select $1::timestamp >= $2::timestamp as outrun',
        [await clickHouseNow(clickHouse), to],
      );
      return answer.rows[0]?.outrun ?? true;
    },
  };
}

async function clickHouseNow(client: ClickHouseClient): Promise<string> {
  const answer = await client.query({
    query: `select toString(now64(6, 'UTC')) as now`,
    format: 'JSONEachRow',
  });
  return (await answer.json<{ now: string }>())[0]?.now ?? '';
}
