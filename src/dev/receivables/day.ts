import { DAY, type Micros } from '../instant.js';

/** Days since 1970-01-01 UTC. */
export type Day = number;

export function dayOf(at: Micros): Day {
  return Math.floor(at / DAY);
}

/** `2026-11-21`. */
export function formatDay(day: Day): string {
  return new Date(day * 86_400_000).toISOString().slice(0, 10);
}
