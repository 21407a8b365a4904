import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startPostgres, type LocalPostgres } from '../../src/dev/servers/postgres.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';
import { freePort } from '../../src/dev/servers/ports.js';
import { PROGRAM } from '../support/program.js';

const ROOT = new URL('../../', import.meta.url).pathname;
const directory = mkdtempSync(join(tmpdir(), 'walhouse-refusals-'));

let databases: TestDatabases;
beforeAll(async () => {
  databases = await createDatabases('refusals');
  await databases.postgres(`
    create table good (id int primary key);
    create table keyless (id int);
    create table nothing (id int primary key);
    alter table nothing replica identity nothing;
    create view looked_at as select 1 as id;
    create table root (id int primary key) partition by range (id);
    create table leaf partition of root for values from (0) to (10);
    create table ours (id int primary key, _version int);
    create table typed (id int primary key, n numeric, s text, on_day date);
    create table unkept (id int primary key, at timestamptz);
    create role ${databases.name} login password 'planted-secret';
  `);
});
afterAll(async () => {
  await databases.postgres(`drop role ${databases.name}`);
  await databases.close();
  rmSync(directory, { recursive: true, force: true });
});

interface Refusal {
  readonly code: number;
  readonly text: string;
}

/** Runs `walhouse run` with the configuration until it ends by itself. */
async function refused(config: object | string): Promise<Refusal> {
  const path = join(directory, 'walhouse.yaml');
  writeFileSync(path, typeof config === 'string' ? config : JSON.stringify(config));
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...PROGRAM, 'run', '--config', path],
      { cwd: ROOT, timeout: 60_000, env: { ...process.env, WALHOUSE_LOG_LEVEL: 'silent' } },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ code, text: stdout + stderr });
      },
    );
  });
}

async function config(parts: {
  url?: string;
  sinkUrl?: string;
  tables?: object;
  slot?: string;
  decoder?: string;
}) {
  return {
    source: {
      url: parts.url ?? databases.postgresUrl,
      slot: parts.slot ?? databases.name,
      publication: databases.name,
      decoder: parts.decoder ?? 'pgoutput',
    },
    sink: { url: parts.sinkUrl ?? databases.clickhouseUrl, database: databases.clickhouseDatabase },
    tables: parts.tables ?? { 'public.good': {} },
    api: { listen: `127.0.0.1:${await freePort()}` },
  };
}

function expectRefused(refusal: Refusal, ...parts: (string | RegExp)[]): void {
  expect(refusal, refusal.text).toMatchObject({ code: 2 });
  for (const part of parts) expect(refusal.text).toMatch(part);
  expect(refusal.text).toMatch(/fix/i);
  expect(refusal.text).not.toContain('planted-secret');
  expect(refusal.text).not.toMatch(/^\s+at /m);
}

