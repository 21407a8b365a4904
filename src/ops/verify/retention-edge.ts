import type { ClickHouseClient } from '@clickhouse/client';
import type { ComparedRetention } from '../compare/retention-cut.js';
import { askClickHouse } from './sides.js';

/**
 * One moment, taken once, that cuts off both sides: rows that expire up to then are left out, whether they have been purged or not.
 * It lies ahead of now, since landing may purge what expires while the comparison runs.
 */
export interface RetentionEdge {
  readonly column: string;
  /** Whether a row outlives the comparison, over the quoted column. */
  postgresCondition(column: string): string;
  clickHouseCondition(column: string): string;
  /** The comparison has taken so long that rows it counts on may have been purged. */
  isPassed(): boolean;
}

/** How far ahead the edge lies: rows that expire within so long are left out. */
const AHEAD_MS = 6 * 3_600_000;
/** Dates are held below this before anything is added, on both servers: beyond it the sum does not fit either. */
const LATEST = '2290-01-01 00:00:00';
const ADD = { day: 'addDays', month: 'addMonths', year: 'addYears' } as const;

/** By ClickHouse's clock, because purging goes by it. */
export async function takeRetentionEdge(
  client: ClickHouseClient,
  { column, keep }: ComparedRetention,
): Promise<RetentionEdge> {
  const takenAt = performance.now();
  const [now] = await askClickHouse<{ edge: string }>(
    client,
    `select toString(now64(6, 'UTC') + interval ${AHEAD_MS / 1_000} second) as edge`,
  );
  const { edge } = now!;
  const { count, unit } = keep;
  return {
    column,
    // The session's time zone is UTC, so dates with and without a time zone mean the same. Rows without a date never expire.
    postgresCondition: (name) =>
      `(${name} is null or least(${name}::timestamp, '${LATEST}') + interval '1 ${unit}' * ${count} > '${edge}'::timestamp)`,
    clickHouseCondition: (name) => {
      const at = (text: string): string => `toDateTime64('${text}', 6, 'UTC')`;
      const expires = `${ADD[unit]}(least(toDateTime64(${name}, 6, 'UTC'), ${at(LATEST)}), ${count})`;
      return `ifNull(${expires} > ${at(edge)}, true)`;
    },
    isPassed: () => performance.now() - takenAt >= AHEAD_MS,
  };
}
