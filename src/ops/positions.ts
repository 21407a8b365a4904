import type { AppliedPosition, Positions, Unavailable } from '../api/positions.js';
import { HoldInterrupted } from '../pipeline/applier.js';
import { sleep } from '../pipeline/backoff.js';
import type { Lsn } from '../pipeline/lsn.js';
import type { Replicator } from '../pipeline/replicator.js';

/** How soon a position that is reached but cannot be stated yet is looked at again. */
const SETTLE_MS = 5;

/** What each state means for somebody who asks for an answer and gets none. */
const REASONS: Partial<Record<Replicator['state'], { what: string; why: string; fix: string }>> = {
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
  standby: {
    what: 'another instance reads the slot; this one waits for it to go.',
    why: 'Only one reader at a time may have the slot.',
    fix: 'ask the other instance',
  },
  closing: {
    what: 'the service is shutting down.',
    why: 'It finishes what it took on and takes on nothing new.',
    fix: 'ask another instance, or again after the restart',
  },
};

/** The replicator as the API sees it. `tables`: those that answers are made from; all where it is left out. */
export function positionsOf(replicator: Replicator, tables?: readonly string[]): Positions {
  const { progress } = replicator;
  const needed = (): readonly string[] => tables ?? [...replicator.tables.keys()];
  const applied = (): AppliedPosition | null => {
    const { lagMs } = progress;
    if (!replicator.consistentOver(needed()) || progress.durable === null || lagMs === null) return null;
    return {
      lsn: progress.durable,
      committedAtMs: progress.committedAtUs === null ? null : Number(progress.committedAtUs) / 1000,
      lagMs,
    };
  };
  return {
    applied,
    unavailable: () => unavailable(replicator, needed()),
    async waitFor(lsn: Lsn, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
      const deadline = performance.now() + timeoutMs;
      for (;;) {
        const left = Math.max(0, deadline - performance.now());
        const reached = await replicator.waitFor(maxLsn(lsn, replicator.exactFrom(needed())), left, signal);
        if (!reached) return false;
        if (applied() !== null) return true;
        if (performance.now() >= deadline || signal?.aborted === true) return false;
        // Reached, but its age is not known before the source was asked once.
        await sleep(SETTLE_MS, signal);
      }
    },
    async hold<T>(fn: (applied: AppliedPosition | null) => Promise<T>, signal?: AbortSignal): Promise<T> {
      signal?.throwIfAborted();
      if (applied() === null || !replicator.attached) return fn(null);
      let begun = false;
      try {
        return await replicator.hold(() => {
          begun = true;
          signal?.throwIfAborted();
          return fn(applied());
        });
      } catch (error) {
        // The stream ended before its turn came: then a part of a transaction may be stored.
        if (error instanceof HoldInterrupted && !begun) return fn(null);
        throw error;
      }
    },
  };
}

function unavailable(replicator: Replicator, tables: readonly string[]): Unavailable {
  const { state } = replicator;
  const reports = tables.map((id) => replicator.tables.get(id));
  const stopped = reports.find((report) => report?.state === 'stopped');
  const error = replicator.error ?? stopped?.error ?? null;
  if (error !== null) {
    return { kind: error.kind, what: error.what, why: error.why, fix: error.fix, retryAfterMs: 5_000 };
  }
  const filling = reports.some((report) => report?.state === 'waiting' || report?.state === 'snapshotting');
  const reason = REASONS[filling ? 'snapshotting' : state] ?? {
    what: 'the stream has not caught up with the snapshot yet.',
    why: 'Tables were read at a later position than the stream has reached.',
    fix: 'ask again in a moment',
  };
  return { kind: filling ? 'snapshotting' : state, ...reason, retryAfterMs: 1_000 };
}

function maxLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}
