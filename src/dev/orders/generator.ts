import type pg from 'pg';
import { createSchema, type GeneratorOptions } from '../generators.js';
import type { Micros } from '../instant.js';
import { Random } from '../random.js';
import type { Generator, Operation } from '../traffic.js';
import { readBook, type Book } from './book.js';
import { insertInitialData } from './initial.js';
import { nextOperation } from './operations.js';

/** Orders on their way: placed, accepted, delivered; with wrong clocks, second attempts and things taken back. */
export class OrdersGenerator implements Generator {
  readonly #options: GeneratorOptions;
  readonly #random: Random;
  #book: Book | null = null;

  constructor(options: GeneratorOptions) {
    this.#options = options;
    this.#random = new Random(options.seed, 1);
  }

  async load(client: pg.ClientBase): Promise<boolean> {
    await createSchema(client, 'orders');
    const { rows } = await client.query<{ loaded: boolean }>(
      'select exists (select from orders.order_activity) as loaded',
    );
    if (rows[0]?.loaded === true) return false;
    const { seed, startAt = new Date() } = this.#options;
    await insertInitialData(client, seed, startAt.getTime() * 1000);
    return true;
  }

  async begin(client: pg.ClientBase): Promise<void> {
    this.#book = await readBook(client);
  }

  next(at: Micros): Operation {
    if (this.#book === null) throw new Error('the generator has not begun');
    return nextOperation(this.#book, this.#random, at);
  }
}

export function createGenerator(options: GeneratorOptions): OrdersGenerator {
  return new OrdersGenerator(options);
}
