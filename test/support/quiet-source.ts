import type { WalhouseError } from '../../src/pipeline/errors.js';
import { rejectable } from '../../src/pipeline/rejectable.js';
import type { Relation } from '../../src/pipeline/relation.js';
import type { Checkpoint } from '../../src/pipeline/sink.js';
import type { Source } from '../../src/pipeline/source.js';

const IDENTITY = { systemIdentifier: '7', timeline: 1, database: 'shop' };

/** What a run over this source has left: all before 100 is stored. */
export const QUIET_CHECKPOINT: Checkpoint = {
  identity: IDENTITY,
  slot: 'walhouse',
  appliedLsn: 100n,
  committedAtUs: null,
  exact: [],
  lagMs: 0,
};

/** A source whose WAL ends at 500 and of which no change ever comes; `cut` ends its stream. */
export function quietSource(relations: readonly Relation[] = []): {
  source: Source;
  cut: (error: WalhouseError) => void;
} {
  const stream = rejectable();
  let close: () => void = () => {};
  const closed = new Promise<void>((resolve) => (close = resolve));
  const never = (): never => {
    throw new Error('nobody asks this');
  };
  const source: Source = {
    identify: () => Promise.resolve(IDENTITY),
    takeTurn: () => Promise.resolve({ end: () => Promise.resolve() }),
    relations: () => Promise.resolve(relations),
    survey: () => Promise.resolve({ relations, problems: new Map(), misPublished: [] }),
    ensurePublication: () => Promise.resolve(new Map()),
    slotHealth: () => Promise.resolve(null),
    timelineEnd: () => Promise.resolve(null),
    slot: () => Promise.resolve({ confirmedLsn: 100n, active: false, heldBytes: 0n }),
    createSlot: never,
    dropSlot: never,
    openSnapshot: never,
    openStream: () => ({
      run: (handler) => {
        handler.caughtUp(100n, 0);
        return Promise.race([stream.promise, closed]);
      },
      pause: () => {},
      resume: () => {},
      confirm: () => {},
      ping: () => {},
      close: () => Promise.resolve(close()),
    }),
    endLsn: () => Promise.resolve(500n),
    currentLsn: () => Promise.resolve(500n),
    heartbeat: () => Promise.resolve(),
    close: () => Promise.resolve(close()),
  };
  return { source, cut: (error) => stream.reject(error) };
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}
