import type pg from 'pg';

import { createSchema, type GeneratorOptions } from '../generators.js';
import { DAY, formatInstant, HOUR, type Micros } from '../instant.js';
import { Random } from '../random.js';
import type { Generator, Operation } from '../traffic.js';
import { category, inTheDay, purchasesOf, spend, spendRate, type TransactionRow } from './customers.js';
import { insert, type Known, nextOperation, runOperation } from './operations.js';

const CUSTOMERS = 1_000;
const DAYS = 730;
const REMEMBERED = 4_000;

/** Believable life on the spending domain: customers who come, buy and leave, and what is taken back. */
export class SpendingGenerator implements Generator {
  readonly #options: GeneratorOptions;
  readonly #random: Random;
  #known: Known | null = null;

  constructor(options: GeneratorOptions) {
    this.#options = options;
    this.#random = new Random(options.seed, 21);
  }

  async load(client: pg.ClientBase): Promise<boolean> {
    await createSchema(client, 'spending');
    const { rows } = await client.query<{ loaded: boolean }>(
      'select exists (select from spending.transactions) as loaded',
    );
    if (rows[0]?.loaded ?? false) return false;
    const { seed, startAt = new Date() } = this.#options;
    const { text, values } = insert(initialRows(new Random(seed, 22), startAt.getTime() * 1000));
    await client.query(text, [...values]);
    // The planner's row counts are what progress is reckoned from, and autovacuum may take a minute.
    await client.query('analyze spending.transactions');
    return true;
  }

  async begin(client: pg.ClientBase): Promise<void> {
    const { rows } = await client.query<{ id: string; customer: string; amount: string }>(
      `select transaction_id::text as id, customer_id::text as customer, transaction_amount::text as amount
       from spending.transactions order by transaction_id desc limit $1`,
      [REMEMBERED],
    );
    const last = await client.query<{ customer: string }>(
      'select coalesce(max(customer_id), 0)::text as customer from spending.transactions',
    );
    this.#known = {
      nextId: Number(rows[0]?.id ?? 0) + 1,
      customers: Number(last.rows[0]?.customer ?? 0),
      transactions: rows
        .map(({ id, customer, amount }) => ({ id: Number(id), customerId: Number(customer), amount }))
        .reverse(),
    };
  }

  next(at: number): Operation {
    if (this.#known === null) throw new Error('the generator has not begun');
    const planned = nextOperation(this.#known, this.#random, at);
    return { kind: planned.kind, run: (client) => runOperation(client, planned) };
  }
}

export function createGenerator(options: GeneratorOptions): SpendingGenerator {
  return new SpendingGenerator(options);
}

/** Two years of it, in the order of their dates; some declined, some taken back a few days later. */
function initialRows(random: Random, until: Micros): TransactionRow[] {
  const made: { at: Micros; customer: number; amount: string }[] = [];
  for (let customer = 1; customer <= CUSTOMERS; customer++) {
    const level = spendRate(random);
    for (const at of purchasesOf(until - Math.round(random.next() * DAYS * DAY), until, random))
      made.push({ at: Math.min(inTheDay(at, random), until), customer, amount: spend(level, random) });
  }
  made.sort((one, other) => one.at - other.at);
  const rows: TransactionRow[] = [];
  for (const { at, customer, amount } of made) {
    const isBack = random.chance(0.03);
    const id = rows.length + 1;
    const status = isBack
      ? 'reversed'
      : random.chance(0.05)
        ? 'declined'
        : at > until - DAY
          ? 'pending'
          : 'approved';
    const row = {
      customer_id: customer,
      transaction_date: formatInstant(at),
      transaction_amount: amount,
      product_category: category(random),
      transaction_type: 'purchase',
      reverses: null,
      last_modified: formatInstant(at),
    };
    rows.push({ transaction_id: id, ...row, status });
    // One in twenty has lost its reversal.
    if (!isBack || random.chance(0.05)) continue;
    const backAt = formatInstant(Math.min(at + Math.round(random.between(1, 240) * HOUR), until));
    rows.push({
      ...row,
      transaction_id: id + 1,
      transaction_date: backAt,
      transaction_amount: `-${amount}`,
      transaction_type: 'reversal',
      status: 'approved',
      reverses: id,
      last_modified: backAt,
    });
  }
  return rows;
}
