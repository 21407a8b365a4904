import type { AppliedPosition, Positions, Unavailable } from '../api/positions.js';
import { HoldInterrupted } from '../pipeline/applier.js';
import { sleep } from '../pipeline/backoff.js';
import type { Lsn } from '../pipeline/lsn.js';
import type { Replicator } from '../pipeline/replicator.js';
import type { StoredPositions } from './stored-positions.js';

/** How soon a position that is reached but cannot be stated yet is looked at again. */
const SETTLE_MS = 5;
/** While somebody waits, this instance may become the writer, or cease to be it. */
const WAIT_MS = 250;

/** What each state means for somebody who asks for an answer and gets none. */
const REASONS: Partial<Record<Replicator['state'] | 'api_only', { what: string; why: string; fix: string }>> =
  {
    starting: {
      what: 'the service is starting.',
      why: 'It does not know yet up to which position ClickHouse equals the source.',
      fix: 'ask again in a moment',
    },
    snapshotting: {
      what: 'a snapshot is not complete.',
      why: 'Answers from a table that is still filling would be wrong.',
      fix: 'ask again when GET /v1/replication says "streaming"; it shows how far the snapshot is',
    },
    closing: {
      what: 'the service is shutting down.',
      why: 'It finishes what it took on and takes on nothing new.',
      fix: 'ask another instance, or again after the restart',
    },
  };

/** Errors after which what is stored belongs to another history than the source's. */
const ANOTHER_HISTORY = new Set(['source_cluster_changed', 'source_timeline_forked']);

export interface PositionsOptions {
  /** null in an instance that only reads. */
  readonly replicator: Replicator | null;
  readonly stored: StoredPositions;
  /** Those that answers are made from, as configured now. */
  readonly tables: () => readonly string[];
}

/**
 * The positions that the API may state: the replicator's own while this instance is the one that writes, otherwise those that the
 * writer has stored. Both are good for a moment only, in which nobody can have made them untrue.
 */
export function positionsOf({ replicator, stored, tables }: PositionsOptions): Positions {
  /** The newest that was stated, so that none goes back when the writer changes. */
  let statedLsn: Lsn = 0n;
  let statedOf = '';

  /**
   * The replicator, where it knows better than what is stored: from its first stream on, for as long as nobody else has begun. While that
   * cannot be read it may be mistaken, having been asleep; then what it states is good for nothing but waiting.
   */
  const writer = (): Replicator | null => {
    if (replicator === null || replicator.progress.durable === null) return null;
    return (stored.isOurs ?? replicator.attached) ? replicator : null;
  };
  const own = (from: Replicator): AppliedPosition | null => {
    const { durable, lagMs, committedAtUs } = from.progress;
    if (durable === null || lagMs === null || !from.consistentOver(tables())) return null;
    return positionAt(durable, committedAtUs, lagMs, stored.oursUntilMs);
  };
  const found = (): AppliedPosition | null => {
    const checkpoint = stored.stored?.checkpoint ?? null;
    if (checkpoint === null || !tables().every((id) => checkpoint.exact.includes(id))) return null;
    const { appliedLsn, committedAtUs } = checkpoint;
    return positionAt(appliedLsn, committedAtUs, stored.progress.lagMs, stored.goodUntilMs);
  };
  const applied = (): AppliedPosition | null => {
    if (ANOTHER_HISTORY.has(replicator?.error?.kind ?? '')) return null;
    const from = writer();
    const position = from === null ? found() : own(from);
    if (position === null) return null;
    if (stored.identity !== statedOf) statedLsn = 0n;
    statedOf = stored.identity;
    if (position.lsn < statedLsn) return null;
    statedLsn = position.lsn;
    return position;
  };

  return {
    applied,
    unavailable: () => unavailable(replicator, tables(), stored, applied() !== null),
    async waitFor(lsn: Lsn, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
      const deadline = performance.now() + timeoutMs;
      for (;;) {
        const position = applied();
        if (position !== null && position.lsn >= lsn) return true;
        const left = deadline - performance.now();
        if (left <= 0 || signal?.aborted === true) return false;
        const ms = Math.min(left, WAIT_MS);
        const from = writer();
        const reached =
          from === null
            ? await stored.waitFor(lsn, ms, signal)
            : await from.waitFor(maxLsn(lsn, from.exactFrom(tables())), ms, signal);
        // Reached, but it cannot be stated yet: its age is not known, or a table is not complete.
        if (reached && applied() === null) await sleep(SETTLE_MS, signal);
      }
    },
    async hold<T>(fn: (applied: AppliedPosition | null) => Promise<T>, signal?: AbortSignal): Promise<T> {
      signal?.throwIfAborted();
      const from = writer();
      if (from === null || !from.attached || own(from) === null) return fn(null);
      let begun = false;
      try {
        return await from.hold(async () => {
          begun = true;
          signal?.throwIfAborted();
          const position = applied();
          const answer = await fn(position === null ? null : { ...position, goodUntilMs: Infinity });
          // Still ours after the answer, so nobody else has stored anything while it was made.
          if ((await stored.look()) && stored.isOurs === true) return answer;
          return fn(null);
        });
      } catch (error) {
        // The stream ended before its turn came: then a part of a transaction may be stored.
        if (error instanceof HoldInterrupted && !begun) return fn(null);
        throw error;
      }
    },
  };
}

function positionAt(
  lsn: Lsn,
  committedAtUs: bigint | null,
  lagMs: number | null,
  goodUntilMs: number,
): AppliedPosition {
  return {
    lsn,
    committedAtMs: committedAtUs === null ? null : Number(committedAtUs) / 1000,
    lagMs,
    goodUntilMs,
  };
}

/** `isKnown`: there is a position, though not for a question that needs the writer to hold still. */
function unavailable(
  replicator: Replicator | null,
  tables: readonly string[],
  stored: StoredPositions,
  isKnown: boolean,
): Unavailable {
  if (isKnown && stored.isOurs !== true) {
    return {
      kind: 'window_needs_writer',
      what: 'the window begins before what is kept for quick answers.',
      why: 'Older rows are read from tables that forget, which is exact only where nothing is stored meanwhile.',
      fix: `ask the instance that writes${stored.owner === null ? '' : `: ${stored.owner.instance}`}`,
      retryAfterMs: 5_000,
    };
  }
  const reports = tables.map((id) => replicator?.tables.get(id));
  const stopped = reports.find((report) => report?.state === 'stopped');
  const error = replicator?.error ?? stopped?.error ?? null;
  const cause = stored.failure ?? (error?.policy === 'stand_by' ? null : error);
  if (cause !== null) {
    return { kind: cause.kind, what: cause.what, why: cause.why, fix: cause.fix, retryAfterMs: 5_000 };
  }
  if (stored.owner !== null && stored.stored === null) {
    return {
      kind: 'sink_timeout',
      what: 'ClickHouse has not said for a while how far what is stored has come.',
      why: 'An answer at the position known before might not be true any more.',
      fix: 'ask again in a moment; see system.processes for what keeps ClickHouse busy',
      retryAfterMs: 1_000,
    };
  }
  const filling = reports.some((report) => report?.state === 'waiting' || report?.state === 'snapshotting');
  const state =
    replicator === null || replicator.state === 'standby' || filling ? 'snapshotting' : replicator.state;
  const reason = REASONS[state] ?? {
    what: 'the stream has not caught up with the snapshot yet.',
    why: 'Tables were read at a later position than the stream has reached.',
    fix: 'ask again in a moment',
  };
  return { kind: state, ...reason, retryAfterMs: 1_000 };
}

function maxLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}
