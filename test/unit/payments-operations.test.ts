import { describe, expect, it } from 'vitest';

import { Book } from '../../src/dev/payments/book.js';
import { initialMerchants, initialPayments } from '../../src/dev/payments/initial.js';
import { DAY, formatInstant, HOUR, WEEK } from '../../src/dev/instant.js';
import { generateProfiles } from '../../src/dev/payments/merchants.js';
import { nextOperation } from '../../src/dev/payments/next-operation.js';
import { merchantsOf, OPERATION_KINDS, type Operation } from '../../src/dev/payments/operation.js';
import { formatCents, type Payment } from '../../src/dev/payments/payment.js';
import { Random } from '../../src/dev/random.js';
import {
  applyOperation,
  createState,
  largestMerchant,
  type TrafficState,
} from '../../src/dev/payments/state.js';

const START = Date.UTC(2026, 10, 21, 9) * 1000;

function stateOf(seed: number, payments = 3_000): TrafficState {
  const profiles = generateProfiles(200, new Random(seed, 5));
  const state = createState(profiles, payments + 1);
  for (const payment of initialPayments(profiles, seed, payments, 30, START)) state.book.add(payment);
  return state;
}

function operationsOf(seed: number, count: number, state = stateOf(seed)): Operation[] {
  const random = new Random(seed, 1);
  return Array.from({ length: count }, (_, index) => {
    const operation = nextOperation(state, random, START + index * 2_000);
    applyOperation(state, operation);
    return operation;
  });
}

describe('the sequence of operations', () => {
  it('is the same for the same seed and start', () => {
    expect(operationsOf(42, 2_000)).toEqual(operationsOf(42, 2_000));
  });

  it('is another one for another seed', () => {
    expect(operationsOf(42, 50)).not.toEqual(operationsOf(43, 50));
  });

  it('has every kind of operation', () => {
    const kinds = new Set(operationsOf(7, 8_000).map((operation) => operation.kind));
    expect([...kinds].sort()).toEqual([...OPERATION_KINDS].sort());
  });

  it('does not depend on anything but its arguments: asking twice gives the same operation', () => {
    const state = stateOf(5);
    const first = nextOperation(state, new Random(9, 1), START);
    expect(nextOperation(state, new Random(9, 1), START)).toEqual(first);
  });

  it('never gives an id twice, those of rolled back transactions among them', () => {
    const payments: number[] = [];
    const merchants: number[] = [];
    for (const { statements } of operationsOf(11, 6_000)) {
      for (const statement of statements) {
        if (statement.type === 'insert_payments') payments.push(...statement.payments.map(({ id }) => id));
        if (statement.type === 'insert_merchant') merchants.push(statement.profile.id);
      }
    }
    expect(new Set(payments).size).toBe(payments.length);
    expect(new Set(merchants).size).toBe(merchants.length);
    expect(Math.min(...payments)).toBe(3_001);
  });

  it('makes only payments when it knows none, and settles what it made', () => {
    const state = createState(generateProfiles(3, new Random(1)));
    const kinds = operationsOf(1, 400, state).map((operation) => operation.kind);
    expect(kinds).toContain('pay');
    expect(kinds).toContain('settle');
    expect(state.book.size).toBeGreaterThan(0);
  });

  it('moves payments across the edge of the window in both directions', () => {
    const dates = new Map<Operation['kind'], number[]>();
    operationsOf(3, 8_000).forEach(({ kind, statements, index }) => {
      for (const statement of statements) {
        if (statement.type !== 'set_date') continue;
        const now = START + index * 2_000;
        dates.set(kind, [...(dates.get(kind) ?? []), (now - statement.paidAt) / WEEK]);
      }
    });
    expect(dates.get('redate_out')?.every((weeks) => weeks > 1)).toBe(true);
    expect(dates.get('redate_in')?.every((weeks) => weeks >= 0 && weeks < 1)).toBe(true);
    expect(dates.get('redate_edge')?.every((weeks) => weeks <= 1 && weeks > 0.9999)).toBe(true);
    expect(dates.get('redate_expired')?.every((weeks) => weeks > 104.5)).toBe(true);
  });

  it('names both merchants of a reassigned payment', () => {
    const reassigned = operationsOf(3, 4_000).filter(({ kind }) => kind === 'reassign');
    expect(reassigned.length).toBeGreaterThan(10);
    for (const operation of reassigned) expect(new Set(merchantsOf(operation)).size).toBe(2);
  });

  it('leaves the state as it was after a rolled back operation, but for the ids', () => {
    const state = stateOf(5);
    const random = new Random(5, 1);
    let operation = nextOperation(state, random, START);
    while (operation.kind !== 'roll_back') {
      applyOperation(state, operation);
      operation = nextOperation(state, random, START);
    }
    const known = state.book.size;
    const open = state.book.openCount;
    const nextId = state.nextPaymentId;
    applyOperation(state, operation);
    expect({ known: state.book.size, open: state.book.openCount }).toEqual({ known, open });
    expect(state.nextPaymentId).toBeGreaterThan(nextId);
  });

  it('settles open payments about as fast as new ones come', () => {
    const state = stateOf(6);
    const before = state.book.openCount;
    operationsOf(6, 20_000, state);
    expect(state.book.openCount).toBeLessThan(before + 0.2 * 20_000);
  });
});

