import { afterEach, expect, test } from 'vitest';
import { StandingHistory } from '../../src/ops/standing-history.js';
import { statusOf, type StatusOptions } from '../../src/ops/status-of.js';
import { StoredPositions } from '../../src/ops/stored-positions.js';
import { silentLog } from '../../src/pipeline/log.js';
import type { Checkpoint, Sink, StoredState, StoredTable } from '../../src/pipeline/sink.js';

const CHECKPOINT: Checkpoint & { ageMs: number } = {
  slot: 'walhouse',
  identity: { systemIdentifier: '1', timeline: 1, database: 'shop' },
  appliedLsn: 0x100n,
  committedAtUs: null,
  exact: ['public.a'],
  lagMs: 0,
  ageMs: 0,
};

let stored: StoredPositions | null = null;
afterEach(() => stored?.close());

/** What an instance that only reads says of a table, whose state another one has stored. */
async function shown(state: StoredState, checkpoint: typeof CHECKPOINT | null): Promise<string> {
  const owner = { epoch: 1, instance: 'db1:1 http://127.0.0.1:1', isUs: false };
  const table = { id: 'public.a', state } as StoredTable;
  const sink = {
    stored: () => Promise.resolve({ owner, checkpoint }),
    loadTables: () => Promise.resolve([table]),
    quarantined: () => new Map(),
  };
  stored = new StoredPositions({ sink, log: silentLog });
  stored.start();
  await expect.poll(() => stored!.tables).toEqual([table]);
  const options: StatusOptions = {
    replicator: null,
    stored,
    sink: sink as unknown as Sink,
    source: { slot: null, warning: null },
    tables: ['public.a'],
    history: new StandingHistory(),
  };
  return statusOf(options).tables['public.a']!.state;
}

test('a table streams where a position is stored', async () => {
  expect(await shown('streaming', CHECKPOINT)).toBe('streaming');
});

test('a table of a first snapshot that was cut off before its position was stored waits to be copied', async () => {
  expect(await shown('streaming', null)).toBe('waiting');
});

test('a table that is being copied for the first time is shown so', async () => {
  expect(await shown('snapshotting', null)).toBe('snapshotting');
});
