import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startClickHouse } from '../../src/dev/servers/clickhouse.js';
import type { LocalServer } from '../../src/dev/servers/local-server.js';
import { installPostgres, type PostgresOptions, startPostgres } from '../../src/dev/servers/postgres.js';
import { clickhouseQuery } from '../support/servers.js';

const log = (): void => undefined;
const GONE_MS_MAX = 10_000;
let scratch: string;

beforeAll(() => {
  scratch = realpathSync(mkdtempSync(join(tmpdir(), 'walhouse-test-')));
  // Postgres may run as another user than we.
  chmodSync(scratch, 0o755);
});

afterAll(() => rmSync(scratch, { recursive: true, force: true }));

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Runs a server for as long as `work` takes. */
async function during<Server extends LocalServer, Result>(
  starting: Promise<Server>,
  work: (server: Server) => Promise<Result>,
): Promise<Result> {
  const server = await starting;
  try {
    return await work(server);
  } finally {
    await server.close();
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function becomesTrue(condition: () => boolean): Promise<boolean> {
  const deadline = Date.now() + GONE_MS_MAX;
  while (!condition()) {
    if (Date.now() > deadline) return false;
    await sleep(20);
  }
  return true;
}

interface Known {
  readonly pid: number;
  readonly directory: string;
  readonly url: string;
}

/** Starts a server from a process of its own and kills that process the way that it cannot notice. */
async function startAndKillParent(kind: 'postgres' | 'clickhouse', dir?: string): Promise<Known> {
  const program = new URL('../support/server-parent.ts', import.meta.url).pathname;
  const parent = spawn(
    process.execPath,
    ['--import', 'tsx', program, kind, ...(dir === undefined ? [] : [dir])],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const [line] = (await once(createInterface(parent.stdout), 'line')) as [string];
  const known = JSON.parse(line) as Known;
  expect(isAlive(known.pid)).toBe(true);
  parent.kill('SIGKILL');
  await once(parent, 'exit');
  return known;
}

async function takePort(): Promise<{ port: number; free: () => void }> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return { port: address.port, free: () => server.close() };
}

interface Kind {
  readonly kind: 'postgres' | 'clickhouse';
  readonly start: (options: { dir?: string; port?: number }) => Promise<LocalServer>;
  readonly version: (url: string) => Promise<string | undefined>;
  /** Below the directory: what a server that was killed leaves behind with its process id. */
  readonly pidFile: readonly string[];
}

describe.each<Kind>([
  {
    kind: 'postgres',
    start: (options) => startPostgres({ ...options, log }),
    version: async (url) => String((await query(url, 'show server_version'))[0]?.['server_version']),
    pidFile: ['data', 'postmaster.pid'],
  },
  {
    kind: 'clickhouse',
    start: ({ dir, port }) =>
      startClickHouse({
        ...(dir === undefined ? {} : { dir }),
        ...(port === undefined ? {} : { httpPort: port }),
        log,
      }),
    version: async (url) =>
      (await clickhouseQuery<{ version: string }>(url, 'select version() as version'))[0]?.version,
    pidFile: ['data', 'status'],
  },
])('$kind', ({ kind, start, version, pidFile }) => {
  test('a temporary server answers, and is gone with its directory when it is closed', async () => {
    const server = await start({});
    expect(await version(server.url)).toContain(server.version);
    expect(new URL(server.url).hostname).toBe('127.0.0.1');
    await server.close();
    expect(await server.ended).toBeNull();
    expect(isAlive(server.pid)).toBe(false);
    expect(existsSync(server.directory)).toBe(false);
    await server.close();
  });

  test('kill -9 of the parent leaves no process and no temporary directory', async () => {
    const { pid, directory } = await startAndKillParent(kind);
    expect(await becomesTrue(() => !isAlive(pid) && !existsSync(directory))).toBe(true);
  });

  test('a kept directory starts again after kill -9 of the parent, at the same URL', async () => {
    const dir = join(scratch, `${kind}-killed`);
    const { pid, url } = await startAndKillParent(kind, dir);
    expect(await becomesTrue(() => !isAlive(pid))).toBe(true);
    await during(start({ dir }), async (server) => {
      expect(server.url).toBe(url);
      expect(await version(server.url)).toContain(server.version);
    });
  });

  test('the pid file of a server that is gone stops nobody, even when its number is in use again', async () => {
    const dir = join(scratch, `${kind}-stale`);
    await during(start({ dir }), async () => {});
    writeFileSync(join(dir, ...pidFile), `${process.pid}\n`);
    await during(start({ dir }), async (server) => {
      expect(await version(server.url)).toContain(server.version);
    });
  });

  test('a port that is taken is refused by its number', async () => {
    const taken = await takePort();
    try {
      await expect(start({ port: taken.port })).rejects.toMatchObject({
        kind: 'local_port_taken',
        message: expect.stringContaining(String(taken.port)) as string,
      });
    } finally {
      taken.free();
    }
  });

  test('a second server is refused the directory of a running one, which goes on', async () => {
    const dir = join(scratch, `${kind}-twice`);
    await during(start({ dir }), async (server) => {
      await expect(start({ dir })).rejects.toMatchObject({
        kind: 'local_data_unusable',
        message: expect.stringContaining(dir) as string,
      });
      expect(await version(server.url)).toContain(server.version);
    });
  });

  test('a file where the directory should be is refused', async () => {
    const dir = join(scratch, `${kind}-file`);
    writeFileSync(dir, '');
    await expect(start({ dir })).rejects.toMatchObject({ kind: 'local_data_unusable' });
  });

  test('a server that dies says so', async () => {
    await during(start({}), async (server) => {
      process.kill(server.pid, 'SIGKILL');
      expect(await server.ended).toMatchObject({ kind: 'local_server_died' });
      expect(await becomesTrue(() => !existsSync(server.directory))).toBe(true);
    });
  });
});

describe('postgres', () => {
  const flavours: PostgresOptions['flavour'][] = ['auto', 'npm'];

  test.each(flavours)('flavour %s is ready for logical replication through pgoutput', async (flavour) => {
    await during(startPostgres({ flavour: flavour!, log }), async ({ url, version }) => {
      const [settings] = await query(
        url,
        `select current_setting('wal_level') as wal_level, current_setting('timezone') as timezone,
                current_setting('max_replication_slots')::int as slots, current_setting('server_version') as version`,
      );
      expect(settings).toMatchObject({ wal_level: 'logical', timezone: 'UTC', slots: 64 });
      expect(settings?.['version']).toContain(version);
      await query(url, 'create table t (id int primary key)');
      await query(url, 'create publication p for table t');
      await query(url, `select pg_create_logical_replication_slot('s', 'pgoutput')`);
      await query(url, 'insert into t values (1)');
      const changes = await query(
        url,
        `select get_byte(data, 0) as kind from pg_logical_slot_get_binary_changes('s', null, null,
                'proto_version', '1', 'publication_names', 'p')`,
      );
      expect(changes.map(({ kind }) => String.fromCharCode(Number(kind)))).toEqual(['B', 'R', 'I', 'C']);
    });
  });

  test('says truly whether it has wal2json', async () => {
    await during(startPostgres({ log }), async ({ url, hasWal2json }) => {
      const creation = query(url, `select pg_create_logical_replication_slot('s', 'wal2json')`);
      if (hasWal2json) await creation;
      else await expect(creation).rejects.toThrow(/wal2json/);
    });
  });

  test('does not run as root and lets nobody in without its password', async () => {
    await during(startPostgres({ log }), async ({ url, pid }) => {
      if (process.platform === 'linux') expect(statSync(`/proc/${pid}`).uid).not.toBe(0);
      const stranger = new URL(url);
      stranger.password = 'guess';
      await expect(query(stranger.href, 'select 1')).rejects.toThrow(/password authentication failed/);
    });
  });

  test('a kept directory keeps its rows and its password', async () => {
    const dir = join(scratch, 'postgres-kept');
    const first = await during(startPostgres({ dir, log }), async ({ url }) => {
      await query(url, 'create table kept (id int)');
      await query(url, 'insert into kept values (42)');
      return url;
    });
    await during(startPostgres({ dir, log }), async ({ url }) => {
      expect(url).toBe(first);
      expect(await query(url, 'select id from kept')).toEqual([{ id: 42 }]);
    });
  });

  test('data of another major version is refused by name', async () => {
    const dir = join(scratch, 'postgres-old');
    mkdirSync(join(dir, 'data'), { recursive: true });
    writeFileSync(join(dir, 'data', 'PG_VERSION'), '9\n');
    await expect(startPostgres({ dir, flavour: 'npm', log })).rejects.toMatchObject({
      kind: 'local_data_unusable',
      message: expect.stringContaining('Postgres 9') as string,
    });
  });

  test("somebody's files in its place are left alone", async () => {
    const dir = join(scratch, 'postgres-foreign');
    const file = join(dir, 'data', 'letter.txt');
    mkdirSync(join(dir, 'data'), { recursive: true });
    writeFileSync(file, 'dear');
    await expect(startPostgres({ dir, log })).rejects.toMatchObject({ kind: 'local_data_unusable' });
    expect(existsSync(file)).toBe(true);
  });

  test('a setting that it does not know is told with its own words', async () => {
    await expect(startPostgres({ settings: { no_such_setting: 'x' }, log })).rejects.toMatchObject({
      kind: 'local_start_failed',
      message: expect.stringContaining('no_such_setting') as string,
    });
  });
});

describe('clickhouse', () => {
  test('a kept directory keeps its rows', async () => {
    const dir = join(scratch, 'clickhouse-kept');
    await during(startClickHouse({ dir, log }), async ({ url }) => {
      await clickhouseQuery(url, 'create database shop');
      await clickhouseQuery(url, 'create table shop.kept (id Int32) engine = MergeTree order by id');
      await clickhouseQuery(url, 'insert into shop.kept values (42)');
    });
    await during(startClickHouse({ dir, log }), async ({ url }) => {
      expect(await clickhouseQuery(url, 'select id from shop.kept')).toEqual([{ id: 42 }]);
    });
  });

  test('a configuration file is merged over ours', async () => {
    const configFile = join(scratch, 'macros.xml');
    writeFileSync(configFile, '<clickhouse><macros><shard>7</shard></macros></clickhouse>');
    await during(startClickHouse({ configFile, log }), async ({ url }) => {
      expect(await clickhouseQuery(url, `select getMacro('shard') as shard, timezone() as zone`)).toEqual([
        { shard: '7', zone: 'UTC' },
      ]);
    });
  });

  test('the time zone is what the caller asks for', async () => {
    await during(startClickHouse({ timezone: 'Asia/Kathmandu', log }), async ({ url }) => {
      expect(await clickhouseQuery(url, 'select timezone() as zone')).toEqual([{ zone: 'Asia/Kathmandu' }]);
    });
  });
});

describe('walhouse servers', () => {
  /** Starts the command and waits for the line that says that both servers are ready. */
  async function startCommand(...args: string[]) {
    const main = new URL('../../src/cli/main.ts', import.meta.url).pathname;
    const child = spawn(process.execPath, ['--import', 'tsx', main, 'servers', '--json', ...args], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const lines: string[] = [];
    const reader = createInterface(child.stdout);
    reader.on('line', (line) => lines.push(line));
    await once(reader, 'line');
    const urls = JSON.parse(lines[0]!) as { postgres: string; clickhouse: string };
    const exited = once(child, 'exit').then(([code]) => code as number | null);
    return { child, lines, urls, exited };
  }

  test('prints one line with both addresses, and a signal ends it with exit code 0', async () => {
    const { child, lines, urls, exited } = await startCommand();
    expect(Object.keys(urls)).toEqual(['postgres', 'clickhouse']);
    expect(await query(urls.postgres, 'select 1 as one')).toEqual([{ one: 1 }]);
    expect(await clickhouseQuery(urls.clickhouse, 'select 1 as one')).toEqual([{ one: 1 }]);
    child.kill('SIGTERM');
    expect(await exited).toBe(0);
    expect(lines).toHaveLength(1);
    await expect(query(urls.postgres, 'select 1')).rejects.toThrow(/ECONNREFUSED/);
  });

  test('ends with exit code 1 when one of its servers dies, and stops the other', async () => {
    const dir = join(scratch, 'servers');
    const { urls, exited } = await startCommand('--dir', dir);
    process.kill(
      Number(readFileSync(join(dir, 'postgres', 'data', 'postmaster.pid'), 'utf8').split('\n')[0]),
      'SIGKILL',
    );
    expect(await exited).toBe(1);
    await expect(fetch(urls.clickhouse)).rejects.toThrow();
  });
});

describe('installing', () => {
  const cached = (): string => join(scratch, 'cache');
  const lines: string[] = [];
  const installNpmPostgres = () =>
    installPostgres({ flavour: 'npm', cache: cached(), log: (line) => lines.push(line) });

  test('two at once install once, and a third does nothing', { timeout: 300_000 }, async () => {
    const [one, two] = await Promise.all([installNpmPostgres(), installNpmPostgres()]);
    expect(one).toEqual(two);
    expect(lines.filter((line) => line.startsWith('installed'))).toHaveLength(1);
    lines.length = 0;
    expect(await installNpmPostgres()).toEqual(one);
    expect(lines).toEqual([]);
    expect(readdirSync(cached())).toHaveLength(1);
  });

  test('one that is called off leaves nothing behind', { timeout: 300_000 }, async () => {
    const cache = join(scratch, 'cache-called-off');
    const interrupt = new AbortController();
    const installation = installPostgres({
      flavour: 'npm',
      cache,
      signal: interrupt.signal,
      log: () => interrupt.abort(),
    });
    await expect(installation).rejects.toThrow(/abort/);
    expect(readdirSync(cache)).toEqual([]);
  });

  test('a cache that cannot be made is refused with the fix', async () => {
    const file = join(scratch, 'not-a-folder');
    writeFileSync(file, '');
    await expect(installPostgres({ flavour: 'npm', cache: join(file, 'cache'), log })).rejects.toMatchObject({
      kind: 'local_install_failed',
      message: expect.stringContaining('WALHOUSE_CACHE') as string,
    });
  });
});
