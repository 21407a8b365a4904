import type pg from 'pg';

import { createSchema, type GeneratorOptions } from '../generators.js';
import type { Micros } from '../instant.js';
import { Random } from '../random.js';
import { asTransaction, type Generator, type Operation } from '../traffic.js';
import { Book } from './book.js';
import { initialTransactions } from './initial.js';
import { nextOperation, remember, type World } from './operations.js';
import { readKnown, readSize } from './read.js';
import { execute } from './statements.js';
import { TransactionGenerator } from './transaction-generator.js';

export { TransactionGenerator, type TransactionGeneratorOptions } from './transaction-generator.js';

export interface BankingSize {
  readonly consumers: number;
  readonly merchants: number;
  readonly banks: number;
  /** Initial ones. */
  readonly transactions: number;
}

export interface BankingOptions extends GeneratorOptions {
  readonly size?: BankingSize | undefined;
  /** Share of the transactions that have a fault. */
  readonly errorRate?: number | undefined;
}

const SIZE: BankingSize = { consumers: 400, merchants: 120, banks: 12, transactions: 12_000 };
const ERROR_RATE = 0.04;
/** Rows of one insert. */
const CHUNK_ROWS = 4_000;

/** Believable life on the banking domain: what banks report, and the corrections, cancellations and duplicates that follow. */
export class BankingGenerator implements Generator {
  readonly #options: BankingOptions;
  #world: World | null = null;

  constructor(options: BankingOptions) {
    this.#options = options;
  }

  async load(client: pg.ClientBase): Promise<boolean> {
    const { startAt = new Date(), size = SIZE, seed } = this.#options;
    await createSchema(client, 'banking');
    const { rows } = await client.query<{ loaded: boolean }>(
      `select exists (select from banking.consumers) or exists (select from banking.merchants)
           or exists (select from banking.banks) or exists (select from banking.transactions) as loaded`,
    );
    if (rows[0]?.loaded === true) return false;
    const transactions = this.#transactions(size, 1);
    const { consumers, merchants, banks } = transactions;
    const initial = initialTransactions(transactions, size.transactions, startAt.getTime() * 1000, seed);
    await asTransaction(client, true, [
      () => execute(client, { type: 'insert_consumers', consumers }),
      () => execute(client, { type: 'insert_merchants', merchants }),
      () => execute(client, { type: 'insert_banks', banks }),
      async () => {
        for (let from = 0; from < initial.length; from += CHUNK_ROWS)
          await execute(client, { type: 'insert', transactions: initial.slice(from, from + CHUNK_ROWS) });
        return initial.length;
      },
    ]);
    // The planner's row counts are what progress is reckoned from, and autovacuum may take a minute.
    await client.query('analyze banking.consumers, banking.merchants, banking.banks, banking.transactions');
    return true;
  }

  async begin(client: pg.ClientBase): Promise<void> {
    const { lastTransaction, ...size } = await readSize(client);
    if (Math.min(size.consumers, size.merchants, size.banks) === 0)
      throw new Error('banking has no consumers, merchants or banks: load initial data first');
    const book = new Book();
    for (const transaction of await readKnown(client)) book.add(transaction);
    const transactions = this.#transactions(size, lastTransaction + 1);
    this.#world = { transactions, book, random: new Random(this.#options.seed, 2) };
  }

  next(at: Micros): Operation {
    const world = this.#world;
    if (world === null) throw new Error('the generator has not begun');
    const operation = nextOperation(world, at);
    if (operation.commit) remember(world.book, operation);
    const { kind, commit, statements } = operation;
    return {
      kind,
      run: (client) =>
        asTransaction(
          client,
          commit,
          statements.map((statement) => () => execute(client, statement)),
        ),
    };
  }

  #transactions(size: Omit<BankingSize, 'transactions'>, firstId: number): TransactionGenerator {
    const { seed, startAt, errorRate = ERROR_RATE } = this.#options;
    const { consumers, merchants, banks } = size;
    // The traffic has a clock of its own, so the rate is nobody's concern here.
    return new TransactionGenerator({
      consumers,
      merchants,
      banks,
      rate: 1,
      seed,
      errorRate,
      startAt,
      firstId,
    });
  }
}

export function createGenerator(options: GeneratorOptions): BankingGenerator {
  return new BankingGenerator(options);
}
