import { ABSENT, NULL, YOUNGER, type Tuple } from '../pipeline/tuple.js';
import { STEP_DIGITS } from '../pipeline/version.js';
import { CANNOT_HOLD, countEscapes, encodeText, VALUE_ROOM } from './encoders.js';
import type { TablePlan } from './plan.js';
import type { RowBuffer } from './row-buffer.js';

const TAB = 9;
const NEWLINE = 10;
const BACKSLASH = 92;
const LETTER_N = 78;
const ZERO = 48;

/** Rows up to this many bytes are given twice their length, for escapes; longer ones are counted first. */
const COUNT_FROM_BYTES = 256 * 1024;

/** Texts of at least this length are lent, where their bytes last. */
const LEND_FROM_BYTES = 1024 * 1024;

/** What came of a row. */
export const WRITTEN = -1;
/** Values are missing that only an older version of the row has. */
export const INCOMPLETE = -2;
/** Any other result is the index of the column that ClickHouse could not hold. */
export type RowResult = number;

/** The part of a version and of the last columns that all rows of a transaction share. */
export class Stamp {
  readonly prefix: Buffer;
  readonly committedAt: Buffer;

  /** `high` is the version's part above the step, a decimal number. */
  constructor(high: bigint, committedAt: string) {
    this.prefix = Buffer.from(high.toString());
    this.committedAt = Buffer.from(committedAt);
  }

  version(step: number): string {
    return this.prefix.toString() + step.toString().padStart(STEP_DIGITS, '0');
  }
}

/** Room that the row takes at most, without what is lent. */
function roomFor(plan: TablePlan, row: Tuple, old: Tuple | null, stamp: Stamp, lends = false): number {
  const count = plan.columns.length;
  let length = lengthOf(plan, row, lends) + (old === null ? 0 : lengthOf(plan, old, false));
  if (plan.growth > 2) length *= plan.growth;
  else if (length <= COUNT_FROM_BYTES) length *= 2;
  else length += escapesOf(plan, row, lends) + (old === null ? 0 : escapesOf(plan, old, false));
  // 36 is the longest blank.
  return (
    plan.missingBytes +
    length +
    count * (VALUE_ROOM + 36) +
    stamp.prefix.length +
    stamp.committedAt.length +
    64
  );
}

function lengthOf(plan: TablePlan, row: Tuple, lends: boolean): number {
  let length = 0;
  for (let i = 0; i < plan.columns.length; i += 1)
    if (row.start[i]! >= 0 && !(lends && isLent(plan, row, i))) length += row.end[i]! - row.start[i]!;
  return length;
}

function escapesOf(plan: TablePlan, row: Tuple, lends: boolean): number {
  let escapes = 0;
  for (let i = 0; i < plan.columns.length; i += 1)
    if (row.start[i]! >= 0 && !(lends && isLent(plan, row, i)))
      escapes += countEscapes(row.bytes, row.start[i]!, row.end[i]!);
  return escapes;
}

/** A history copies the row's bytes, and a row with values that were not sent is read back, so those have none lent. */
function mayLend(plan: TablePlan, row: Tuple): boolean {
  if (!row.lasting || plan.history) return false;
  for (let i = 0; i < plan.columns.length; i += 1) if (row.start[i]! < NULL) return false;
  return true;
}

function isLent(plan: TablePlan, row: Tuple, column: number): boolean {
  const start = row.start[column]!;
  return (
    start >= 0 &&
    row.end[column]! - start >= LEND_FROM_BYTES &&
    plan.columns[column]!.stored.encode === encodeText
  );
}

/**
 * Writes one current row. Values that were not sent are taken from `old`; where it lacks them too the row is INCOMPLETE:
 * it is written with blanks there, and `holes` gets their columns. On any other failure nothing is written.
 */
