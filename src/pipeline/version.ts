import type { Lsn } from './lsn.js';

/**
 * A row's version is where its change stands in the source's history: the commit's WAL position, then the
 * index of the change in its transaction. No other order is total and the same on every replay (change
 * positions are neither: transactions interleave, and the rows of one COPY share one).
 *
 * It is kept as one unsigned 128-bit number, `commitLsn * 10^12 + step`, so that its decimal text is the
 * commit position followed by twelve digits: one prefix a transaction, no arithmetic a row.
 * `step` is `ordinal * 2` for a tombstone that carries an update's old image and `ordinal * 2 + 1` for every
 * other row of that change, so one change may write both and the row wins.
 */
export const STEP_DIGITS = 12;
export const STEPS_PER_COMMIT = 10n ** BigInt(STEP_DIGITS);

/** The highest ordinal a transaction may reach (five hundred thousand million changes). */
export const ORDINAL_MAX = 499_999_999_999;

/** The version of every row of a snapshot taken at `consistentPoint`: below each commit that starts at or after it. */
export function snapshotVersion(consistentPoint: Lsn): bigint {
  // Records are 8-byte aligned, so no commit can have the position just below the consistent point.
  return (consistentPoint - 1n) * STEPS_PER_COMMIT;
}

/** Versions below this bound are exactly the rows of the transactions whose commit starts before `lsn`. */
export function versionBound(lsn: Lsn): bigint {
  return lsn * STEPS_PER_COMMIT;
}
