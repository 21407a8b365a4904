import { describe, expect, it } from 'vitest';

import { Book } from '../../src/dev/banking/book.js';
import { TransactionGenerator } from '../../src/dev/banking/generator.js';
import {
  nextOperation,
  OPERATION_KINDS,
  remember,
  type BankingOperation,
} from '../../src/dev/banking/operations.js';
import {
  AMOUNT_LIMIT,
  AMOUNT_MAX,
  FAULTS,
  formatAmount,
  type Generated,
} from '../../src/dev/banking/transaction.js';
import { DAY, SECOND } from '../../src/dev/instant.js';
import { Random } from '../../src/dev/random.js';

const OPTIONS = {
  consumers: 50,
  merchants: 20,
  banks: 4,
  rate: 25,
  seed: 7,
  errorRate: 0.1,
  startAt: new Date('2026-11-21T09:00:00Z'),
};
const START = OPTIONS.startAt.getTime() * 1000;

function take(count: number, other: Partial<typeof OPTIONS> = {}): Generated[] {
  const generator = new TransactionGenerator({ ...OPTIONS, ...other });
  return Array.from({ length: count }, () => generator.next());
}

function operations(count: number): BankingOperation[] {
  const transactions = new TransactionGenerator(OPTIONS);
  const world = { transactions, book: new Book(), random: new Random(7, 2) };
  return Array.from({ length: count }, (_, index) => {
    const operation = nextOperation(world, START + index * SECOND);
    if (operation.commit) remember(world.book, operation);
    return operation;
  });
}

describe('TransactionGenerator', () => {
  it('repeats a run with the same seed, and makes another one with another', () => {
    expect(take(500)).toEqual(take(500));
    expect(take(20, { seed: 8 })).not.toEqual(take(20));
  });

  it('iterates without end over what next gives', () => {
    const taken: Generated[] = [];
    for (const generated of new TransactionGenerator(OPTIONS)) if (taken.push(generated) === 30) break;
    expect(taken).toEqual(take(30));
  });

  it('makes transactions at the rate asked for, each with an id of its own', () => {
    const sound = take(5_000, { errorRate: 0 }).map(({ transaction }) => transaction);
    const seconds = (sound.at(-1)!.executionDate! - START) / SECOND;
    expect(5_000 / seconds).toBeGreaterThan(23);
    expect(5_000 / seconds).toBeLessThan(27);
    expect(new Set(sound.map(({ id }) => id)).size).toBe(5_000);
  });

  it('makes as large a share faulty as asked for, in every way, and says in which', () => {
    const generated = take(8_000);
    const faulty = generated.filter(({ fault }) => fault !== null);
    expect(faulty.length / 8_000).toBeGreaterThan(0.085);
    expect(faulty.length / 8_000).toBeLessThan(0.115);
    expect(new Set(faulty.map(({ fault }) => fault))).toEqual(new Set(FAULTS));
    expect(take(1_000, { errorRate: 0 }).every(({ fault }) => fault === null)).toBe(true);
    expect(take(1_000, { errorRate: 1 }).some(({ fault }) => fault === null)).toBe(false);
  });

  it('makes transactions without fault that no rule could object to', () => {
    for (const { transaction } of take(3_000, { errorRate: 0 })) {
      const { merchantId, ...required } = transaction;
      expect(Object.values(required)).not.toContain(null);
      expect(transaction.amount).toBeGreaterThan(0);
      expect(transaction.amount).toBeLessThanOrEqual(AMOUNT_MAX);
      expect(transaction.consumerId).toBeLessThanOrEqual(50);
      expect(transaction.bankId).toBeLessThanOrEqual(4);
      expect(merchantId ?? 1).toBeLessThanOrEqual(20);
      expect(transaction.creationDate).toBeLessThanOrEqual(transaction.executionDate!);
    }
  });

  it('makes faults that are what they are called', () => {
    for (const { transaction, fault } of take(4_000, { errorRate: 1 })) {
      const { amount, executionDate, consumerId, bankId, merchantId, countryCode } = transaction;
      expect(Math.abs(amount ?? 0)).toBeLessThanOrEqual(AMOUNT_LIMIT);
      if (fault === 'amount above the bound') expect(amount).toBeGreaterThan(AMOUNT_MAX);
      if (fault === 'amount negative') expect(amount).toBeLessThan(0);
      if (fault === 'older than retention') expect(executionDate).toBeLessThan(START - 728 * DAY);
      if (fault === 'in the future') expect(executionDate).toBeGreaterThan(START);
      if (fault === 'unknown party')
        expect(consumerId! > 50 || bankId! > 4 || (merchantId ?? 0) > 20).toBe(true);
      if (fault === 'unknown country') expect(['DE', 'FR', 'ES']).not.toContain(countryCode);
    }
  });

  it('refuses numbers that mean nothing', () => {
    for (const wrong of [{ consumers: 0 }, { banks: 1.5 }, { rate: 0 }, { rate: NaN }, { errorRate: 1.1 }])
      expect(() => new TransactionGenerator({ ...OPTIONS, ...wrong })).toThrow(RangeError);
  });
});

describe('the sequence of operations', () => {
  it('is the same for the same seed, and has every kind', () => {
    const made = operations(4_000);
    expect(made).toEqual(operations(4_000));
    expect([...new Set(made.map(({ kind }) => kind))].sort()).toEqual([...OPERATION_KINDS].sort());
  });

  it('never gives an id twice', () => {
    const ids = operations(4_000).flatMap(({ statements }) =>
      statements.flatMap((statement) =>
        statement.type === 'insert' ? statement.transactions.map(({ id }) => id) : [],
      ),
    );
    expect(new Set(ids).size).toBe(ids.length);
  });
});

it('amounts are written exactly, to five decimals', () => {
  expect([1, -1, 100_000, 12_345_678, -AMOUNT_LIMIT, 0].map(formatAmount)).toEqual([
    '0.00001',
    '-0.00001',
    '1.00000',
    '123.45678',
    '-99999.99999',
    '0.00000',
  ]);
});
