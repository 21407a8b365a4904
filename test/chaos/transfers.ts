import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Random } from '../../src/dev/random.js';
import { lsnFrom, type Lsn } from '../../src/pipeline/lsn.js';
import { isPassing, type World } from './world.js';

/** Merchants whose payments no other traffic touches, and one whose only payment's amount counts transactions. */
export const POOL_MERCHANTS = Array.from({ length: 8 }, (_, index) => 900_001 + index);
export const COUNTER_MERCHANT = 900_009;
const PAYMENTS = 200;
const OLD_PAYMENTS = 50;
const COUNTER = -5_000;
/** Marks and the counter are written by nobody else, so the newest this many are all that answers can be about. */
const KEPT_MAX = 20_000;

/** What every transaction leaves as it is, over all pool merchants together. */
export interface PoolSums {
  readonly count: number;
  readonly rejected: number;
  readonly amount: string;
}

interface Mark {
  /** The commit starts at or after this position. */
  readonly before: Lsn;
  /** The commit starts before this position; null while nobody knows whether it happened. */
  after: Lsn | null;
}

/**
 * Transactions that move payments, amounts, dates and keys about within a pool of merchants, in several statements each, and never change
 * what they have together. Each counts itself: so an answer can be told right or wrong by the position it states.
 */
export class Transfers {
  readonly startAt: Date;
  /** The end of a window that has the old payments alone in it. */
  readonly oldAt: Date;
  #sums: Readonly<Record<'new' | 'old', PoolSums>> | null = null;
  readonly #world: World;
  readonly #random: Random;
  readonly #marks = new Map<number, Mark>();
  #n = 0;
  #client: pg.Client | null = null;

  constructor(world: World, seed: number) {
    this.#world = world;
    this.#random = new Random(seed, 21);
    this.startAt = new Date(Date.now() - 60_000);
    this.oldAt = new Date(this.startAt.getTime() - 30 * 86_400_000);
  }

  /** How many transactions are known to be committed. */
  get n(): number {
    return this.#n;
  }

  sums(which: 'new' | 'old'): PoolSums {
    return this.#sums![which];
  }

  /** The mark of a transaction that is known to be committed. */
  afterOf(n: number): Lsn | null {
    return this.#marks.get(n)?.after ?? null;
  }