describe('initial data', () => {
  const profiles = generateProfiles(300, new Random(1, 5));
  const payments = [...initialPayments(profiles, 1, 40_000, 60, START)];

  it('is the same for the same seed', () => {
    expect([...initialPayments(profiles, 1, 40_000, 60, START)]).toEqual(payments);
    expect([...initialMerchants(profiles, 1)]).toEqual([...initialMerchants(profiles, 1)]);
  });

  it('has exactly the payments that were asked for, oldest first, with ids from 1', () => {
    expect(payments.map(({ id }) => id)).toEqual(Array.from({ length: 40_000 }, (_, index) => index + 1));
    expect(payments.every(({ paidAt }, index) => paidAt >= (payments[index - 1]?.paidAt ?? 0))).toBe(true);
    expect(payments.at(-1)?.paidAt).toBeLessThan(START);
  });

  it('has a hundredth of its payments beyond two years, and none between them and the days asked for', () => {
    const expired = payments.filter(({ paidAt }) => paidAt < START - 731 * DAY);
    expect(expired).toHaveLength(400);
    expect(payments.filter(({ paidAt }) => paidAt < START - 60 * DAY)).toHaveLength(400);
  });

  it('has one very large merchant, a long tail, and one without payments', () => {
    const counts = countBy(payments, ({ merchantId }) => merchantId);
    const sizes = [...counts.values()].sort((a, b) => b - a);
    expect(sizes[0]! / payments.length).toBeGreaterThan(0.12);
    expect(sizes[0]! / payments.length).toBeLessThan(0.35);
    expect(sizes[150]! / payments.length).toBeLessThan(0.002);
    expect(counts.has(300)).toBe(false);
    expect(counts.get(largestMerchant(createState(profiles))!.id)).toBe(sizes[0]);
  });

  it('follows the day: evenings are busy, small hours are not', () => {
    const hours = countBy(payments, ({ paidAt }) => new Date(paidAt / 1000).getUTCHours());
    expect(hours.get(18)!).toBeGreaterThan(8 * hours.get(3)!);
  });

  it('has believable amounts and mostly settled payments', () => {
    const cents = payments.map((payment) => payment.cents).sort((a, b) => a - b);
    expect(cents[0]).toBeGreaterThanOrEqual(1);
    expect(cents[20_000]).toBeGreaterThan(800);
    expect(cents[20_000]).toBeLessThan(10_000);
    const statuses = countBy(payments, ({ status }) => status);
    expect(statuses.get('Pending')! / payments.length).toBeLessThan(0.05);
    expect(statuses.get('Rejected')! / payments.length).toBeGreaterThan(0.01);
  });

  it('is nothing at all where nothing is asked for', () => {
    expect([...initialPayments(profiles, 1, 0, 10, START)]).toEqual([]);
  });
});

function countBy<K>(payments: readonly Payment[], keyOf: (payment: Payment) => K): Map<K, number> {
  const counts = new Map<K, number>();
  for (const payment of payments) counts.set(keyOf(payment), (counts.get(keyOf(payment)) ?? 0) + 1);
  return counts;
}

describe('the book', () => {
  const known = (id: number, status: 'Pending' | 'Paid' = 'Pending') =>
    ({ id, merchantId: 1, cents: 100, status, paidAt: START }) as const;

  it('is bounded, and forgets open payments with the rest', () => {
    const book = new Book(10);
    for (let id = 1; id <= 25; id++) book.add(known(id));
    expect(book.size).toBe(10);
    expect(book.openCount).toBe(10);
    expect(book.get(15)).toBeUndefined();
    expect(book.get(25)).toBeDefined();
  });

  it('gives only open payments as open, through settling and deleting in any order', () => {
    const book = new Book(50);
    const random = new Random(4);
    for (let id = 1; id <= 500; id++) {
      book.add(known(id, random.chance(0.5) ? 'Pending' : 'Paid'));
      const any = book.pick(random);
      if (any !== undefined && random.chance(0.3)) book.remove(any.id);
      const open = book.pickOpen(random);
      if (open === undefined) continue;
      expect(open.status).toBe('Pending');
      if (random.chance(0.6)) book.settle(open.id, 'Paid');
    }
    expect(book.size).toBeLessThanOrEqual(50);
  });
});

describe('texts', () => {
  it.each([
    [1, '0.01'],
    [100, '1.00'],
    [12_050, '120.50'],
    [999_999_999_999, '9999999999.99'],
    [-5, '-0.05'],
  ])('%i cents are %s', (cents, text) => expect(formatCents(cents)).toBe(text));

  it.each([
    [START, '2026-11-21T09:00:00.000000Z'],
    [START + 1, '2026-11-21T09:00:00.000001Z'],
    [START - 1, '2026-11-21T08:59:59.999999Z'],
    [START + HOUR + 123_456, '2026-11-21T10:00:00.123456Z'],
  ])('%i is %s', (at, text) => expect(formatInstant(at)).toBe(text));
});
