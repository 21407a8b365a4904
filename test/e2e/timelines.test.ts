import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { startPostgres, type LocalPostgres } from '../../src/dev/servers/postgres.js';
import { cli } from '../support/cli.js';
import { Proxy } from '../support/proxy.js';
import { Scenario } from '../support/scenario.js';

const SCHEMA = `
  create table kept (id int primary key, v text);
  alter table kept replica identity full;
  insert into kept select i, 'v' || i from generate_series(1, 100) i;`;
const TABLES = { 'public.kept': {} };
const COMES = { timeout: 40_000, interval: 50 };

describe('a server that was promoted', () => {
  const directory = mkdtempSync(join(tmpdir(), 'walhouse-timelines-'));
  let server: LocalPostgres;
  let promoted: LocalPostgres | null = null;
  let proxy: Proxy;
  let clickhouse: Proxy;
  let scenario: Scenario;

  const start = (name: string): Promise<LocalPostgres> =>
    startPostgres({ dir: join(directory, name), log: () => undefined, settings: { fsync: 'off' } });

  beforeAll(async () => {
    // The server does not run as root, where we do.
    chmodSync(directory, 0o711);
    server = await start('first');
    proxy = await Proxy.before(server.url);
    clickhouse = await Proxy.before(inject('servers').clickhouse);
    scenario = await Scenario.open('timelines', {
      schema: SCHEMA,
      tables: TABLES,
      decoder: 'pgoutput',
      postgres: server.url,
      through: { postgres: proxy, clickhouse },
    });
    await scenario.walhouse.start();
    await scenario.expectEqual();
  });
  afterEach(async () => {
    proxy.redirect(server.url);
    proxy.cut();
    await promoted?.close();
    promoted = null;
  });
  afterAll(async () => {
    await scenario?.close();
    await promoted?.close();
    await proxy?.close();
    await clickhouse?.close();
    await server?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Makes a copy of the first server as it is now, with its slots, as a standby has them that keeps failover slots. */
  async function copy(name: string): Promise<void> {
    await server.close();
    execFileSync('cp', ['-a', join(directory, 'first'), join(directory, name)]);
    rmSync(join(directory, name, 'data', 'postmaster.pid'), { force: true });
    writeFileSync(join(directory, name, 'data', 'standby.signal'), '', { mode: 0o644 });
    server = await start('first');
    proxy.redirect(server.url);
  }
  async function promote(name: string): Promise<pg.Client> {
    // The port is kept with the data, and the first server has it.
    rmSync(join(directory, name, 'ports.json'), { force: true });
    promoted = await start(name);
    const client = new pg.Client({ connectionString: urlOn(promoted) });
    await client.connect();
    await client.query('select pg_promote()');
    await expect
      .poll(
        async () => (await client.query<{ r: boolean }>('select pg_is_in_recovery() as r')).rows[0]!.r,
        COMES,
      )
      .toBe(false);
    return client;
  }
  const urlOn = (other: LocalPostgres): string => {
    const url = new URL(other.url);
    url.pathname = new URL(scenario.databases.postgresUrl).pathname;
    return url.href;
  };
  const kept = (): Promise<unknown> =>
    scenario.databases.clickhouse(
      `select id, v from ${scenario.databases.clickhouseDatabase}.kept where id > 1000 order by id`,
    );
  const status = () => scenario.walhouse.status();

  it('with all that was applied is gone on from, and nothing is copied anew', async () => {
    expect(await scenario.walhouse.stop()).toBe(0);
    await copy('complete');
    const client = await promote('complete');
    await client.query(`insert into kept values (1001, 'on the new timeline')`);
    proxy.redirect(promoted!.url);
    await scenario.walhouse.start();
    const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
    await scenario.walhouse.applied(rows[0]!.lsn);
    expect((await status()).state).toBe('streaming');
    expect(await kept()).toEqual([{ id: 1001, v: 'on the new timeline' }]);
    await client.end();
    // And the former one has not what was applied meanwhile.
    proxy.redirect(server.url);
    proxy.cut();
    await expect.poll(async () => (await status()).error?.kind ?? null, COMES).toBe('source_timeline_forked');
    expect((await status()).state).toBe('stopped');
    expect((await fetch(`${scenario.walhouse.url}/v1/replication?min_lsn=0/1`)).status).toBe(503);
    const ended = await cli(['resync', '--all', '--config', scenario.walhouse.configPath]);
    expect([ended.code, ended.stderr]).toEqual([0, '']);
    await expect.poll(async () => (await status()).state, COMES).toBe('streaming');
    await scenario.expectEqual();
    expect(await kept()).toEqual([]);
  });

  it('without some of what was applied is refused before anything is read from it', async () => {
    expect(await scenario.walhouse.stop()).toBe(0);
    await copy('behind');
    await scenario.walhouse.start();
    await scenario.sql(`insert into kept values (1002, 'lost by the promotion')`);
    await scenario.expectEqual();
    const client = await promote('behind');
    await client.query(`insert into kept select i, 'another history' from generate_series(2000, 4000) i`);
    proxy.redirect(promoted!.url);
    proxy.cut();
    await expect.poll(async () => (await status()).error?.kind ?? null, COMES).toBe('source_timeline_forked');
    expect((await status()).error!.fix).toContain('walhouse resync --all');
    expect(await kept()).toEqual([{ id: 1002, v: 'lost by the promotion' }]);
    const ended = await cli(['resync', '--all', '--config', scenario.walhouse.configPath]);
    expect([ended.code, ended.stderr]).toEqual([0, '']);
    await expect.poll(async () => (await status()).state, COMES).toBe('streaming');
    const { rows } = await client.query<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
    await scenario.walhouse.applied(rows[0]!.lsn);
    expect(await kept()).toHaveLength(2001);
    await client.end();
    await scenario.walhouse.kill();
  });
});

describe('on Postgres 17 and later', () => {
  let server: LocalPostgres;
  let scenario: Scenario;

  beforeAll(async () => {
    server = await startPostgres({ flavour: 'npm', log: () => undefined });
    scenario = await Scenario.open('failover', {
      schema: SCHEMA,
      tables: TABLES,
      decoder: 'pgoutput',
      postgres: server.url,
    });
  });
  afterAll(async () => {
    await scenario?.close();
    await server?.close();
  });

  it('the slot is one that standbys keep, and the temporary ones are not', async () => {
    await scenario.walhouse.start();
    await scenario.expectEqual();
    expect(await scenario.sql('select slot_name, failover, temporary from pg_replication_slots')).toEqual([
      { slot_name: scenario.databases.name, failover: true, temporary: false },
    ]);
    expect(await scenario.walhouse.stop()).toBe(0);
  });
});
