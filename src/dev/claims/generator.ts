import type pg from 'pg';

import { createSchema, type GeneratorOptions } from '../generators.js';
import { DAY } from '../instant.js';
import { Random } from '../random.js';
import type { Generator, Operation } from '../traffic.js';
import { type Case, generateCase, type NextIds, TABLES } from './case.js';
import { type Known, nextOperation } from './operations.js';
import { insert, runStatements } from './statements.js';

const CASES = 6_000;
/** Some of the first cases are past the ten years that are kept. */
const DAYS = 3_900;
/** Below them are treatments that there never were. */
const FIRST_ID = 10_001;
const REMEMBERED = 2_000;

/** Believable life on the claims domain, with the mistakes that its data is known for. */
export class ClaimsGenerator implements Generator {
  readonly #options: GeneratorOptions;
  readonly #random: Random;
  #known: Known | null = null;

  constructor(options: GeneratorOptions) {
    this.#options = options;
    this.#random = new Random(options.seed, 11);
  }

  async load(client: pg.ClientBase): Promise<boolean> {
    await createSchema(client, 'claims');
    const { rows } = await client.query<{ loaded: boolean }>(
      'select exists (select from claims.treatments) or exists (select from claims.claims) as loaded',
    );
    if (rows[0]?.loaded ?? false) return false;
    const initial = this.#initial();
    await client.query('begin');
    try {
      for (const table of TABLES) {
        const statement = insert(
          table,
          initial.flatMap((one) => one[table]),
        );
        await client.query(statement.text, [...statement.values]);
      }
      await client.query('commit');
    } catch (error) {
      await client.query('rollback').catch(() => undefined);
      throw error;
    }
    // The planner's row counts are what progress is reckoned from, and autovacuum may take a minute.
    await client.query(`analyze ${TABLES.map((table) => `claims.${table}`).join(', ')}`);
    return true;
  }

  async begin(client: pg.ClientBase): Promise<void> {
    this.#known = await readKnown(client);
  }

  next(at: number): Operation {
    if (this.#known === null) throw new Error('the generator has not begun');
    const { kind, statements, commit } = nextOperation(this.#known, this.#random, at);
    return { kind, run: (client) => runStatements(client, statements, commit) };
  }

  #initial(): Case[] {
    const { seed, startAt = new Date() } = this.#options;
    const random = new Random(seed, 12);
    const until = startAt.getTime() * 1000;
    const ids: NextIds = { treatment: FIRST_ID, invoice: FIRST_ID, item: FIRST_ID, claim: FIRST_ID };
    // More of them the later it is, as with any program that grows.
    return Array.from({ length: CASES }, (_, index) => {
      const age = DAYS * (1 - Math.sqrt((index + random.next()) / CASES));
      return generateCase(ids, until - Math.round(age * DAY), until, random);
    });
  }
}

export function createGenerator(options: GeneratorOptions): ClaimsGenerator {
  return new ClaimsGenerator(options);
}

async function readKnown(client: pg.ClientBase): Promise<Known> {
  const last = await client.query<Record<keyof NextIds, string>>(
    `select (select coalesce(max(id), 0) + 1 from claims.treatments)::text as treatment,
            (select coalesce(max(id), 0) + 1 from claims.invoices)::text as invoice,
            (select coalesce(max(id), 0) + 1 from claims.invoice_items)::text as item,
            (select coalesce(max(id), 0) + 1 from claims.claims)::text as claim`,
  );
  const ids = async (table: string): Promise<number[]> => {
    const { rows } = await client.query<{ id: string }>(
      `select id::text as id from claims.${table} order by id desc limit $1`,
      [REMEMBERED],
    );
    return rows.map(({ id }) => Number(id)).reverse();
  };
  const claims = await client.query<{ id: string; treatment: string }>(
    `select id::text as id, treatment_id::text as treatment from claims.claims
     where treatment_id is not null order by id desc limit $1`,
    [REMEMBERED],
  );
  const [first] = last.rows;
  return {
    ids: {
      treatment: Math.max(Number(first?.treatment ?? 1), FIRST_ID),
      invoice: Number(first?.invoice ?? 1),
      item: Number(first?.item ?? 1),
      claim: Number(first?.claim ?? 1),
    },
    claims: claims.rows
      .map(({ id, treatment }) => ({ id: Number(id), treatmentId: Number(treatment) }))
      .reverse(),
    invoices: await ids('invoices'),
    items: await ids('invoice_items'),
  };
}