export function writeRow(
  plan: TablePlan,
  out: RowBuffer,
  row: Tuple,
  old: Tuple | null,
  stamp: Stamp,
  step: number,
  holes: number[],
): RowResult {
  const lends = mayLend(plan, row);
  const lentBefore = out.lent;
  out.reserve(roomFor(plan, row, lends ? null : old, stamp, lends));
  const bytes = out.bytes;
  const { columns } = plan;
  let at = out.at;
  for (let i = 0; i < columns.length; i += 1) {
    const { stored, missing } = columns[i]!;
    let from = row;
    let start = row.start[i]!;
    if (start === ABSENT && old !== null) {
      from = old;
      start = old.start[i]!;
    }
    if (lends && isLent(plan, row, i)) {
      out.lend(at, row.bytes.subarray(start, row.end[i]));
    } else if (start >= 0) {
      at = stored.encode(bytes, at, from.bytes, start, from.end[i]!);
      if (at === CANNOT_HOLD) {
        out.takeBack(lentBefore);
        return i;
      }
    } else if (start === NULL) {
      if (!stored.nullable) {
        out.takeBack(lentBefore);
        return i;
      }
      bytes[at++] = BACKSLASH;
      bytes[at++] = LETTER_N;
    } else if (start === YOUNGER && missing !== undefined) {
      at += missing.field.copy(bytes, at);
    } else {
      holes.push(i);
      at += stored.blank.copy(bytes, at);
    }
    bytes[at++] = TAB;
  }
  out.at = writeStamp(bytes, at, stamp, step, 0);
  out.rows += 1;
  return holes.length === 0 ? WRITTEN : INCOMPLETE;
}

/**
 * Writes a row that hides every older version under its sort key, with the image it is given. Values that were not sent, and values that
 * could not be held, are blank: nobody reads them. Returns false, and writes nothing, where the sort key itself cannot be
 * held: then no version was ever stored that could be hidden.
 */
export function writeTombstone(
  plan: TablePlan,
  out: RowBuffer,
  image: Tuple,
  stamp: Stamp,
  step: number,
): boolean {
  out.reserve(roomFor(plan, image, null, stamp));
  const bytes = out.bytes;
  const { columns } = plan;
  let at = out.at;
  for (let i = 0; i < columns.length; i += 1) {
    const { stored, sorts } = columns[i]!;
    const start = image.start[i]!;
    let next = CANNOT_HOLD;
    if (start >= 0) {
      next = stored.encode(bytes, at, image.bytes, start, image.end[i]!);
    } else if (start === NULL && stored.nullable) {
      bytes[at] = BACKSLASH;
      bytes[at + 1] = LETTER_N;
      next = at + 2;
    }
    if (next === CANNOT_HOLD) {
      if (sorts) return false;
      next = at + stored.blank.copy(bytes, at);
    }
    at = next;
    bytes[at++] = TAB;
  }
  out.at = writeStamp(bytes, at, stamp, step, 1);
  out.rows += 1;
  return true;
}

/** `version TAB is_deleted TAB committed_at NEWLINE`. */
function writeStamp(bytes: Buffer, at: number, stamp: Stamp, step: number, isDeleted: 0 | 1): number {
  const { prefix, committedAt } = stamp;
  for (let i = 0; i < prefix.length; i += 1) bytes[at++] = prefix[i]!;
  let rest = step;
  for (let i = at + STEP_DIGITS - 1; i >= at; i -= 1) {
    if (rest === 0) {
      bytes[i] = ZERO;
    } else if (rest < 0x7fffffff) {
      const tenth = (rest / 10) | 0;
      bytes[i] = ZERO + (rest - tenth * 10);
      rest = tenth;
    } else {
      const tenth = Math.floor(rest / 10);
      bytes[i] = ZERO + (rest - tenth * 10);
      rest = tenth;
    }
  }
  at += STEP_DIGITS;
  bytes[at++] = TAB;
  bytes[at++] = ZERO + isDeleted;
  bytes[at++] = TAB;
  for (let i = 0; i < committedAt.length; i += 1) bytes[at++] = committedAt[i]!;
  bytes[at++] = NEWLINE;
  return at;
}
