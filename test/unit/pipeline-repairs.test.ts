import { beforeEach, describe, expect, test } from 'vitest';
import { silentLog } from '../../src/pipeline/log.js';
import { Repairs, type RepairsOptions } from '../../src/pipeline/repairs.js';
import type { Snapshot } from '../../src/pipeline/source.js';
import { newReport, type TableReport } from '../../src/pipeline/table-report.js';
import { relationOf, tupleOf } from '../support/tuples.js';

const RELATION = relationOf('public.a', { id: 'int8 not null', v: 'text' });
const KEYS = [['1'], ['2']];

/** What was called, in order. */
let calls: string[];
let report: TableReport;
let copy: number;
let options: RepairsOptions;
let bytes: number;

const openSnapshot = (): Promise<Snapshot> =>
  Promise.resolve({
    consistentPoint: 800n,
    readKeys: (_relation, keys, { onRow }) => {
      calls.push(`read ${keys.length}`);
      onRow(tupleOf(RELATION, { id: '1', v: 'one' }));
      return Promise.resolve(keys);
    },
    read: () => Promise.reject(new Error('not for repairs')),
    estimateRows: () => Promise.resolve(0),
    close: () => {
      calls.push('snapshot closed');
      return Promise.resolve();
    },
  });

beforeEach(() => {
  calls = [];
  copy = 1;
  bytes = 10;
  report = { ...newReport(), state: 'streaming' };
  options = {
    source: { openSnapshot },
    sink: {
      copyOf: () => copy,
      beginRepair: (_relation, at) =>
        Promise.resolve({
          get bytes() {
            return bytes;
          },
          add: () => calls.push(`row of ${at}`),
          look: () => Promise.resolve(void calls.push('looked')),
          store: (durable) => {
            calls.push(`stored at ${durable}`);
            return Promise.resolve({ rows: 1, hidden: 1, beyond: 0 });
          },
        }),
    },
    attachment: () => ({
      applier: {
        hold: async (fn) => {
          calls.push('held');
          const result = await fn();
          calls.push('let go');
          return result;
        },
      },
      flushCheckpoint: () => Promise.resolve(void calls.push('checkpoint')),
    }),
    durable: () => 900n,
    waitFor: (lsn) => Promise.resolve(calls.push(`durable ${lsn}`) > 0),
    log: silentLog,
  };
});

describe('a repair', () => {
  test('stores rows once all before them is durable and remembered, and while nothing else is stored', async () => {
    const done = await new Repairs(options).repair(RELATION, report, KEYS);
    expect(done).toEqual({ position: 800n, rows: 1, hidden: 1, beyond: 0 });
    expect(calls).toEqual([
      'read 2',
      'row of 800',
      'snapshot closed',
      'durable 800',
      'looked',
      'held',
      'checkpoint',
      'stored at 900',
      'let go',
    ]);
    expect(report.repairing).toBe(false);
  });

  test('is told from its beginning to its end', async () => {
    const seen: boolean[] = [];
    const done = new Repairs({
      ...options,
      waitFor: () => Promise.resolve(seen.push(report.repairing) > 0),
    }).repair(RELATION, report, KEYS);
    await done;
    expect(seen).toEqual([true]);
  });

  test('begins again with another snapshot when the table was truncated or copied meanwhile', async () => {
    let waits = 0;
    const waitFor = (): Promise<boolean> => {
      waits += 1;
      if (waits === 1) copy += 1;
      return Promise.resolve(true);
    };
    await new Repairs({ ...options, waitFor }).repair(RELATION, report, KEYS);
    expect(calls.filter((call) => call === 'read 2')).toHaveLength(2);
    expect(calls.filter((call) => call.startsWith('stored'))).toHaveLength(1);
  });

  test('gives up after some times, with nothing stored', async () => {
    const waitFor = (): Promise<boolean> => Promise.resolve((copy += 1) > 0);
    const repair = new Repairs({ ...options, waitFor }).repair(RELATION, report, KEYS);
    await expect(repair).rejects.toMatchObject({ kind: 'repair_interrupted' });
    expect(calls.some((call) => call.startsWith('stored'))).toBe(false);
  });

  test.each(['resyncing', 'snapshotting', 'stopped', 'waiting'] as const)(
    'of a table that is %s reads nothing',
    async (state) => {
      report.state = state;
      const repair = new Repairs(options).repair(RELATION, report, KEYS);
      await expect(repair).rejects.toMatchObject({ kind: 'repair_interrupted' });
      expect(calls).toEqual([]);
    },
  );

  test('stores nothing when a copy of the table has begun meanwhile', async () => {
    const waitFor = (): Promise<boolean> => {
      report.state = 'resyncing';
      return Promise.resolve(true);
    };
    const repair = new Repairs({ ...options, waitFor }).repair(RELATION, report, KEYS);
    await expect(repair).rejects.toMatchObject({ kind: 'repair_interrupted' });
    expect(calls.some((call) => call.startsWith('stored'))).toBe(false);
  });

  test('says so when the stream does not come to its position', async () => {
    const repair = new Repairs({ ...options, waitFor: () => Promise.resolve(false) }).repair(
      RELATION,
      report,
      KEYS,
    );
    await expect(repair).rejects.toMatchObject({
      kind: 'repair_interrupted',
      fix: expect.stringContaining('walhouse resume') as string,
    });
  });

  test('refuses rows that do not fit into memory together, and takes one alone', async () => {
    bytes = 100 * 1024 * 1024;
    const repairs = new Repairs(options);
    await expect(repairs.repair(RELATION, report, KEYS)).rejects.toMatchObject({ kind: 'repair_too_large' });
    await expect(repairs.repair(RELATION, report, [['1']])).resolves.toMatchObject({ rows: 1 });
  });

  test('refuses keys of another shape', async () => {
    const repair = new Repairs(options).repair(RELATION, report, [['1', '2']]);
    await expect(repair).rejects.toMatchObject({ kind: 'source_rejected' });
  });

  test('follows the one before it, whatever became of that', async () => {
    const repairs = new Repairs(options);
    report.state = 'waiting';
    const first = repairs.repair(RELATION, report, KEYS);
    const second = repairs.repair(RELATION, { ...report, state: 'streaming' }, KEYS);
    await expect(first).rejects.toMatchObject({ kind: 'repair_interrupted' });
    await expect(second).resolves.toMatchObject({ rows: 1 });
  });

  test('that waits for a slot ends with the service, and what it opened late is closed', async () => {
    let open = (_: Snapshot): void => {};
    const opening = new Promise<Snapshot>((resolve) => (open = resolve));
    let asked = 0;
    const source = { openSnapshot: () => (asked++, opening) };
    const repairs = new Repairs({ ...options, source });
    const repair = repairs.repair(RELATION, report, KEYS);
    const ended = expect(repair).rejects.toMatchObject({ kind: 'repair_interrupted' });
    await expect.poll(() => asked).toBe(1);
    await repairs.close();
    await ended;
    open(await openSnapshot());
    await expect.poll(() => calls).toEqual(['snapshot closed']);
  });
});
