import type { WalhouseError } from './errors.js';
import type { Lsn } from './lsn.js';

/**
 * How a table stands, as status shows it. `resyncing`: what people read is complete and goes on; a new copy is being made beside it.
 * `snapshotting`: there is nothing to read yet, or it stands still until the new copy takes its place.
 */
export type TableState = 'waiting' | 'snapshotting' | 'streaming' | 'resyncing' | 'stopped';

export interface TableReport {
  state: TableState;
  rowsApplied: number;
  /** Rows read so far and the planner's guess of all, while the snapshot runs. */
  snapshot: { rows: number; estimate: number; startedAtMs: number } | null;
  /** Before this position the copy that people read, or a mart over it, is ahead of others. */
  exactFrom: Lsn | null;
  /** Rows that were read from the source for a repair are yet to be stored. */
  repairing: boolean;
  error: WalhouseError | null;
}

/** Percent and time left of a running snapshot; both null while the planner's estimate says nothing. */
export function snapshotProgress(
  snapshot: { rows: number; estimate: number; startedAtMs: number },
  nowMs: number,
): { rows: number; percent: number | null; secondsLeft: number | null } {
  const { rows, estimate } = snapshot;
  if (estimate <= 0 || rows === 0) return { rows, percent: null, secondsLeft: null };
  const share = Math.min(0.999, rows / estimate);
  const elapsed = (nowMs - snapshot.startedAtMs) / 1000;
  return {
    rows,
    percent: Math.round(share * 1000) / 10,
    secondsLeft: Math.round((elapsed / share) * (1 - share)),
  };
}