  async load(): Promise<void> {
    const at = this.startAt.toISOString();
    await this.#world.withPostgres(async (client) => {
      await client.query(`
        insert into merchants (merchant_id, name, ingestion_date)
          select i, 'Pool ' || i, now() from generate_series(${POOL_MERCHANTS[0]}, ${COUNTER_MERCHANT}) i;
        insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
          select -i, ${POOL_MERCHANTS[0]} + i % 8, i, 1000 + i / 100.0, 'Visa', case when i % 5 = 0 then 'Rejected' else 'Paid' end,
                 timestamptz '${at}' - interval '2 hours' - i * interval '30 minutes' from generate_series(1, ${PAYMENTS}) i;
        insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
          select -10000 - i, ${POOL_MERCHANTS[0]} + i % 8, i, 500 + i / 100.0, 'Check', case when i % 5 = 0 then 'Rejected' else 'Paid' end,
                 timestamptz '${at}' - interval '32 days' - i * interval '30 minutes' from generate_series(1, ${OLD_PAYMENTS}) i;
        insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
          values (${COUNTER}, ${COUNTER_MERCHANT}, 0, 0, 'Count', 'Paid', timestamptz '${at}' - interval '2 hours')`);
      const { rows } = await client.query<PoolSums & { old: boolean }>(
        `select payment_id <= -10000 as old, count(*)::int as count, count(*) filter (where status = 'Rejected')::int as rejected,
                sum(amount)::text as amount from payments where payment_id < 0 and payment_id <> ${COUNTER} group by 1`,
      );
      const of = (old: boolean): PoolSums => {
        const { count, rejected, amount } = rows.find((row) => row.old === old)!;
        return { count, rejected, amount };
      };
      this.#sums = { new: of(false), old: of(true) };
    });
  }

  /** One transaction; nothing while Postgres is away. */
  async step(): Promise<void> {
    const n = this.#n + 1;
    let before: Lsn = 0n;
    try {
      const client = (this.#client ??= await this.#connect());
      await client.query('begin');
      const statements = 1 + this.#random.below(4);
      for (let i = 0; i < statements; i += 1) await client.query(this.#statement());
      await client.query(`update payments set amount = ${n} / 100.0 where payment_id = ${COUNTER}`);
      await client.query(`update marks set n = ${n} where id = 1`);
      if (this.#random.chance(0.05)) {
        await client.query('rollback');
        return;
      }
      before = await positionOf(client);
      this.#marks.set(n, { before, after: null });
      await client.query('commit');
      await this.#committed(client, n);
    } catch (error) {
      if (!isPassing(error)) throw error;
      await this.#find(n);
    }
  }

  async close(): Promise<void> {
    await this.#client?.end().catch(() => undefined);
    this.#client = null;
  }

  /**
   * Why an answer that counts `n` transactions cannot be what was at `lsn`; null where it can. Sound whatever was going on: a commit starts
   * at or after the position seen before it and before the one seen after it.
   */
  whyWrong(n: number, lsn: Lsn): string | null {
    const mine = this.#marks.get(n);
    if (n > 0 && mine === undefined) return n > this.#n + 1 ? `transaction ${n} was never made` : null;
    if (mine !== undefined && lsn <= mine.before)
      return `transaction ${n} was committed at or after ${String(mine.before)}, the answer states ${String(lsn)}`;
    const next = this.#marks.get(n + 1)?.after ?? null;
    if (next !== null && lsn >= next)
      return `transaction ${n + 1} was committed before ${String(next)}, the answer states ${String(lsn)} without it`;
    return null;
  }

  /** Whether the transaction whose answer was lost has happened. */
  async #find(n: number): Promise<void> {
    await this.close();
    for (;;) {
      try {
        const client = (this.#client = await this.#connect());
        const { rows } = await client.query<{ n: string }>('select n::text from marks where id = 1');
        if (Number(rows[0]!.n) === n) await this.#committed(client, n);
        else this.#marks.delete(n);
        return;
      } catch (error) {
        if (!isPassing(error)) throw error;
        await this.close();
        await sleep(100);
      }
    }
  }

  async #committed(client: pg.Client, n: number): Promise<void> {
    this.#n = n;
    const after = await positionOf(client);
    this.#marks.get(n)!.after = after;
    this.#marks.delete(n - KEPT_MAX);
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client({
      connectionString: this.#world.postgres.url,
      application_name: 'chaos transfers',
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** A statement, or several that belong together. */
  #statement(): string {
    const random = this.#random;
    const merchant = random.pick(POOL_MERCHANTS);
    const old = random.chance(0.15);
    const [first, last] = old ? [-10_000 - OLD_PAYMENTS, -10_001] : [-2_000, -1];
    const some = (limit: number): string =>
      `(select payment_id from payments where payment_id between ${first} and ${last} order by random() limit ${limit})`;
    switch (random.below(6)) {
      case 0:
        return `update payments set merchant_id = ${merchant} where payment_id in ${some(1 + random.below(5))}`;
      case 1:
        return `update payments p set amount = amount + case when two.place = 1 then 1.25 else -1.25 end
          from (select payment_id, row_number() over () as place from ${some(2)} chosen) two where p.payment_id = two.payment_id`;
      case 2:
        return `update payments set status = case status when 'Rejected' then 'Paid' else 'Rejected' end where payment_id in (
          (select payment_id from payments where payment_id between ${first} and ${last} and status = 'Rejected' order by random() limit 1),
          (select payment_id from payments where payment_id between ${first} and ${last} and status = 'Paid' order by random() limit 1))`;
      case 3:
        // Within the window of every question that is asked.
        return `update payments set payment_date = timestamptz '${(old ? this.oldAt : this.startAt).toISOString()}'
          - interval '2 hours' - random() * interval '5 days' where payment_id in ${some(2)}`;
      case 4:
        // The same rows, deleted and made again.
        return `create temp table held on commit drop as
            select * from payments where payment_id between ${first} and ${last} order by random() limit 2;
          delete from payments where payment_id in (select payment_id from held);
          insert into payments select * from held;
          drop table held`;
      default:
        if (old) return `update payments set customer_id = customer_id + 1 where payment_id in ${some(3)}`;
        return `update payments set payment_id = payment_id + case when payment_id < -1000 then 1000 else -1000 end
          where payment_id in ${some(2)}`;
    }
  }
}

async function positionOf(client: pg.Client): Promise<Lsn> {
  const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  return lsnFrom(rows[0]!.lsn);
}
