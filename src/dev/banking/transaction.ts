import type { Micros } from '../instant.js';

/** A row of banking.transactions. Every field but the id may be missing, as it may in the table. */
export interface Transaction {
  readonly id: number;
  /** In hundred-thousandths of a unit of money, so that no arithmetic here can lose one; numeric(10, 5) in the table. */
  readonly amount: number | null;
  readonly creationDate: Micros | null;
  readonly executionDate: Micros | null;
  readonly label: string | null;
  readonly countryCode: string | null;
  readonly consumerId: number | null;
  readonly bankId: number | null;
  readonly merchantId: number | null;
}

/** What can be wrong with a transaction by itself, in the words of `transactions_rejected`. */
export const FAULTS = [
  'missing field',
  'amount zero',
  'amount negative',
  'amount above the bound',
  'older than retention',
  'in the future',
  'unknown country',
  'unknown party',
] as const;

export type Fault = (typeof FAULTS)[number];

/** A transaction, and what was done wrong with it on purpose. */
export interface Generated {
  readonly transaction: Transaction;
  readonly fault: Fault | null;
}

/** Hundred-thousandths in one unit of money. */
export const UNIT = 100_000;
/** What the marts believe of one transaction (amount_max of banking_bounds). */
export const AMOUNT_MAX = 10_000 * UNIT;
/** Where numeric(10, 5) ends. */
export const AMOUNT_LIMIT = 9_999_999_999;

/** `120.50000`, exactly. */
export function formatAmount(amount: number): string {
  const whole = Math.trunc(Math.abs(amount) / UNIT);
  return `${amount < 0 ? '-' : ''}${whole}.${String(Math.abs(amount) % UNIT).padStart(5, '0')}`;
}

/** The row of its own that takes back `amount` of a transaction; `at` is when that was entered and done. */
export function compensationOf(
  transaction: Transaction,
  id: number,
  amount: number,
  at: Micros,
): Transaction {
  return {
    ...transaction,
    id,
    amount: -amount,
    creationDate: at,
    executionDate: at,
    label: `compensates ${transaction.id}`,
  };
}
