import type pg from 'pg';
import { createSchema, type GeneratorOptions } from '../generators.js';
import type { Micros } from '../instant.js';
import { Random } from '../random.js';
import type { Generator, Operation } from '../traffic.js';
import { dayOf } from './day.js';
import { insertInitialData, readLedger } from './initial.js';
import type { Ledger } from './ledger.js';
import { nextOperation } from './operations.js';

export interface ReceivablesOptions extends GeneratorOptions {
  /** Of the initial data. */
  readonly invoices?: number;
}

const INVOICES = 4_000;

/** A supplier's invoices: issued, corrected, paid early and late, some never. */
export class ReceivablesGenerator implements Generator {
  readonly #options: ReceivablesOptions;
  readonly #random: Random;
  #ledger: Ledger | null = null;

  constructor(options: ReceivablesOptions) {
    this.#options = options;
    this.#random = new Random(options.seed, 1);
  }

  async load(client: pg.ClientBase): Promise<boolean> {
    await createSchema(client, 'receivables');
    const { rows } = await client.query<{ loaded: boolean }>(
      'select exists (select from receivables.accounts) or exists (select from receivables.invoices) as loaded',
    );
    if (rows[0]?.loaded === true) return false;
    const { seed, startAt = new Date(), invoices = INVOICES } = this.#options;
    await insertInitialData(client, seed, dayOf(startAt.getTime() * 1000), invoices);
    return true;
  }

  async begin(client: pg.ClientBase): Promise<void> {
    this.#ledger = await readLedger(client, this.#options.seed);
    if (this.#ledger.accounts.length === 0)
      throw new Error('receivables.accounts is empty: load initial data first');
    if (this.#ledger.skus.length === 0) throw new Error('receivables.skus is empty: load initial data first');
  }

  next(at: Micros): Operation {
    if (this.#ledger === null) throw new Error('the generator has not begun');
    return nextOperation(this.#ledger, this.#random, at);
  }
}

export function createGenerator(options: ReceivablesOptions): ReceivablesGenerator {
  return new ReceivablesGenerator(options);
}
