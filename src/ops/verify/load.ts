/**
 * How much of the source a verification may take. `--max-load 2` is two connections that query all the time, `0.25` one that queries a
 * quarter of the time: the number of Postgres processes that work for it at once, on average.
 */
export interface Load {
  readonly connections: number;
  /** The share of its time that each connection may query, above 0 and at most 1. */
  readonly share: number;
}

export const LOAD_MAX = 16;
/** Shares below this would keep the snapshot open for days. */
export const LOAD_MIN = 0.01;
/** A pause is never longer, so that a single slow piece does not stop all. */
const PAUSE_MS_MAX = 60_000;

export function loadOf(maxLoad: number): Load {
  const connections = Math.max(1, Math.ceil(maxLoad));
  return { connections, share: maxLoad / connections };
}

/** How long to pause after a piece that took so long. */
export function pauseMs(load: Load, tookMs: number): number {
  return Math.min(PAUSE_MS_MAX, tookMs * (1 / load.share - 1));
}
