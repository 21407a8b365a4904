/** Microseconds since 1970-01-01 UTC, as a number: exact until the year 2255, which payments of a demo do not reach. */
export type Micros = number;

export const SECOND: Micros = 1_000_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
export const WEEK = 7 * DAY;

/** `2026-11-21T09:00:00.123456Z`: what Postgres reads as a timestamptz without losing a microsecond. */
export function formatInstant(at: Micros): string {
  const milliseconds = Math.floor(at / 1000);
  const rest = at - milliseconds * 1000;
  return `${new Date(milliseconds).toISOString().slice(0, -1)}${String(rest).padStart(3, '0')}Z`;
}
