import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { parseLsn } from '../../src/pipeline/lsn.js';

/** Merchants between which money moves; their sum never changes. */
const MERCHANTS = ['1', '2', '3', '4', '5'];
/** Each transaction gives this one a payment. */
const COUNTED = '6';
const PAYMENTS = 500;

export const MOVING_FILL = `
  insert into merchants (merchant_id, name) select i, 'Merchant ' || i from generate_series(1, 6) i;
  insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
    select i, 1 + i % 5, i % 100, 10.00, 'Visa', 'Paid', now() - i * interval '1 minute'
      from generate_series(1, ${PAYMENTS}) i;`;

interface Entry {
  readonly total: { readonly count: number; readonly amount: string };
}

/** What a reader saw, over all answers so far. */
export interface Seen {
  answers: number;
  refusals: number;
  /** Answers that nobody gave: the instance was not there. */
  unreachable: number;
  readonly wrong: string[];
  newestLsn: bigint;
}

/**
 * One transaction after the other moves payments between merchants and adds one that is counted, so that an answer at a position can be
 * checked without stopping: the moved sum is always the same, and the count is that of the transactions committed before it.
 */
export class MovingPayments {
  readonly #client: pg.Client;
  /** Where the WAL ended after each transaction; the first is before any. */
  readonly #ends: bigint[] = [];
  #going = true;
  /** Transactions of earlier runs over the same tables. */
  #before = 0;
  #done: Promise<void> = Promise.resolve();
  readonly #readers: Promise<void>[] = [];

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  static async begin(url: string): Promise<MovingPayments> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const moving = new MovingPayments(client);
    const { rows } = await client.query<{ n: number }>(
      `select count(*)::int4 as n from payments where merchant_id = ${COUNTED}`,
    );
    moving.#before = rows[0]!.n;
    moving.#ends.push(await moving.#lsn());
    moving.#done = moving.#move();
    return moving;
  }

  /** Asks one instance again and again until `stop`. */
  watch(url: () => string): Seen {
    const seen: Seen = { answers: 0, refusals: 0, unreachable: 0, wrong: [], newestLsn: 0n };
    this.#readers.push(this.#read(url, seen));
    return seen;
  }

  async stop(): Promise<void> {
    this.#going = false;
    await this.#done;
    await Promise.all(this.#readers);
    await this.#client.end();
  }

  async #move(): Promise<void> {
    while (this.#going) {
      const n = this.#before + this.#ends.length;
      const [a, b] = [1 + (n % PAYMENTS), 1 + ((n * 7 + 3) % PAYMENTS)];
      await this.#client.query(`begin;
        update payments set merchant_id = 1 + (merchant_id % 5) where payment_id = ${a} and merchant_id <= 5;
        ${a === b ? '' : `update payments set amount = amount + case payment_id when ${a} then 0.25 else -0.25 end where payment_id in (${a}, ${b});`}
        delete from payments where payment_id = ${200_000 + n - 5};
        insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
          values (${100_000 + n}, ${COUNTED}, 1, 1.00, 'Check', 'Paid', now() - interval '1 hour'),
                 (${200_000 + n}, 7, 1, 1.00, 'Check', 'Paid', now() - interval '1 hour');
        commit`);
      this.#ends.push(await this.#lsn());
      await sleep(10);
    }
  }

  async #read(url: () => string, seen: Seen): Promise<void> {
    while (this.#going) {
      const answer = await fetch(`${url()}/v1/merchants/risk`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ merchant_ids: [...MERCHANTS, COUNTED] }),
        signal: AbortSignal.timeout(5_000),
      }).catch(() => null);
      if (answer === null) seen.unreachable += 1;
      else if (answer.status !== 200) {
        seen.refusals += 1;
        if (answer.status !== 503) seen.wrong.push(`${answer.status} ${await answer.text()}`);
        else await answer.body?.cancel();
      } else this.#judge((await answer.json()) as never, seen);
      await sleep(answer?.status === 200 ? 25 : 50);
    }
  }

  #judge(document: { merchants: Entry[]; as_of: { lsn: string } }, seen: Seen): void {
    seen.answers += 1;
    const at = parseLsn(document.as_of.lsn)!;
    const wrong = (what: string): void => void seen.wrong.push(`at ${document.as_of.lsn}: ${what}`);
    const totals = document.merchants.map(({ total }) => total);
    const counted = totals.pop()!.count - this.#before;
    const count = totals.reduce((sum, total) => sum + total.count, 0);
    const cents = totals.reduce((sum, total) => sum + BigInt(total.amount.replace('.', '')), 0n);
    if (count !== PAYMENTS) wrong(`${count} payments are moved about instead of ${PAYMENTS}`);
    if (cents !== BigInt(PAYMENTS) * 1000n) wrong(`they are worth ${cents} cents`);
    // Transaction i is between the ends of i - 1 and i, so it is certainly before `at` once that is the latter.
    const least = this.#ends.findLastIndex((end) => end <= at);
    const most = this.#ends.findIndex((end) => end >= at);
    if (counted < least || (most >= 0 && counted > most))
      wrong(`${counted} transactions, where ${least} to ${most} were committed`);
    if (at < seen.newestLsn) wrong('the position went back');
    seen.newestLsn = at;
  }

  async #lsn(): Promise<bigint> {
    const { rows } = await this.#client.query<{ lsn: string }>(
      'select pg_current_wal_insert_lsn()::text as lsn',
    );
    return parseLsn(rows[0]!.lsn)!;
  }
}
