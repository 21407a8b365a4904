import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Applier, HoldInterrupted } from '../../src/pipeline/applier.js';
import { Backoff } from '../../src/pipeline/backoff.js';
import { WalhouseError } from '../../src/pipeline/errors.js';
import { silentLog } from '../../src/pipeline/log.js';
import { NO_METER } from '../../src/pipeline/meter.js';
import { Progress } from '../../src/pipeline/progress.js';
import type { Relation } from '../../src/pipeline/relation.js';
import { Tuple } from '../../src/pipeline/tuple.js';
import { MemorySink } from '../support/memory-sink.js';

const relation: Relation = {
  oid: 1,
  schema: 'public',
  name: 't',
  id: 'public.t',
  columns: [],
  key: [0],
  replicaIdentity: 'full',
  comment: null,
};

function row(text: string): Tuple {
  const tuple = new Tuple(1);
  tuple.bytes = Buffer.from(text);
  tuple.count = 1;
  tuple.start[0] = 0;
  tuple.end[0] = tuple.bytes.length;
  return tuple;
}

function applierOver(sink: MemorySink, limits = { batchRowsMax: 5, batchBytesMax: 1_000_000 }) {
  const progress = new Progress(() => 0);
  const durable: bigint[] = [];
  const reading = { paused: false, pauses: 0 };
  const retries: (string | null)[] = [];
  const batches: { rows: number; bytes: number; seconds: number }[] = [];
  const operations: number[] = [0, 0, 0, 0];
  const applier = new Applier({
    sink,
    progress,
    limits,
    log: silentLog,
    backoff: new Backoff({ firstMs: 1, longestMs: 2 }),
    wholeFrom: 0n,
    pauseReading: () => {
      reading.paused = true;
      reading.pauses += 1;
    },
    resumeReading: () => {
      reading.paused = false;
    },
    onDurable: () => durable.push(progress.durable!),
    meter: { ...NO_METER, stored: (batch) => batches.push(batch) },
    onChange: (_relation, operation) => {
      operations[operation]! += 1;
    },
    onRetry: (error) => retries.push(error?.kind ?? null),
  });
  return { applier, progress, durable, reading, retries, batches, operations };
}

const start = (commitLsn: bigint) => ({ commitLsn, committedAtUs: commitLsn * 1000n, xid: 1 });
const end = (commitLsn: bigint) => ({ commitLsn, endLsn: commitLsn + 8n });

const overloaded = () =>
  new WalhouseError('sink_overloaded', { what: 'too many parts.', why: 'It merges.', fix: 'wait' });

