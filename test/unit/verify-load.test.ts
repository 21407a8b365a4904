import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { loadOf, Pace } from '../../src/ops/verify/load.js';

describe('the load of a verification', () => {
  test.each([
    [1, 1, 1],
    [2, 2, 1],
    [0.25, 1, 0.25],
    [1.5, 2, 0.75],
    [0.01, 1, 0.01],
  ])('%d is %d connections, each busy %d of the time', (maxLoad, connections, share) => {
    expect(loadOf(maxLoad)).toEqual({ connections, share });
  });

  test('what is queried and what is paused make the share, whatever single statements take', async () => {
    let pausedMs = 0;
    const pace = new Pace(loadOf(0.25), (ms) => Promise.resolve((pausedMs += ms)));
    for (const ms of [2, 20, 1, 30, 1]) await pace.run(() => sleep(ms));
    const beforeLastMs = pace.busyMs;
    await pace.run(() => Promise.resolve());
    // Whatever came before the last statement has been made up for when it begins.
    expect(beforeLastMs / (beforeLastMs + pausedMs)).toBeCloseTo(0.25, 5);
  });

  test('nothing waits where all of the time may be used', async () => {
    const pace = new Pace(loadOf(3), () => Promise.reject(new Error('it paused')));
    await pace.run(() => sleep(5));
    await pace.run(() => Promise.resolve());
  });

  test('a long pause is taken in pieces, and none of it is forgotten', async () => {
    const pauses: number[] = [];
    const pace = new Pace({ connections: 1, share: 1e-7 }, (ms) => Promise.resolve(pauses.push(ms)));
    await pace.run(() => sleep(20));
    const owedMs = pace.busyMs * (1e7 - 1);
    await pace.run(() => Promise.resolve());
    await pace.run(() => Promise.resolve());
    expect(pauses).toEqual([60_000, 60_000]);
    expect(owedMs).toBeGreaterThan(120_000);
  });
});
