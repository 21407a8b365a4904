import { describe, expect, test } from 'vitest';
import { Coalescer, COALESCE_LIMITS, type CoalesceLimits } from '../../src/api/coalesce.js';
import { Problem } from '../../src/api/problem.js';
import { riskQuestion } from '../../src/api/risk.js';
import { HandPositions, HandReader } from './api-fixture.js';

const live = new AbortController().signal;

function open(limits: Partial<CoalesceLimits> = {}) {
  const positions = new HandPositions();
  const reader = new HandReader(positions);
  const observed: [string, number, boolean][] = [];
  const coalescer = new Coalescer(
    reader,
    { ...COALESCE_LIMITS, queries: { now: 1, at: 1, bulk: 1, pass: 1, landing: 1 }, ...limits },
    (lane, lookups, ok) => observed.push([lane, lookups, ok]),
  );
  let release = (): void => {};
  const close = (): void => {
    reader.gate = new Promise((resolve) => (release = resolve));
  };
  close();
  return { positions, reader, coalescer, observed, letGo: () => release(), close };
}

const settled = async (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => 'answered',
    (error: unknown) => (error instanceof Problem ? error.kind : (error as Error).message),
  );

describe('look-ups', () => {
  test('go out at once and alone while a query may', () => {
    const { coalescer, reader } = open({ queries: { now: 2, at: 1, bulk: 1, pass: 1, landing: 1 } });
    void settled(coalescer.read([1n], riskQuestion(null), live));
    void settled(coalescer.read([2n], riskQuestion(null), live));
    expect(reader.asked.map(({ ids }) => ids)).toEqual([[1n], [2n]]);
    expect(coalescer.waiting).toBe(0);
  });

  test('that come while none may share the next query', async () => {
    const { coalescer, reader, observed, letGo } = open();
    const answers = [42n, 43n, 42n, 7n].map((id) => coalescer.read([id], riskQuestion(null), live));
    expect(reader.asked.map(({ ids }) => ids)).toEqual([[42n]]);
    expect(coalescer.waiting).toBe(3);
    letGo();
    const results = await Promise.all(answers);
    expect(reader.asked.map(({ ids }) => ids)).toEqual([[42n], [43n, 42n, 7n]]);
    expect(results[1]?.merchants.has(43n)).toBe(true);
    expect(results[3]?.merchants.has(7n)).toBe(false);
    expect(results[1]?.window).toEqual(results[3]?.window);
    expect(observed).toEqual([
      ['now', 1, true],
      ['now', 3, true],
    ]);
    expect(coalescer.waiting).toBe(0);
  });

  test('never join a query whose position was taken before they were asked', async () => {
    const { coalescer, positions, letGo } = open();
    const early = coalescer.read([42n], riskQuestion(null), live);
    positions.advance(0x2000000n);
    const late = coalescer.read([42n], riskQuestion(null), live);
    letGo();
    expect((await early).applied.lsn).toBe(0x16b3748n);
    expect((await late).applied.lsn).toBe(0x2000000n);
  });

  test('never join a query that others had waited for, once it is sent', async () => {
    const { coalescer, reader, letGo, close } = open();
    const first = coalescer.read([42n], riskQuestion(null), live);
    const second = coalescer.read([43n], riskQuestion(null), live);
    letGo();
    close();
    await first;
    await expect.poll(() => reader.asked.length).toBe(2);
    const third = coalescer.read([42n], riskQuestion(null), live);
    letGo();
    await second;
    letGo();
    expect((await third).merchants.has(42n)).toBe(true);
    expect(reader.asked.map(({ ids }) => ids)).toEqual([[42n], [43n], [42n]]);
  });

  test('are answered at the position of the moment their query is sent', async () => {
    const { coalescer, positions, letGo } = open();
    void settled(coalescer.read([42n], riskQuestion(null), live));
    const waiting = coalescer.read([43n], riskQuestion(null), live);
    positions.advance(0x3000000n);
    letGo();
    expect((await waiting).applied.lsn).toBe(0x3000000n);
  });

  test('for different window ends do not share, for the same one do', async () => {
    const { coalescer, reader, letGo } = open();
    const answers = [5n, 6n, 6n, 5n].map((to, index) =>
      coalescer.read([BigInt(index)], riskQuestion(to), live),
    );
    letGo();
    await Promise.all(answers);
    expect(reader.asked.map(({ ids, to }) => [to, ids])).toEqual([
      [5n, [0n]],
      [6n, [1n, 2n]],
      [5n, [3n]],
    ]);
  });

  test('for now do not wait behind those for another time, for many merchants, or for the whole table', () => {
    const { coalescer, reader } = open({ idsPerQuery: 2 });
    void settled(coalescer.read([1n], riskQuestion(5n), live));
    void settled(coalescer.read([1n, 2n, 3n], riskQuestion(null), live));
    reader.landing = true;
    void settled(coalescer.read([1n], riskQuestion(1n), live));
    reader.landing = false;
    void settled(coalescer.read([1n], riskQuestion(null), live));
    expect(reader.asked).toHaveLength(4);
  });

  test('share a query only up to its bound', async () => {
    const { coalescer, reader, letGo } = open({ idsPerQuery: 3 });
    const answers = [0n, 1n, 2n, 3n, 4n, 5n, 6n].map((id) => coalescer.read([id], riskQuestion(null), live));
    letGo();
    await Promise.all(answers);
    expect(reader.asked.map(({ ids }) => ids.length)).toEqual([1, 3, 3]);
  });

  test('beyond what may wait are refused at once', async () => {
    const { coalescer, letGo } = open({ waitingMax: 2 });
    const answers = [0n, 1n, 2n, 3n].map((id) => settled(coalescer.read([id], riskQuestion(null), live)));
    expect(await answers[3]).toBe('api_overloaded');
    letGo();
    expect(await Promise.all(answers)).toEqual(['answered', 'answered', 'answered', 'api_overloaded']);
  });

  test('share a failure, and the next ones are answered again', async () => {
    const { coalescer, reader, letGo, observed } = open();
    reader.failure = new Problem({
      status: 503,
      kind: 'sink_unreachable',
      title: 't',
      detail: 'd',
      fix: 'f',
    });
    const answers = [1n, 2n, 3n].map((id) => settled(coalescer.read([id], riskQuestion(null), live)));
    letGo();
    expect(await Promise.all(answers)).toEqual(['sink_unreachable', 'sink_unreachable', 'sink_unreachable']);
    reader.failure = null;
    expect(await settled(coalescer.read([1n], riskQuestion(null), live))).toBe('answered');
    expect(observed.map(([, , ok]) => ok)).toEqual([false, false, true]);
  });

  test('end at their deadline, whether their query hangs or was never sent, and give the place back', async () => {
    const { coalescer, reader, letGo, close } = open({ deadlineMs: { mart: 30, pass: 30, landing: 30 } });
    const answers = [1n, 2n].map((id) => settled(coalescer.read([id], riskQuestion(null), live)));
    expect(await Promise.all(answers)).toEqual(['sink_timeout', 'sink_timeout']);
    expect(reader.asked[0]?.signal.aborted).toBe(true);
    expect(coalescer.waiting).toBe(0);
    letGo();
    close();
    reader.gate = null;
    expect(await settled(coalescer.read([1n], riskQuestion(null), live))).toBe('answered');
  });

  test('of callers that went away are taken out; a query stops when nobody is left', async () => {
    const { coalescer, reader, letGo } = open();
    const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()];
    const sent = settled(coalescer.read([1n], riskQuestion(null), first.signal));
    const gone = settled(coalescer.read([2n], riskQuestion(null), second.signal));
    const stays = coalescer.read([3n], riskQuestion(null), third.signal);
    second.abort(new Error('went away'));
    expect(await gone).toBe('went away');
    expect(coalescer.waiting).toBe(1);
    first.abort(new Error('went away'));
    expect(await sent).toBe('went away');
    expect(reader.asked[0]?.signal.aborted).toBe(true);
    letGo();
    await stays;
    // The one that left had named its merchant already; asking for it too does no harm.
    expect(reader.asked[1]?.ids).toContain(3n);
    expect(
      await settled(coalescer.read([1n], riskQuestion(null), AbortSignal.abort(new Error('gone before')))),
    ).toBe('gone before');
  });

  test('that nobody waits for any more are never sent', async () => {
    const { coalescer, reader, letGo } = open();
    const away = new AbortController();
    const sent = coalescer.read([1n], riskQuestion(null), live);
    const gone = settled(coalescer.read([2n], riskQuestion(null), away.signal));
    away.abort(new Error('went away'));
    await gone;
    letGo();
    await sent;
    expect(reader.asked).toHaveLength(1);
  });

  test('in a thousand random orders are each answered once, with their own merchant', async () => {
    const { coalescer, reader, letGo } = open({ waitingMax: 5000, idsPerQuery: 16 });
    for (let id = 0n; id < 50n; id += 1n) {
      reader.merchants.set(id, {
        rejectedCount: Number(id),
        rejectedAmount: '0.00',
        totalCount: 1,
        totalAmount: '0.00',
      });
    }
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return seed % below;
    };
    const answers = Array.from({ length: 1000 }, async () => {
      const id = BigInt(random(50));
      const result = await coalescer.read(
        [id],
        riskQuestion(random(3) === 0 ? BigInt(random(4)) : null),
        live,
      );
      return result.merchants.get(id)?.rejectedCount === Number(id);
    });
    letGo();
    expect((await Promise.all(answers)).every(Boolean)).toBe(true);
    expect(reader.asked.length).toBeLessThan(200);
    expect(coalescer.waiting).toBe(0);
  });
});
