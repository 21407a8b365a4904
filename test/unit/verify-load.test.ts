import { describe, expect, test } from 'vitest';
import { loadOf, pauseMs } from '../../src/ops/verify/load.js';

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

  test('what is queried and what is paused make the share', () => {
    const load = loadOf(0.25);
    expect(500 / (500 + pauseMs(load, 500))).toBeCloseTo(0.25);
    expect(pauseMs(loadOf(3), 500)).toBe(0);
  });

  test('a pause is bounded', () => {
    expect(pauseMs(loadOf(0.01), 1_000_000)).toBe(60_000);
  });
});
