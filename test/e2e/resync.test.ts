import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Failpoint } from '../../src/pipeline/failpoint.js';
import { type Decoder, Scenario } from '../support/scenario.js';

const SCHEMA = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');
const MERCHANTS = [1n, 2n, 3n, 4n, 5n];
const FILL = `
  insert into merchants (merchant_id, name, address, phone, email, ingestion_date)
    select i, 'Merchant ' || i, 'Street ' || i, '+1 ' || i, i || '@example.org', now() from generate_series(1, 5) i;
  insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date, ingestion_date)
    select i, 1 + i % 5, i % 100, (i % 1000) / 10.0 + 0.01, 'Visa', 'Pending', now() - i * interval '2 minutes', now()
    from generate_series(1, 5000) i;`;

/** Changes of every kind, in a transaction of their own each. */
const change = (i: number): string => `
  insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date, ingestion_date)
    values (100000 + ${i}, 1 + ${i} % 5, ${i}, ${i} + 0.25, 'Check', 'Pending', now() - ${i} * interval '1 hour', now());
  update payments set merchant_id = 1 + (merchant_id + 1) % 5, amount = amount + 0.01 where payment_id = 1000 + ${i};
  update payments set payment_date = payment_date - interval '6 days', status = 'Rejected' where payment_id = 2000 + ${i};
  delete from payments where payment_id = 3000 + ${i};
  update merchants set name = 'Merchant of ' || ${i} where merchant_id = 1 + ${i} % 5;`;

/** Keeps writing until it is told to stop; what one has written the next goes on from. */
class Writer {
  static #next = 1;
  #going = true;
  readonly #done: Promise<void>;

  constructor(scenario: Scenario) {
    this.#done = (async () => {
      for (let left = 900; this.#going && left > 0; left -= 1) {
        await scenario.sql(change(Writer.#next++));
        await sleep(60);
      }
    })();
  }

  async stop(): Promise<void> {
    this.#going = false;
    await this.#done;
  }
}

async function open(decoder: Decoder): Promise<Scenario> {
  const opened = await Scenario.open('resync', {
    schema: SCHEMA,
    tables: {
      'public.merchants': {},
      'public.payments': { retention: { column: 'payment_date', keep: '2 years' } },
    },
    marts: ['payments'],
    decoder,
  });
  await opened.sql(FILL);
  return opened;
}

async function resync(of: Scenario, table: string): Promise<void> {
  const order = () => fetch(`${of.walhouse.url}/v1/tables/${table}/resync`, { method: 'POST' });
  // Where the last run has stored everything, a new one answers before it may write, and takes no orders until then.
  await expect
    .poll(async () => (await order()).status, { timeout: 20_000, interval: 100 })
    .toSatisfy((status: number) => {
      if (status !== 503) expect(status).toBe(202);
      return status === 202;
    });
}

async function until(what: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (performance.now() < deadline) {
    if (await what()) return;
    await sleep(20);
  }
  throw new Error('it did not come to pass');
}

const decoders: Decoder[] = ['pgoutput', 'wal2json'];

describe.each(decoders)('a resync with %s', (decoder) => {
  let scenario: Scenario | null = null;
  beforeAll(async () => {
    if (decoder === 'wal2json' && !inject('servers').hasWal2json) return;
    scenario = await open(decoder);
    await scenario.walhouse.start();
    await scenario.applied();
  });
  afterAll(() => scenario?.close());

  it('mends a table and its mart while everything goes on, and readers never see less', async (context) => {
    if (scenario === null) return context.skip();
    const { walhouse, databases } = scenario;
    // Somebody has changed by hand what is stored.
    const landing = `${databases.clickhouseDatabase}_landing.payments`;
    await databases.clickhouse(`delete from ${landing} where payment_id between 100 and 200`);
    await databases.clickhouse(
      `delete from ${databases.clickhouseDatabase}.payments_7d where payment_id between 100 and 200`,
    );
    const writer = new Writer(scenario);
    await resync(scenario, 'public.payments');
    let fewest = Number.POSITIVE_INFINITY;
    const states = new Set<string>();
    await until(async () => {
      const [row] = await databases.clickhouse<{ n: string }>(
        `select toString(count()) as n from ${databases.clickhouseDatabase}.payments`,
      );
      fewest = Math.min(fewest, Number(row!.n));
      const state = (await walhouse.status()).tables['public.payments']!.state;
      states.add(state);
      const risk = await fetch(`${walhouse.url}/v1/merchants/1/risk`);
      expect(risk.status).toBe(200);
      return state === 'streaming' && states.has('resyncing');
    });
    await writer.stop();
    expect(fewest).toBeGreaterThan(4000);
    await scenario.expectEqual();
    await scenario.expectRiskEqual(MERCHANTS);
    const left = await databases.clickhouse(
      `select name from system.tables where database = '${databases.clickhouseDatabase}_landing' and name like '_walhouse_next%'`,
    );
    expect(left).toEqual([]);
  });

  // What differs between the decoders is over before the switch begins.
  const points: Failpoint[] =
    decoder === 'pgoutput'
      ? ['stage_opened', 'mid_snapshot', 'stage_filled', 'before_switch', 'between_switches', 'after_switch']
      : [];
  it.for(points)('killed at %s, is done by the next run', async (name, context) => {
    if (scenario === null) return context.skip();
    const { walhouse, databases } = scenario;
    expect(await walhouse.stop()).toBe(0);
    await walhouse.start({ WALHOUSE_FAILPOINT: name });
    await scenario.applied();
    await databases.clickhouse(
      `delete from ${databases.clickhouseDatabase}_landing.payments where payment_id between 100 and 200`,
    );
    const writer = new Writer(scenario);
    const ended = walhouse.ended();
    await resync(scenario, 'public.payments');
    expect(await ended).toBe('SIGKILL');
    await walhouse.start();
    await scenario.applied();
    await until(async () => (await walhouse.status()).tables['public.payments']!.state === 'streaming');
    await writer.stop();
    await scenario.expectEqual();
    await scenario.expectRiskEqual(MERCHANTS);
  });
});
