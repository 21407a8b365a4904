import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { startPostgres, type LocalPostgres } from '../../src/dev/servers/postgres.js';
import type { StatusDocument } from '../../src/ops/status.js';
import { Proxy } from '../support/proxy.js';
import { type Decoder, Scenario } from '../support/scenario.js';

const SCHEMA = `
  create table kept (id int primary key, v text);
  alter table kept replica identity full;
  create table plain (id int primary key, v text);
  insert into kept select i, 'v' || i from generate_series(1, 100) i;
  insert into plain select i, 'v' || i from generate_series(1, 100) i;`;
const TABLES = { 'public.kept': { history: true }, 'public.plain': {} };
const SENDER_TIMEOUT_MS = 2_000;
const decoders: Decoder[] = inject('servers').hasWal2json ? ['pgoutput', 'wal2json'] : ['pgoutput'];

describe.each(decoders)('with %s, the service', (decoder) => {
  /** For what no decoder has a part in. */
  const once = it.skipIf(decoder !== decoders[0]);
  const directory = mkdtempSync(join(tmpdir(), 'walhouse-connections-'));
  let server: LocalPostgres;
  let postgres: Proxy;
  let clickhouse: Proxy;
  let scenario: Scenario;
  let next = 1_000;

  beforeAll(async () => {
    // The server does not run as root, where we do.
    chmodSync(directory, 0o711);
    server = await start();
    postgres = await Proxy.before(server.url);
    clickhouse = await Proxy.before(inject('servers').clickhouse);
    scenario = await Scenario.open('connections', {
      schema: SCHEMA,
      tables: TABLES,
      decoder,
      postgres: server.url,
      through: { postgres, clickhouse },
    });
    await scenario.walhouse.start();
    await scenario.expectEqual();
  });
  afterEach(() => {
    postgres.become('clear');
    clickhouse.become('clear');
    clickhouse.delay(0);
  });
  afterAll(async () => {
    await scenario?.close();
    await postgres?.close();
    await clickhouse?.close();
    await server?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  function start(port?: number): Promise<LocalPostgres> {
    return startPostgres({
      dir: join(directory, 'postgres'),
      log: () => undefined,
      settings: {
        wal_sender_timeout: String(SENDER_TIMEOUT_MS),
        max_prepared_transactions: '5',
        fsync: 'off',
      },
      ...(port === undefined ? {} : { port }),
    });
  }

  /** A transaction over both tables: each kind of change. */
  async function write(): Promise<void> {
    next += 10;
    await scenario.sql(`begin;
      insert into kept select i, 'new' from generate_series(${next}, ${next} + 9) i;
      insert into plain select i, 'new' from generate_series(${next}, ${next} + 9) i;
      update kept set v = v || '+' where id in (${next}, 5); update plain set v = v || '+' where id in (${next}, 5);
      delete from kept where id = ${next} + 1; delete from plain where id = ${next} + 1; commit`);
  }

  const one = async (sql: string): Promise<string> => {
    const [row] = await scenario.databases.postgres<{ x: string }>(`select (${sql})::text as x`);
    return row!.x;
  };
  const confirmed = (): Promise<string> =>
    one(
      `select confirmed_flush_lsn from pg_replication_slots where slot_name = '${scenario.databases.name}'`,
    );
  const reader = (): Promise<string> =>
    one(`select active_pid from pg_replication_slots where slot_name = '${scenario.databases.name}'`);
  const status = (): Promise<StatusDocument> => scenario.walhouse.status();
  const retryingFor = async (kind: string | RegExp): Promise<void> => {
    await expect
      .poll(async () => (await status()).error?.kind ?? null, { timeout: 20_000, interval: 20 })
      .toMatch(kind);
    const document = await status();
    if (document.error === null) return; // It has just passed.
    expect(document.error.fix).not.toBe('');
    if (document.state === 'retrying')
      expect(Date.parse(document.retry_at!)).toBeGreaterThan(Date.now() - 5_000);
  };
  const audited = async (): Promise<number> => {
    const database = scenario.databases.clickhouseDatabase;
    const [row] = await scenario.databases.clickhouse<{ n: string }>(
      `select count() as n from ${database}_audit.kept`,
    );
    return Number(row!.n);
  };

  once(
    'outlives an insert that takes longer than wal_sender_timeout, without losing its connection',
    async () => {
      const before = await reader();
      clickhouse.delay(SENDER_TIMEOUT_MS + 400);
      await write();
      await scenario.applied();
      clickhouse.delay(0);
      expect(await reader()).toBe(before);
      await scenario.expectEqual();
    },
  );

  it('comes back after its connections to Postgres were cut', async () => {
    postgres.become('cut');
    await write();
    await retryingFor(/^source_/);
    expect((await fetch(`${scenario.walhouse.url}/healthz`)).status).toBe(200);
    postgres.become('clear');
    await write();
    await scenario.expectEqual();
  });

  once('notices a connection to Postgres that has gone silent, and makes a new one', async () => {
    postgres.become('silent');
    await write();
    await retryingFor(/^(source_|slot_in_use)/);
    postgres.become('clear');
    await write();
    await scenario.expectEqual();
  });

  once('does not hold up a fast shutdown of Postgres, and goes on when it is back', async () => {
    await write();
    const { port } = server;
    const from = performance.now();
    await server.close();
    expect(performance.now() - from).toBeLessThan(8_000);
    await retryingFor(/^source_/);
    server = await start(port);
    await write();
    await scenario.expectEqual();
  });

  once('confirms nothing while ClickHouse is away, says until when it waits, and then goes on', async () => {
    await scenario.applied();
    clickhouse.become('cut');
    const before = await one('pg_current_wal_insert_lsn()');
    await write();
    await retryingFor('sink_unreachable');
    await write();
    await sleep(500);
    await retryingFor('sink_unreachable');
    // Positions of before could still be confirmed; what was written is behind them.
    expect(await one(`'${await confirmed()}'::pg_lsn <= '${before}'::pg_lsn`)).toBe('true');
    clickhouse.become('clear');
    await scenario.expectEqual();
    expect((await status()).error).toBeNull();
  });

  once('stores once for readers what was stored and whose answer was lost', async () => {
    await scenario.applied();
    const [changes, before] = [await audited(), await confirmed()];
    clickhouse.become('answers_lost');
    await write();
    await expect.poll(() => clickhouse.answersLost, { timeout: 20_000 }).toBeGreaterThan(2);
    await retryingFor('sink_unreachable');
    expect(await confirmed()).toBe(before);
    clickhouse.become('clear');
    await scenario.expectEqual();
    expect(await audited()).toBe(changes + 13);
  });

  once('waits while ClickHouse has too many parts', async () => {
    const landing = `${scenario.databases.clickhouseDatabase}_landing.plain`;
    await scenario.databases.clickhouse(`system stop merges ${landing}`);
    await scenario.databases.clickhouse(`alter table ${landing} modify setting parts_to_throw_insert = 1`);
    await write();
    await retryingFor('sink_overloaded');
    await scenario.databases.clickhouse(`alter table ${landing} reset setting parts_to_throw_insert`);
    await scenario.databases.clickhouse(`system start merges ${landing}`);
    await scenario.expectEqual();
  });

  it('gets a prepared transaction when it is committed, and not before', async () => {
    await scenario.sql(`begin; insert into plain values (1, 'prepared') on conflict (id) do update set v = 'prepared';
      prepare transaction 'walhouse_test'`);
    await write();
    await scenario.expectEqual();
    await scenario.sql(`commit prepared 'walhouse_test'`);
    await scenario.expectEqual();
  });

  once.each(['ClickHouse', 'Postgres'])(
    'leaves in time while %s gives no answer, and goes on from there',
    async (which) => {
      const silent = which === 'Postgres' ? postgres : clickhouse;
      silent.become('silent');
      await write();
      await sleep(500);
      expect(await scenario.walhouse.stop()).toBe(0);
      silent.become('clear');
      await scenario.walhouse.start();
      await scenario.expectEqual();
    },
  );

  once('stops when its slot is gone, says what to type, and changes nothing', async () => {
    const [url, name] = [scenario.walhouse.url, scenario.databases.name];
    postgres.become('cut');
    await expect
      .poll(
        () =>
          scenario.sql(`select pg_drop_replication_slot('${name}')`).then(
            () => true,
            () => false,
          ),
        { timeout: 10_000 },
      )
      .toBe(true);
    postgres.become('clear');
    await expect.poll(async () => (await status()).state, { timeout: 30_000 }).toBe('stopped');
    expect((await status()).error).toMatchObject({
      kind: 'slot_missing',
      fix: expect.stringContaining('walhouse resync') as string,
    });
    expect((await fetch(`${url}/healthz`)).status).toBe(503);
    expect(await one(`select count(*) from pg_replication_slots where slot_name = '${name}'`)).toBe('0');
    expect(await scenario.walhouse.stop()).toBe(0);
  });
});

describe('at start, the service refuses', () => {
  let server: LocalPostgres;
  let scenario: Scenario;
  let proxy: Proxy;
  let clickhouse: Proxy;

  beforeAll(async () => {
    server = await startPostgres({
      log: () => undefined,
      settings: { max_slot_wal_keep_size: '32MB', min_wal_size: '32MB', max_wal_size: '48MB' },
    });
    proxy = await Proxy.before(server.url);
    clickhouse = await Proxy.before(inject('servers').clickhouse);
    scenario = await Scenario.open('slots', {
      schema: SCHEMA,
      tables: TABLES,
      decoder: 'pgoutput',
      postgres: server.url,
      through: { postgres: proxy, clickhouse },
    });
    await scenario.walhouse.start();
    await scenario.expectEqual();
    expect(await scenario.walhouse.stop()).toBe(0);
  });
  afterAll(async () => {
    await scenario?.close();
    await proxy?.close();
    await clickhouse?.close();
    await server?.close();
  });

  const stored = async (): Promise<unknown> => {
    const database = scenario.databases.clickhouseDatabase;
    return scenario.databases.clickhouse(
      `select * from (select 'checkpoint' as what, toString(max(applied_lsn)) as x from ${database}_landing._walhouse_checkpoint
       union all select 'kept', toString(count()) || toString(max(_version)) from ${database}_landing.kept
       union all select 'uuid', toString(uuid) from system.tables where database = '${database}_landing' and name = 'kept') order by what`,
    );
  };

  async function expectRefused(kind: string): Promise<void> {
    const before = await stored();
    const from = scenario.walhouse.output.length;
    await scenario.walhouse.start();
    expect(await scenario.walhouse.ended()).toBe(2);
    const output = scenario.walhouse.output.slice(from);
    expect(output).toContain(`${kind}: `);
    expect(output).toMatch(/walhouse resync/);
    expect(await stored()).toEqual(before);
  }

  it('another cluster behind the same address', async () => {
    const other = await startPostgres({ log: () => undefined });
    const client = new pg.Client({ connectionString: other.url });
    await client.connect();
    try {
      const { password, pathname } = new URL(scenario.databases.postgresUrl);
      await client.query(`alter user ${new URL(other.url).username} password '${password}'`);
      await client.query(`create database ${pathname.slice(1)}`);
      const inside = new pg.Client({
        connectionString: other.url.replace(/:[^:@/]+@/, `:${password}@`).replace(/\/postgres$/, pathname),
      });
      await inside.connect();
      await inside.query(SCHEMA);
      await inside.end();
      proxy.redirect(other.url);
      await expectRefused('source_cluster_changed');
    } finally {
      proxy.redirect(server.url);
      await client.end();
      await other.close();
    }
  });

  it('a slot that was dropped', async () => {
    await scenario.sql(`select pg_drop_replication_slot('${scenario.databases.name}')`);
    await scenario.sql(`insert into kept values (1000, 'missed')`);
    await expectRefused('slot_missing');
  });

  it('a slot that was made again, ahead of what is stored', async () => {
    await scenario.sql(`select pg_create_logical_replication_slot('${scenario.databases.name}', 'pgoutput')`);
    await expectRefused('slot_ahead');
  });

  it('a slot whose WAL the server has removed', async () => {
    for (let i = 0; i < 6; i += 1) {
      await scenario.sql(`insert into kept values (${2000 + i}, 'wal'); select pg_switch_wal()`);
    }
    await scenario.sql('checkpoint');
    await expectRefused('slot_lost');
  });
});
