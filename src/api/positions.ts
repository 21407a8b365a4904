import type { Lsn } from '../pipeline/lsn.js';

/** What every answer of the API is true of. */
export interface AppliedPosition {
  /** Every transaction whose commit record starts before this, and no other, is in ClickHouse. */
  readonly lsn: Lsn;
  /** When the newest of them was committed, on the source's clock; null where none is known. May have a fraction. */
  readonly committedAtMs: number | null;
  /**
   * How long ago, at the time of the call, `lsn` was known to be all there was. Grows while the source is away; null where it was never
   * known.
   */
  readonly lagMs: number | null;
  /**
   * Until then, on `performance.now()`'s clock, nobody can have made it untrue: an answer that arrives later may be of a table that
   * was replaced meanwhile, and is thrown away. For ever where it is left out.
   */
  readonly goodUntilMs?: number;
}

/** Why there is no position to answer at, as a person should read it. */
export interface Unavailable {
  /** Machine-readable: an ErrorKind, or `starting`, `snapshotting`, ... */
  readonly kind: string;
  readonly what: string;
  readonly why: string;
  readonly fix: string;
  /** When asking again is worth while. */
  readonly retryAfterMs: number;
}

/**
 * What the API asks of the pipeline.
 *
 * - `applied` and `unavailable` are synchronous, because a position must be taken in the same tick in which the query
 *   that answers at it is sent. `applied` is null exactly while an answer would not be true: no table is complete yet, a
 *   snapshot runs, replication stopped on an error that put what is stored in doubt. Being far behind is no reason: the
 *   answer says so. The position never goes back while it is not null.
 * - `waitFor` resolves true as soon as `applied()` is not null and its `lsn` has reached `lsn`, in the tick in which that
 *   happens and not at the next turn of some timer; false after `timeoutMs`, and on `signal` (a caller that went away;
 *   giving its place back early is a courtesy). It never rejects. At once when it is so already.
 * - `hold` runs `fn` while nothing is being stored: every row in ClickHouse belongs to a transaction below the position handed
 *   over, so that tables which forget old versions can be read at it. Storing waits for `fn`, which therefore has a
 *   deadline of its own. `fn` gets null where `applied()` is null. On `signal` before its turn, `hold` rejects with the
 *   signal's reason and `fn` is never called.
 */
export interface Positions {
  applied(): AppliedPosition | null;
  /** Meaningful while `applied()` is null. */
  unavailable(): Unavailable;
  waitFor(lsn: Lsn, timeoutMs: number, signal?: AbortSignal): Promise<boolean>;
  hold<T>(fn: (applied: AppliedPosition | null) => Promise<T>, signal?: AbortSignal): Promise<T>;
}
