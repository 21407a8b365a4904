import { readFileSync } from 'node:fs';
import { inject } from 'vitest';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { MOVING_FILL, MovingPayments } from '../support/moving-payments.js';
import { Proxy } from '../support/proxy.js';
import { Scenario } from '../support/scenario.js';
import { Walhouse } from '../support/walhouse.js';

const SCHEMA = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');
const MERCHANTS = [1n, 2n, 3n, 4n, 5n, 6n];
const COMES = { timeout: 30_000, interval: 20 };

/** What an instance that only reads says, beside one that streams. */
describe('run --api-only', () => {
  let scenario: Scenario;
  let postgres: Proxy;
  let clickhouse: Proxy;
  let reader: Walhouse;
  let moving: MovingPayments | null = null;

  beforeAll(async () => {
    postgres = await Proxy.before(inject('servers').postgres);
    clickhouse = await Proxy.before(inject('servers').clickhouse);
    scenario = await Scenario.open('api_only', {
      schema: SCHEMA,
      tables: {
        'public.merchants': {},
        'public.payments': { retention: { column: 'payment_date', keep: '2 years' } },
      },
      marts: ['payments'],
      decoder: 'pgoutput',
    });
    await scenario.sql(MOVING_FILL);
    const { options } = scenario.walhouse;
    reader = new Walhouse({
      ...options,
      postgresUrl: postgres.through(options.postgresUrl),
      clickhouseUrl: clickhouse.through(options.clickhouseUrl),
    });
  });
  afterEach(() => {
    postgres.become('clear');
    clickhouse.become('clear');
    clickhouse.delay(0);
  });
  afterAll(async () => {
    await moving?.stop();
    await reader?.close();
    await scenario?.close();
    await postgres?.close();
    await clickhouse?.close();
  });

  const lsn = async (): Promise<string> => {
    const rows = await scenario.databases.postgres<{ lsn: string }>(
      'select pg_current_wal_insert_lsn()::text as lsn',
    );
    return rows[0]!.lsn;
  };
  const risk = async (query = ''): Promise<{ status: number; document: Record<string, unknown> }> => {
    const answer = await fetch(`${reader.url}/v1/merchants/1/risk${query}`);
    return { status: answer.status, document: (await answer.json()) as Record<string, unknown> };
  };
  const tableState = async (): Promise<string> => (await reader.status()).tables['public.payments']!.state;

  it('answers 503 before anything is stored, and makes nothing on either side', async () => {
    await reader.start({}, ['--api-only']);
    await expect.poll(() => reader.status().then(({ state }) => state, String), COMES).toBe('api_only');
    expect(await reader.status()).toMatchObject({
      applied_lsn: null,
      confirmed_lsn: null,
      lag_bytes: null,
      lag_ms: null,
      writer: null,
    });
    expect(await risk()).toMatchObject({ status: 503, document: { kind: 'snapshotting' } });
    expect((await fetch(`${reader.url}/readyz`)).status).toBe(503);
    expect(
      await scenario.databases.clickhouse(
        `select name from system.databases where startsWith(name, '${scenario.databases.clickhouseDatabase}')`,
      ),
    ).toEqual([]);
    expect(
      await scenario.sql(
        `select slot_name from pg_replication_slots where slot_name = '${scenario.databases.name}'`,
      ),
    ).toEqual([]);
  });

  it('answers 503 while the snapshot of payments fills, then the truth', async () => {
    const { walhouse } = scenario;
    await walhouse.start({ WALHOUSE_FAILPOINT: 'between_snapshots:1:stop' });
    // One of the two tables is complete; the other is not.
    await expect
      .poll(async () => Object.values((await reader.status()).tables).map(({ state }) => state), COMES)
      .toContain('streaming');
    expect(await risk()).toMatchObject({ status: 503, document: { kind: 'snapshotting' } });
    await expect.poll(() => walhouse.stateInKernel(), COMES).toBe('T');
    walhouse.signal('SIGCONT');
    await reader.applied(await lsn());
    expect((await risk()).status).toBe(200);
    await expect.poll(tableState, COMES).toBe('streaming');
  });

  it('states the position that is stored, with the age of what is known, and waits for a later one', async () => {
    const took: number[] = [];
    for (let i = 1; i <= 20; i += 1) {
      await scenario.sql(`insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
        values (${90_000 + i}, 1, 1, 1.00, 'Visa', 'Paid', now())`);
      const from = performance.now();
      const { status, document } = await risk(`?min_lsn=${await lsn()}&wait_ms=10000`);
      took.push(Math.round(performance.now() - from));
      expect(status).toBe(200);
      expect(document['as_of']).toMatchObject({ lag_ms: expect.any(Number) as number });
    }
    took.sort((a, b) => a - b);
    process.stdout.write(
      `from a commit to its answer by a reading instance: median ${took[10]} ms, longest ${took[19]} ms\n`,
    );
    const replication = await reader.status();
    expect(replication).toMatchObject({ state: 'api_only', error: null, confirmed_lsn: null });
    expect(replication.writer).toContain(scenario.walhouse.url);
    // What is known is as old as the last look at the source, the next save and the next reading of it.
    await expect.poll(async () => (await reader.status()).lag_ms, COMES).toBeLessThan(3_000);
    expect(await risk('?max_lag_ms=0')).toMatchObject({ status: 503, document: { kind: 'lag_too_high' } });
    expect(await risk(`?min_lsn=FFFFFF/0&wait_ms=10`)).toMatchObject({
      status: 503,
      document: { kind: 'position_not_applied' },
    });
    // A window that only the writer can answer exactly.
    expect(await risk('?at=2026-09-01T00:00:00Z')).toMatchObject({
      status: 503,
      document: {
        kind: 'window_needs_writer',
        fix: expect.stringContaining(scenario.walhouse.url) as string,
      },
    });
    await scenario.sql(`delete from payments where payment_id between 90001 and 90020`);
  });

  it('equals SQL on Postgres', async () => {
    const minLsn = await lsn();
    await reader.applied(minLsn);
    const one = scenario.as(reader);
    await one.expectRiskEqual(MERCHANTS);
    await one.expectEqual();
  });

  it('sends orders to the instance that takes them', async () => {
    for (const path of ['/v1/pause', '/v1/resume', '/v1/resync', '/v1/tables/public.payments/resync']) {
      const answer = await fetch(`${reader.url}${path}`, { method: 'POST' });
      expect([path, answer.status]).toEqual([path, 409]);
      expect(await answer.json()).toMatchObject({
        kind: 'not_the_writer',
        writer: expect.stringContaining(scenario.walhouse.url) as string,
        fix: expect.stringContaining(scenario.walhouse.url) as string,
      });
    }
  });

  it('shows no wrong number while tables are replaced, the writer dies and comes back, and networks fail', async () => {
    const { walhouse } = scenario;
    moving = await MovingPayments.begin(scenario.databases.postgresUrl);
    const seen = moving.watch(() => reader.url);
    await expect.poll(() => seen.answers, COMES).toBeGreaterThan(20);
    // What it knows is old, and what it asks arrives late: at a position before that of the new copy.
    clickhouse.delay(500);
    for (const table of ['public.payments', 'public.merchants']) {
      expect((await fetch(`${walhouse.url}/v1/tables/${table}/resync`, { method: 'POST' })).status).toBe(202);
      await expect.poll(async () => (await walhouse.status()).tables[table]!.state, COMES).toBe('resyncing');
      await expect.poll(async () => (await walhouse.status()).tables[table]!.state, COMES).toBe('streaming');
    }
    clickhouse.delay(0);
    await walhouse.kill();
    const deadAt = seen.newestLsn;
    const answers = seen.answers;
    await expect.poll(() => seen.answers, COMES).toBeGreaterThan(answers + 5);
    // It stands at what was stored, and says so.
    expect(seen.newestLsn - deadAt).toBeLessThan(1n << 32n);
    await expect.poll(async () => (await reader.status()).lag_ms, COMES).toBeGreaterThan(1_000);
    await walhouse.start();
    await reader.applied(await lsn());
    postgres.become('cut');
    await expect.poll(async () => (await reader.status()).source_lsn, COMES).toBeNull();
    expect((await reader.status()).lag_bytes).toBeNull();
    const without = seen.answers;
    await expect.poll(() => seen.answers, COMES).toBeGreaterThan(without + 5);
    postgres.become('clear');
    clickhouse.become('silent');
    await expect.poll(async () => (await risk()).status, COMES).toBe(503);
    clickhouse.become('clear');
    await expect.poll(async () => (await risk()).status, COMES).toBe(200);
    await expect.poll(async () => (await reader.status()).source_lsn, COMES).not.toBeNull();
    await moving.stop();
    moving = null;
    expect(seen.wrong).toEqual([]);
    await scenario.as(reader).expectRiskEqual(MERCHANTS);
  });

  it('asks nobody for a mart that is being made anew', async () => {
    const { walhouse } = scenario;
    expect(await walhouse.stop()).toBe(0);
    // As an upgrade leaves it whose mart is made by other SQL.
    await scenario.databases.clickhouse(
      `insert into ${scenario.databases.clickhouseDatabase}_landing._walhouse_marts (name, hash, objects)
         select name, 'another', objects from ${scenario.databases.clickhouseDatabase}_landing._walhouse_marts final`,
    );
    moving = await MovingPayments.begin(scenario.databases.postgresUrl);
    const seen = moving.watch(() => reader.url);
    await walhouse.start();
    await expect.poll(() => seen.refusals, COMES).toBeGreaterThan(2);
    await reader.applied(await lsn());
    await moving.stop();
    moving = null;
    expect(seen.wrong).toEqual([]);
    await scenario.as(reader).expectRiskEqual(MERCHANTS);
  });
});
