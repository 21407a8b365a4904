import type { WalhouseError } from './errors.js';
import type { Lsn } from './lsn.js';

/**
 * How a table stands, as status shows it. `resyncing`: what people read is complete and goes on; a new copy is being made beside it.
 * `snapshotting`: there is nothing to read yet, or it stands still until the new copy takes its place.
 */
export type TableState = 'waiting' | 'snapshotting' | 'streaming' | 'resyncing' | 'stopped';

/** Kinds of changes, by their place in `TableReport.changes`. */
export const OPERATIONS = ['insert', 'update', 'delete', 'truncate'] as const;
export const INSERT = 0;
export const UPDATE = 1;
export const DELETE = 2;
export const TRUNCATE = 3;
export type Operation = typeof INSERT | typeof UPDATE | typeof DELETE | typeof TRUNCATE;

export interface TableReport {
  state: TableState;
  /** Changes taken from the stream since the process began, by operation; what is delivered again counts again. */
  readonly changes: Float64Array;
  /** Rows of snapshots that were completed. */
  rowsCopied: number;
  /** Rows read so far and the planner's guess of all, while the snapshot runs. */
  snapshot: { rows: number; estimate: number; startedAtMs: number } | null;
  /** Before this position the copy that people read, or a mart over it, is ahead of others. */
  exactFrom: Lsn | null;
  /** Rows that were read from the source for a repair are yet to be stored. */
  repairing: boolean;
  error: WalhouseError | null;
}

/** The report of a table of which nothing is known yet. */
export function newReport(): TableReport {
  return {
    state: 'waiting',
    changes: new Float64Array(OPERATIONS.length),
    rowsCopied: 0,
    snapshot: null,
    exactFrom: null,
    repairing: false,
    error: null,
  };
}

/** Row changes since the process began, those of completed snapshots among them. */
export function rowsApplied({ changes, rowsCopied }: TableReport): number {
  return changes.reduce((sum, count) => sum + count, rowsCopied);
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