describe('walhouse run refuses, with the fix to type,', () => {
  it('a source that does not answer', async () => {
    const url = `postgres://someone:planted-secret@127.0.0.1:${await freePort()}/shop`;
    expectRefused(await refused(await config({ url })), 'source_unreachable', '127.0.0.1');
  });

  it('a database that is not there', async () => {
    const url = databases.postgresUrl.replace(/\/[^/]+$/, '/no_such_database');
    expectRefused(await refused(await config({ url })), 'source_database_missing', 'no_such_database');
  });

  it('a wrong password', async () => {
    const url = new URL(databases.postgresUrl);
    url.password = 'planted-secret';
    expectRefused(await refused(await config({ url: url.href })), 'source_auth_failed');
  });

  it('a role without REPLICATION', async () => {
    const url = new URL(databases.postgresUrl);
    url.username = databases.name;
    url.password = 'planted-secret';
    expectRefused(
      await refused(await config({ url: url.href })),
      'source_no_replication',
      new RegExp(`alter role "?${databases.name}"? .*replication`, 'i'),
    );
  });

  it('a table that is not there', async () => {
    expectRefused(
      await refused(await config({ tables: { 'public.goood': {} } })),
      'table_missing',
      /public\.good\b/,
    );
  });

  it('a table whose name somebody else has in ClickHouse', async () => {
    const { clickhouseDatabase: database } = databases;
    await databases.clickhouse(`create database if not exists ${database}`);
    await databases.clickhouse(`create view ${database}.good as select 42 as kept`);
    expectRefused(await refused(await config({})), 'table_name_collision', /`?good`? is there already/);
    expect(await databases.clickhouse(`select * from ${database}.good`)).toEqual([{ kept: 42 }]);
    expect(
      await databases.postgres(`select from pg_replication_slots where slot_name = '${databases.name}'`),
    ).toEqual([]);
    await databases.clickhouse(`drop view ${database}.good`);
  });

  it('a view', async () => {
    expectRefused(await refused(await config({ tables: { 'public.looked_at': {} } })), 'table_unsupported');
  });

  it.each([
    ['s', 'Int64', /text/],
    ['n', 'Decimal(99, 2)', /Decimal/],
    ['on_day', 'DateTime', /Date/],
    ['absent', 'String', /column/],
  ])(
    'the type of a column %s as %s, which would not hold its values or is none',
    async (column, type, says) => {
      const tables = { 'public.typed': { columns: { [column]: { type } } } };
      expectRefused(await refused(await config({ tables })), 'config_invalid', new RegExp(column), says);
      expect(
        await databases.postgres(`select from pg_replication_slots where slot_name = '${databases.name}'`),
      ).toEqual([]);
    },
  );

  it('a partitioned table together with one of its partitions', async () => {
    expectRefused(
      await refused(await config({ tables: { 'public.leaf': {}, 'public.root': {} } })),
      'table_unsupported',
      /public\.leaf is a partition of public\.root/,
    );
  });

  it('a partitioned table under wal2json, which knows partitions by their own names only', async () => {
    if (!databases.hasWal2json) return;
    expectRefused(
      await refused(await config({ tables: { 'public.root': {} }, decoder: 'wal2json' })),
      'table_unsupported',
      'pgoutput',
    );
  });

  it('a column that has the name of one of Walhouse’s own', async () => {
    expectRefused(
      await refused(await config({ tables: { 'public.ours': {} } })),
      'table_name_collision',
      /rename column "_version"/,
    );
  });

  it.each(['keyless', 'nothing'])('a table without a usable replica identity: %s', async (table) => {
    expectRefused(
      await refused(await config({ tables: { [`public.${table}`]: {} } })),
      'table_no_identity',
      /alter table .*public"?\."?\w+/i,
    );
  });

  it('a table with retention whose old rows are not in the WAL', async () => {
    expectRefused(
      await refused(
        await config({ tables: { 'public.unkept': { retention: { column: 'at', keep: '2 years' } } } }),
      ),
      /alter table .*public"?\."?unkept"? replica identity full/i,
    );
  });

  it('a retention column that is not there', async () => {
    expectRefused(
      await refused(
        await config({ tables: { 'public.good': { retention: { column: 'att', keep: '2 years' } } } }),
      ),
      'att',
    );
  });

  it('a ClickHouse that does not answer', async () => {
    const sinkUrl = `http://someone:planted-secret@127.0.0.1:${await freePort()}`;
    expectRefused(await refused(await config({ sinkUrl })), 'sink_unreachable');
  });

  it('a mistake in the configuration', async () => {
    const text = JSON.stringify({ ...(await config({})), tabels: {} });
    expectRefused(await refused(text), 'config_invalid', 'tabels: unknown key');
  });

  it('a mart that is not there', async () => {
    expectRefused(await refused({ ...(await config({})), marts: ['paymentz'] }), 'paymentz');
  });

  describe('by the server’s settings:', () => {
    const servers: LocalPostgres[] = [];
    afterAll(() => Promise.all(servers.map((server) => server.close())));

    async function withSettings(settings: Record<string, string>): Promise<string> {
      const server = await startPostgres({ settings, log: () => {} });
      servers.push(server);
      const client = new pg.Client({ connectionString: server.url });
      await client.connect();
      await client.query('create table good (id int primary key)');
      await client.end();
      return server.url;
    }

    it('wal_level is not logical', async () => {
      const url = await withSettings({ wal_level: 'replica' });
      expectRefused(
        await refused(await config({ url })),
        'source_wal_level',
        /alter system set wal_level = '?logical/i,
      );
    });

    it('no slot is free', async () => {
      const url = await withSettings({ max_replication_slots: '1' });
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      await client.query(`select pg_create_physical_replication_slot('other')`);
      await client.end();
      expectRefused(await refused(await config({ url })), 'source_no_free_slot', 'max_replication_slots');
    });
  });
});
