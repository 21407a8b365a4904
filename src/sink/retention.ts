import { WalhouseError } from '../pipeline/errors.js';
import type { Relation } from '../pipeline/relation.js';
import { absentColumn } from './absent-column.js';
import { quoteName, quoteString } from './identifier.js';
import { storedType, type StoredType } from './types.js';

/** How long rows are kept, counted from the retention column. */
export interface Keep {
  readonly count: number;
  readonly unit: 'day' | 'month' | 'year';
}

export interface Retention {
  readonly column: string;
  readonly keep: Keep;
}

const ADD = { day: 'addDays', month: 'addMonths', year: 'addYears' } as const;

/** A moment that never comes while a row without a date, or with one far ahead, would be counted as old. */
const FAR = "toDateTime64('2299-01-01 00:00:00', 6, 'UTC')";

/**
 * When a row expires, as an expression over its retention column: the date plus the time it is kept. The view's
 * cut-off and the table's TTL are this one expression, so nothing that can be seen is ever removed, and each row's
 * moment is fixed. (Counting back from now instead would not be: the month before 29, 30 and 31 March is the same 28
 * February, and rows would come back for hours.)
 *
 * Rows without a date never expire. ClickHouse takes a TTL of exactly 1970-01-01 00:00:00 for none, and sums
 * past 2299 for something else; so both ends are held.
 */
export function expiresAt(retention: Retention): string {
  const { count, unit } = retention.keep;
  const date = `toDateTime64(${quoteName(retention.column)}, 6, 'UTC')`;
  const latest = `${unit === 'day' ? 'subtractDays' : unit === 'month' ? 'subtractMonths' : 'subtractYears'}(${FAR}, ${count})`;
  const sum = `${ADD[unit]}(least(${date}, ${latest}), ${count})`;
  return `greatest(ifNull(${sum}, ${FAR}), toDateTime64('1970-01-02 00:00:00', 6, 'UTC'))`;
}

/** Whether a row is inside its retention now, to the microsecond, whatever the server's time zone. */
export function isKept(retention: Retention): string {
  return `${expiresAt(retention)} > now64(6, 'UTC')`;
}

/** Whether a row was past its retention at `moment`, a DateTime64 as text in UTC. */
export function isPast(retention: Retention, moment: string): string {
  return `${expiresAt(retention)} <= toDateTime64(${quoteString(moment)}, 6, 'UTC')`;
}

/** A TTL's moment is cut to whole seconds, so without one more a row could be removed that can still be seen. */
export function ttlOf(retention: Retention): string {
  return `${expiresAt(retention)} + toIntervalSecond(1)`;
}

/**
 * How often, at the most, the parts of a partition are rewritten for what has expired in them: seldom enough to rewrite little, and often
 * enough for everything to be gone within a day.
 */
export const TTL_SETTINGS = 'merge_with_ttl_timeout = 72000';

const NEVER = '2299-01-01 00:00:00.000000';
const LONG_AGO = '1970-01-02 00:00:00.000000';
const PRINTED = /^(\d{4,})-(\d\d)-(\d\d)(?: (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?:\+00)?$/;

/**
 * `expiresAt` for a date that no ClickHouse type may be able to hold: as Postgres prints it in UTC, null or left out for none. The
 * result is text that a DateTime64(6, 'UTC') takes.
 */
export function expiryOf({ count, unit }: Keep, printed: string | null | undefined): string {
  if (printed === '-infinity' || printed?.endsWith(' BC') === true) return LONG_AGO;
  const parts = PRINTED.exec(printed ?? '');
  if (parts === null) return NEVER;
  const [, year, month, day, hours = '00', minutes = '00', seconds = '00', fraction = ''] = parts;
  const date = new Date(0);
  const months = unit === 'day' ? 0 : unit === 'month' ? count : 12 * count;
  date.setUTCFullYear(Number(year), Number(month) - 1 + months, 1);
  if (Number.isNaN(date.getTime())) return NEVER;
  // A day that the month does not have becomes its last.
  const last = new Date(Date.UTC(2000, 0));
  last.setUTCFullYear(date.getUTCFullYear(), date.getUTCMonth() + 1, 0);
  date.setUTCDate(Math.min(Number(day), last.getUTCDate()) + (unit === 'day' ? count : 0));
  if (date.getUTCFullYear() >= 2299) return NEVER;
  if (date.getTime() <= 86_400_000) return LONG_AGO;
  return `${date.toISOString().slice(0, 10)} ${hours}:${minutes}:${seconds}.${fraction.padEnd(6, '0')}`;
}

/**
 * Up to how many days of keeping a table is cut into days, and up to how many into months: about sixty parts at the most. Ten years in
 * months would be 120 that every question with FINAL opens, which takes ten times as long as the ten years do while the table is small.
 */
const BY_DAY_DAYS_MAX = 62;
const BY_MONTH_DAYS_MAX = 1900;

/**
 * Parts that hold one day, month or year of the retention column, so that expiry drops whole parts or rewrites the oldest few, and
 * never the whole table. A row's date is part of its sort key and a change of it writes a tombstone under
 * the old date, so versions of one key never meet across partitions and none is left behind.
 *
 * Dates before 1970 or after 2100 share the partition at their end: 1900 and 2290 must not make 4,700 of them. Inserts may touch
 * as many partitions as they like (`max_partitions_per_insert_block = 0`), which only a snapshot of many years does.
 */
export function partitionBy(retention: Retention): string {
  const { count, unit } = retention.keep;
  const days = count * (unit === 'day' ? 1 : unit === 'month' ? 30 : 365);
  const date = `toDateTime64(${quoteName(retention.column)}, 6, 'UTC')`;
  const low = "toDateTime64('1970-01-01 00:00:00', 6, 'UTC')";
  const high = "toDateTime64('2100-01-01 00:00:00', 6, 'UTC')";
  const held = `greatest(least(ifNull(${date}, ${high}), ${high}), ${low})`;
  if (days <= BY_DAY_DAYS_MAX) return `toYYYYMMDD(${held})`;
  return days <= BY_MONTH_DAYS_MAX ? `toYYYYMM(${held})` : `toYear(${held})`;
}

/** The index of the retention column; `config_invalid` where it is not there or is no date. `stored` is by column. */
export function retentionColumn(
  relation: Relation,
  retention: Retention,
  stored: readonly StoredType[] = relation.columns.map((column) => storedType(column)),
): number {
  const index = relation.columns.findIndex((column) => column.name === retention.column);
  const column = relation.columns[index];
  if (column === undefined) {
    throw new WalhouseError('config_invalid', {
      what: `tables.${relation.id}.retention.column is "${retention.column}", and ${absentColumn(relation, retention.column)}.`,
      why: 'Without it nobody knows when a row is past its retention.',
      fix: `name one of: ${relation.columns
        .filter((_, candidate) => isDate(stored[candidate]!.base))
        .map((candidate) => candidate.name)
        .join(', ')}`,
    });
  }
  if (isDate(stored[index]!.base)) return index;
  throw new WalhouseError('config_invalid', {
    what: `tables.${relation.id}.retention.column is "${retention.column}", which is ${column.type.text} and ${stored[index]!.base} in ClickHouse.`,
    why: 'A row expires by a date.',
    fix: 'name a column of type date, timestamp or timestamptz that is kept as Date32 or DateTime64',
  });
}

function isDate(base: string): boolean {
  return base === 'Date32' || base.startsWith('DateTime64');
}
