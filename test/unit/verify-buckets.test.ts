import { describe, expect, test } from 'vitest';
import { Buckets, bucketCount } from '../../src/ops/verify/buckets.js';

const filled = (...rows: [bucket: number, count: number, sum: bigint][]): Buckets => {
  const buckets = new Buckets(16);
  for (const row of rows) buckets.add(...row);
  return buckets;
};

describe('buckets', () => {
  test.each([
    [0, 16],
    [16_000, 16],
    [16_001, 32],
    [1_000_000, 1_024],
    [10_000_000_000, 65_536],
  ])('a table of %d rows has %d', (rows, count) => {
    expect(bucketCount(rows)).toBe(count);
  });

  test('pieces add up in any order, past 64 bits and below zero', () => {
    const one = filled([3, 2, (1n << 63n) + 5n], [3, 1, -7n], [4, 1, 1n]);
    const other = filled([4, 1, 1n], [3, 1, -7n], [3, 1, 1n << 63n], [3, 1, 5n]);
    expect(one.differing(other, 100)).toEqual([]);
    expect(one.rows).toBe(4);
  });

  test('what is taken away was never there', () => {
    const one = filled([5, 3, 77n]);
    one.takeAway(5, 1, -100n);
    expect(one.differing(filled([5, 2, 177n]), 100)).toEqual([]);
  });

  test('a count or a sum alone makes a difference', () => {
    const one = filled([1, 1, 0n], [2, 1, 5n], [9, 1, 9n]);
    expect(one.differing(filled([1, 2, 0n], [2, 1, 6n], [9, 1, 9n]), 100)).toEqual([[1, 2]]);
  });

  test('those that differ come in groups of bounded size', () => {
    const one = filled([1, 60, 1n], [2, 30, 1n], [3, 20, 1n], [4, 500, 1n], [5, 1, 1n]);
    expect(one.differing(new Buckets(16), 100)).toEqual([[1, 2], [3], [4], [5]]);
  });
});
