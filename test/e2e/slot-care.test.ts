import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import pg from 'pg';
import { startPostgres, type LocalPostgres } from '../../src/dev/servers/postgres.js';
import { cli } from '../support/cli.js';
import { Proxy } from '../support/proxy.js';
import { Scenario } from '../support/scenario.js';

const SCHEMA = `
  create table kept (id int primary key, v text);
  alter table kept replica identity full;
  create table plain (id int primary key, v text);
  insert into kept select i, 'v' || i from generate_series(1, 100) i;
  insert into plain select i, 'v' || i from generate_series(1, 100) i;`;
const TABLES = { 'public.kept': { history: true }, 'public.plain': {} };
const COMES = { timeout: 40_000, interval: 50 };

describe('a slot that cannot be gone on from', () => {
  let server: LocalPostgres;
  let proxy: Proxy;
  let scenario: Scenario;
  let next = 1_000;

  beforeAll(async () => {
    server = await startPostgres({
      log: () => undefined,
      settings: {
        max_slot_wal_keep_size: '64MB',
        min_wal_size: '32MB',
        max_wal_size: '48MB',
        wal_sender_timeout: '2s',
      },
    });
    proxy = await Proxy.before(server.url);
    const clickhouse = await Proxy.before(inject('servers').clickhouse);
    scenario = await Scenario.open('slot_care', {
      schema: SCHEMA,
      tables: TABLES,
      decoder: 'pgoutput',
      postgres: server.url,
      through: { postgres: proxy, clickhouse },
    });
    await scenario.walhouse.start();
    await scenario.expectEqual();
  });
  afterEach(() => proxy.become('clear'));
  afterAll(async () => {
    await scenario?.close();
    await proxy?.close();
    await server?.close();
  });

  const slot = (): string => scenario.databases.name;
  const status = () => scenario.walhouse.status();
  const write = async (): Promise<void> => {
    next += 10;
    await scenario.sql(`begin;
      insert into kept select i, 'new' from generate_series(${next}, ${next} + 9) i;
      insert into plain select i, 'new' from generate_series(${next}, ${next} + 9) i;
      update kept set v = v || '+' where id = ${next}; delete from plain where id = ${next} + 1; commit`);
  };
  /** While the service is cut off from Postgres. */
  const away = async (work: () => Promise<unknown>): Promise<void> => {
    proxy.become('cut');
    await expect
      .poll(
        async () =>
          (
            await scenario.sql(
              `select active from pg_replication_slots where slot_name = '${slot()}' and active`,
            )
          ).length,
        COMES,
      )
      .toBe(0);
    await work();
    proxy.become('clear');
  };
  const confirmed = async (): Promise<unknown> =>
    scenario.sql(`select confirmed_flush_lsn from pg_replication_slots where slot_name = '${slot()}'`);
  const stoppedBy = async (kind: string): Promise<void> => {
    await expect.poll(async () => (await status()).state, COMES).toBe('stopped');
    const document = await status();
    expect(document.error?.kind).toBe(kind);
    expect(document.error?.fix).toContain('walhouse resync --all');
    expect((await fetch(`${scenario.walhouse.url}/healthz`)).status).toBe(503);
  };
  /** The command that every one of these errors names, as an operator types it. */
  const resyncAll = async (becomes = 'streaming'): Promise<void> => {
    const ended = await cli(['resync', '--all', '--config', scenario.walhouse.configPath]);
    expect([ended.code, ended.stderr]).toEqual([0, '']);
    await expect.poll(async () => (await status()).state, COMES).toBe(becomes);
    // A pause outlives all of this.
    if (becomes === 'paused') await fetch(`${scenario.walhouse.url}/v1/resume`, { method: 'POST' });
    await write();
    await scenario.expectEqual();
    const rows = await scenario.sql(
      `select wal_status from pg_replication_slots where slot_name = '${slot()}'`,
    );
    expect(rows).toEqual([{ wal_status: 'reserved' }]);
  };

  it('dropped: the service stops, and resync --all makes everything anew', async () => {
    await away(() => scenario.sql(`select pg_drop_replication_slot('${slot()}')`));
    await write();
    await stoppedBy('slot_missing');
    await resyncAll();
  });

  it('dropped while no service ran: the next one is refused until resync --all, which is remembered for it', async () => {
    const { walhouse } = scenario;
    expect(await walhouse.stop()).toBe(0);
    await scenario.sql(`select pg_drop_replication_slot('${slot()}')`);
    await write();
    await walhouse.start();
    expect(await walhouse.ended()).toBe(2);
    expect(walhouse.output).toMatch(/slot_missing: .*Fix: walhouse resync --all/);
    const ended = await cli(['resync', '--all', '--config', walhouse.configPath]);
    expect([ended.code, ended.stderr]).toEqual([0, '']);
    expect(ended.stdout).toContain('the next walhouse run does it');
    await walhouse.start();
    await write();
    await scenario.expectEqual();
  });

  it('made again ahead of what is stored: nothing is confirmed, and resync --all makes everything anew', async () => {
    await away(async () => {
      await scenario.sql(`select pg_drop_replication_slot('${slot()}')`);
      await write();
      await scenario.sql(`select pg_create_logical_replication_slot('${slot()}', 'pgoutput')`);
      await write();
    });
    const before = await confirmed();
    await stoppedBy('slot_ahead');
    expect(await confirmed()).toEqual(before);
    await resyncAll();
  });

  it('warned of long before it is lost, then lost: resync --all drops it and makes everything anew', async () => {
    await expect.poll(async () => (await status()).slot?.warning ?? null, COMES).toBeNull();
    // It stands still: its reader is paused.
    await fetch(`${scenario.walhouse.url}/v1/pause`, { method: 'POST' });
    const fill = async (segments: number): Promise<void> => {
      for (let i = 0; i < segments; i += 1)
        await scenario.sql(
          `select pg_logical_emit_message(false, 'fill', repeat('x', 8192)); select pg_switch_wal()`,
        );
    };
    await fill(3);
    await expect
      .poll(async () => (await status()).slot?.warning?.kind ?? null, COMES)
      .toBe('slot_endangered');
    const { slot: seen } = await status();
    expect(seen).toMatchObject({ wal_status: expect.stringMatching(/reserved|extended/) as string });
    expect(seen!.held_bytes).toBeGreaterThan(30_000_000);
    expect(seen!.headroom_bytes).toBeGreaterThan(0);
    expect(seen!.warning!.fix).toContain('max_slot_wal_keep_size');
    await expect.poll(() => scenario.walhouse.output, COMES).toContain('slot_endangered: slot');
    const metrics = await (await fetch(`${scenario.walhouse.url}/metrics`)).text();
    expect(metrics).toMatch(/^walhouse_slot_held_bytes [3-9]\d{7}/m);
    expect(metrics).toMatch(/^walhouse_slot_endangered 1$/m);
    const said = await cli(['status', '--config', scenario.walhouse.configPath]);
    expect(said.stdout).toContain('slot_endangered');
    await away(async () => {
      await write();
      await fill(8);
      await scenario.sql('checkpoint');
    });
    await stoppedBy('slot_lost');
    await resyncAll('paused');
    await expect.poll(async () => (await status()).slot?.warning ?? null, COMES).toBeNull();
  });

  it('of another cluster behind the same address: nothing is mixed, and resync --all begins again with that one', async () => {
    const other = await startPostgres({ log: () => undefined });
    const admin = new pg.Client({ connectionString: other.url });
    await admin.connect();
    try {
      const { password, pathname } = new URL(scenario.databases.postgresUrl);
      await admin.query(`alter user ${new URL(other.url).username} password '${password}'`);
      await admin.query(`create database ${pathname.slice(1)}`);
      const inside = new pg.Client({
        connectionString: other.url.replace(/:[^:@/]+@/, `:${password}@`).replace(/\/postgres$/, pathname),
      });
      await inside.connect();
      await inside.query(`${SCHEMA} update kept set v = 'of the other'; delete from plain where id > 50`);
      const before = await scenario.databases.clickhouse<{ n: string }>(
        `select toString(count()) as n from ${scenario.databases.clickhouseDatabase}.plain`,
      );
      proxy.redirect(other.url);
      proxy.cut();
      await stoppedBy('source_cluster_changed');
      expect(
        await scenario.databases.clickhouse(
          `select toString(count()) as n from ${scenario.databases.clickhouseDatabase}.plain`,
        ),
      ).toEqual(before);
      const ended = await cli(['resync', '--all', '--config', scenario.walhouse.configPath]);
      expect([ended.code, ended.stderr]).toEqual([0, '']);
      await expect.poll(async () => (await status()).state, COMES).toBe('streaming');
      // Positions of this one are lower; what changes there counts all the same.
      await inside.query(`update kept set v = 'changed' where id <= 10; delete from kept where id > 90`);
      const { rows } = await inside.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
      await scenario.walhouse.applied(rows[0]!.lsn);
      const stored = await scenario.databases.clickhouse(
        `select v, count() as n from ${scenario.databases.clickhouseDatabase}.kept group by v order by v`,
      );
      expect(stored).toEqual([
        { v: 'changed', n: '10' },
        { v: 'of the other', n: '80' },
      ]);
      await inside.end();
      // Back again: that is another cluster once more.
      proxy.redirect(server.url);
      proxy.cut();
      await stoppedBy('source_cluster_changed');
      await resyncAll();
    } finally {
      proxy.redirect(server.url);
      await admin.end();
      await other.close();
    }
  });

  it('goes on beside a busy database of the same server, though nothing happens in its own', async () => {
    const admin = new pg.Client({ connectionString: server.url });
    await admin.connect();
    try {
      await admin.query('create table noise (x text)');
      const { rows } = await admin.query<{ lsn: string }>('select pg_current_wal_lsn()::text as lsn');
      for (let i = 0; i < 20; i += 1)
        await admin.query(`insert into noise select repeat('noise', 100) from generate_series(1, 4000)`);
      await expect
        .poll(async () => {
          const [row] = await scenario.sql(
            `select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::int8::int4 as behind,
                    confirmed_flush_lsn > '${rows[0]!.lsn}'::pg_lsn as moved
               from pg_replication_slots where slot_name = '${slot()}'`,
          );
          return row;
        }, COMES)
        .toMatchObject({
          moved: true,
          behind: expect.toSatisfy((bytes: number) => bytes < 1_000_000) as number,
        });
    } finally {
      await admin.query('drop table if exists noise');
      await admin.end();
    }
  });
});
