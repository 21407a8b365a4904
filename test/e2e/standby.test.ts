import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MOVING_FILL, MovingPayments } from '../support/moving-payments.js';
import { Scenario } from '../support/scenario.js';
import { Walhouse } from '../support/walhouse.js';

const SCHEMA = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');
const MERCHANTS = [1n, 2n, 3n, 4n, 5n, 6n];
const COMES = { timeout: 30_000, interval: 20 };

describe('a second instance with the same configuration', () => {
  let scenario: Scenario;
  let second: Walhouse;
  let moving: MovingPayments | null = null;

  beforeAll(async () => {
    scenario = await Scenario.open('standby', {
      schema: SCHEMA,
      tables: {
        'public.merchants': {},
        'public.payments': { retention: { column: 'payment_date', keep: '2 years' }, history: true },
      },
      marts: ['payments'],
      decoder: 'pgoutput',
    });
    await scenario.sql(MOVING_FILL);
    second = new Walhouse(scenario.walhouse.options);
  });
  afterAll(async () => {
    await moving?.stop();
    await second?.close();
    await scenario?.close();
  });

  const stateOf = (walhouse: Walhouse): Promise<string> =>
    walhouse.status().then(({ state, error }) => (error === null ? state : `${state} ${error.kind}`), String);
  const lsn = async (): Promise<string> => {
    const rows = await scenario.databases.postgres<{ lsn: string }>(
      'select pg_current_wal_insert_lsn()::text as lsn',
    );
    return rows[0]!.lsn;
  };
  /** All that a standby must leave alone, on both sides. */
  const traces = async (): Promise<unknown> => {
    const database = scenario.databases.clickhouseDatabase;
    return [
      await scenario.sql(
        `select slot_name, active_pid from pg_replication_slots where database = current_database() order by 1`,
      ),
      await scenario.sql(`select pubname, puballtables from pg_publication order by 1`),
      await scenario.databases.clickhouse(
        // What was replaced is the other one's to remove.
        `select database, name, toString(uuid) as uuid from system.tables
          where startsWith(database, '${database}') and not startsWith(name, '_walhouse_gone_') order by 1, 2`,
      ),
      await scenario.databases.clickhouse(`select * from ${database}_landing._walhouse_owner order by epoch`),
    ];
  };

  it('waits while the first one is still at its snapshot, and makes it when that one dies', async () => {
    const { walhouse } = scenario;
    await walhouse.start({ WALHOUSE_FAILPOINT: 'mid_snapshot:1:stop' });
    await expect.poll(() => walhouse.stateInKernel(), COMES).toBe('T');
    await second.start();
    await expect.poll(() => stateOf(second), COMES).toBe('standby slot_in_use');
    const risk = await fetch(`${second.url}/v1/merchants/1/risk`);
    expect(risk.status).toBe(503);
    expect(await risk.json()).toMatchObject({ kind: 'snapshotting' });
    expect((await second.status()).tables['public.payments']!.state).not.toBe('streaming');
    await walhouse.kill();
    await second.applied(await lsn());
    expect(await stateOf(second)).toBe('streaming');
  });

  it('answers at the position that the first one has stored, and touches nothing', async () => {
    const { walhouse } = scenario;
    await walhouse.start();
    await expect.poll(() => stateOf(walhouse), COMES).toBe('standby slot_in_use');
    const before = await traces();
    // Through the standby: it waits for the position and compares there.
    await scenario.expectEqual();
    await scenario.expectRiskEqual(MERCHANTS);
    const status = await walhouse.status();
    expect(status.writer).toContain(second.url);
    expect(status.tables).toMatchObject({ 'public.payments': { state: 'streaming' } });
    // It has a look of its own now and then.
    await expect.poll(async () => (await walhouse.status()).source_lsn, COMES).not.toBeNull();
    expect((await fetch(`${walhouse.url}/readyz`)).status).toBe(200);
    expect(await traces()).toEqual(before);
  });

  it('sends orders to the instance that takes them', async () => {
    for (const path of ['/v1/pause', '/v1/resync', '/v1/tables/public.payments/resync']) {
      const answer = await fetch(`${scenario.walhouse.url}${path}`, { method: 'POST' });
      expect(answer.status).toBe(409);
      expect(await answer.json()).toMatchObject({
        kind: 'not_the_writer',
        fix: expect.stringContaining(second.url) as string,
      });
    }
  });

  it.each(['SIGKILL', 'SIGTERM'] as const)(
    'takes over within seconds of a %s, under load, and no reader sees a wrong number',
    async (signal) => {
      // In the first round the second one writes; then they have changed places.
      const [writer, standby] =
        signal === 'SIGKILL' ? [second, scenario.walhouse] : [scenario.walhouse, second];
      await expect.poll(() => stateOf(standby), COMES).toBe('standby slot_in_use');
      moving = await MovingPayments.begin(scenario.databases.postgresUrl);
      const ofWriter = moving.watch(() => writer.url);
      const ofStandby = moving.watch(() => standby.url);
      await expect.poll(() => Math.min(ofWriter.answers, ofStandby.answers), COMES).toBeGreaterThan(20);
      const committed = await lsn();
      writer.signal(signal);
      await writer.ended();
      const from = performance.now();
      await expect.poll(() => stateOf(standby), COMES).toBe('streaming');
      const ms = Math.round(performance.now() - from);
      await standby.applied(await lsn());
      process.stdout.write(`after ${signal} the standby streamed within ${ms} ms\n`);
      const until = ofStandby.answers + 20;
      await expect.poll(() => ofStandby.answers, COMES).toBeGreaterThan(until);
      await moving.stop();
      moving = null;
      expect(ofStandby.wrong).toEqual([]);
      expect(ofWriter.wrong).toEqual([]);
      expect(ofStandby.newestLsn).toBeGreaterThan(0n);
      expect(committed).not.toBe('');
      await writer.start();
      await scenario.expectEqual();
      await scenario.expectRiskEqual(MERCHANTS);
    },
  );
});
