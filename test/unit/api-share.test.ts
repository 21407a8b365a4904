import { describe, expect, test } from 'vitest';
import { shareOf } from '../../src/api/share.js';

const share = (rejectedCount: number, totalCount: number, rejectedAmount: string, totalAmount: string) =>
  shareOf({ rejectedCount, totalCount, rejectedAmount, totalAmount });

describe('a share', () => {
  test.each([
    [share(3, 41, '120.50', '9120.10'), { count: '0.073171', amount: '0.013213' }],
    [share(1, 3, '1.00', '3.00'), { count: '0.333333', amount: '0.333333' }],
    [share(2, 3, '2.00', '3.00'), { count: '0.666667', amount: '0.666667' }],
    [share(5, 5, '10.00', '10.00'), { count: '1.000000', amount: '1.000000' }],
    [share(0, 5, '0.00', '10.00'), { count: '0.000000', amount: '0.000000' }],
    [share(1, 2_000_000, '0.01', '20000.00'), { count: '0.000001', amount: '0.000001' }],
    [share(1, 2_000_001, '0.01', '20000.01'), { count: '0.000000', amount: '0.000000' }],
  ])('is worked out exactly and rounded once, half away from zero (%#)', (found, expected) => {
    expect(found).toEqual(expected);
  });

  test('of nothing is null', () => {
    expect(share(0, 0, '0.00', '0.00')).toEqual({ count: null, amount: null });
    expect(share(1, 2, '5.00', '0.00')).toEqual({ count: '0.500000', amount: null });
  });

  test('keeps its sign where amounts are negative, and all digits of large ones', () => {
    expect(share(1, 2, '-5.00', '10.00').amount).toBe('-0.500000');
    expect(share(1, 2, '-5.00', '-10.00').amount).toBe('0.500000');
    expect(share(1, 2, '99999999999999999999.99', '99999999999999999999999.99').amount).toBe('0.001000');
  });
});