describe('the applier', () => {
  it('stores every change once, in order, and is durable only at ends of whole transactions', async () => {
    const transactions = fc.array(
      fc.record({
        ops: fc.array(fc.constantFrom('c', 'u', 'd', 't'), { maxLength: 17 }),
        turn: fc.boolean(),
      }),
      { minLength: 1, maxLength: 12 },
    );
    const failures = fc.array(fc.boolean(), { maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(transactions, failures, async (history, failing) => {
        const sink = new MemorySink();
        const ends = new Set<bigint>();
        const expected: string[] = [];
        const storedWhenDurable: number[] = [];
        const { applier, progress, durable, batches, operations } = applierOver(sink);
        sink.beforeStore = async () => {
          await Promise.resolve();
          if (failing.shift() === true) throw overloaded();
          storedWhenDurable.push(sink.changes.length);
        };
        let lsn = 8n;
        for (const { ops, turn } of history) {
          lsn += 16n;
          applier.begin(start(lsn));
          ops.forEach((op, index) => {
            const value = row(`${lsn}-${index}`);
            if (op === 'c') applier.insert(relation, value);
            else if (op === 'u') applier.update(relation, null, value);
            else if (op === 'd') applier.delete(relation, value);
            else applier.truncate([relation]);
            expected.push(`${lsn}:${index + 1}:${op}:${op === 't' ? '' : `${lsn}-${index}`}`);
          });
          applier.commit(end(lsn));
          ends.add(lsn + 8n);
          if (turn) await new Promise((resolve) => setImmediate(resolve));
        }
        await applier.drain();
        expect(sink.changes).toEqual(expected);
        // Each batch is told once, however often its insert was tried, with what it held before it was stored.
        expect(batches.map(({ rows }) => rows)).toEqual(sink.batches);
        for (const { rows, bytes } of batches) expect(bytes).toBe(rows * 10);
        expect(operations).toEqual(
          ['c', 'u', 'd', 't'].map((op) => expected.filter((change) => change.split(':')[2] === op).length),
        );
        expect(progress.durable).toBe(lsn + 8n);
        for (const position of durable) expect(ends.has(position)).toBe(true);
        expect(durable).toEqual([...durable].sort((a, b) => (a < b ? -1 : 1)));
        await applier.close();
      }),
      { numRuns: 150 },
    );
  });

  it('says a transaction larger than a batch is durable only when its last piece is stored', async () => {
    const sink = new MemorySink();
    const { applier, progress, durable, reading } = applierOver(sink);
    applier.begin(start(100n));
    for (let i = 0; i < 12; i += 1) applier.insert(relation, row(String(i)));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(sink.batches).toEqual([5, 5]);
    expect(progress.durable).toBeNull();
    expect(reading.pauses).toBeGreaterThan(0);
    applier.commit(end(100n));
    await applier.drain();
    expect(sink.batches).toEqual([5, 5, 2]);
    expect(durable).toEqual([108n]);
    expect(reading.paused).toBe(false);
  });

  it('stops reading while the sink is slow, and stores nothing after a failure that does not pass', async () => {
    const sink = new MemorySink();
    let open!: () => void;
    sink.beforeStore = () => new Promise<void>((resolve) => (open = resolve));
    const { applier, reading, progress } = applierOver(sink);
    for (let i = 0n; i < 11n; i += 1n) {
      applier.begin(start(8n * (i + 1n)));
      applier.insert(relation, row(String(i)));
      applier.commit(end(8n * (i + 1n)));
    }
    await new Promise((resolve) => setImmediate(resolve));
    expect(reading.paused).toBe(true);
    sink.beforeStore = () =>
      Promise.reject(new WalhouseError('sink_rejected', { what: 'no.', why: 'No.', fix: 'look' }));
    open();
    await expect(applier.failed).rejects.toThrow('sink_rejected');
    expect(sink.changes.length).toBe(5);
    expect(progress.durable).toBe(48n);
    applier.begin(start(800n));
    applier.insert(relation, row('late'));
    applier.commit(end(800n));
    await applier.drain();
    expect(sink.changes.length).toBe(5);
  });

  it('tries an overloaded sink again and says so', async () => {
    const sink = new MemorySink();
    let failures = 2;
    sink.beforeStore = () => (failures-- > 0 ? Promise.reject(overloaded()) : Promise.resolve());
    const { applier, retries } = applierOver(sink);
    applier.begin(start(8n));
    applier.insert(relation, row('1'));
    applier.commit(end(8n));
    await applier.drain();
    expect(retries).toEqual(['sink_overloaded', 'sink_overloaded', null]);
    expect(sink.changes).toEqual(['8:1:c:1']);
  });

  it('moves on without an insert when an idle source moves on', async () => {
    const sink = new MemorySink();
    const { applier, durable } = applierOver(sink);
    applier.caughtUp(640n);
    await applier.drain();
    expect(durable).toEqual([640n]);
    expect(sink.batches).toEqual([]);
  });

  it('lets a holder in only between whole transactions, and stores nothing meanwhile', async () => {
    const sink = new MemorySink();
    const { applier } = applierOver(sink);
    applier.begin(start(100n));
    for (let i = 0; i < 7; i += 1) applier.insert(relation, row(String(i)));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(sink.changes.length).toBe(5);
    let seen = -1;
    let release!: () => void;
    const held = applier.hold(async () => {
      seen = sink.changes.length;
      await new Promise<void>((resolve) => (release = resolve));
      return sink.changes.length;
    });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(seen).toBe(-1);
    applier.commit(end(100n));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(seen).toBe(7);
    applier.begin(start(200n));
    applier.insert(relation, row('after'));
    applier.commit(end(200n));
    await new Promise((resolve) => setTimeout(resolve, 5));
    release();
    expect(await held).toBe(7);
    await applier.drain();
    expect(sink.changes.length).toBe(8);
  });

  it('lets a holder in after a transaction that ended with a truncate', async () => {
    const sink = new MemorySink();
    const { applier } = applierOver(sink);
    applier.begin(start(100n));
    applier.truncate([relation]);
    await new Promise((resolve) => setTimeout(resolve, 5));
    applier.commit(end(100n));
    expect(await applier.hold(() => Promise.resolve(sink.changes.length))).toBe(1);
  });

  it('turns a holder away when it closes inside a transaction', async () => {
    const sink = new MemorySink();
    const { applier } = applierOver(sink);
    applier.begin(start(100n));
    for (let i = 0; i < 7; i += 1) applier.insert(relation, row(String(i)));
    await new Promise((resolve) => setTimeout(resolve, 5));
    const held = applier.hold(() => Promise.resolve());
    await applier.close();
    await expect(held).rejects.toThrow(HoldInterrupted);
  });
});
