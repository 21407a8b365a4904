import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startClickHouse, type LocalClickHouse } from '../../src/dev/servers/clickhouse.js';
import { compareRisk } from '../../src/ops/compare/risk.js';
import { cli, type Ended } from '../support/cli.js';
import { roleStatements, sha256, writeUsers, type RoleFile } from '../support/roles.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';
import { Walhouse } from '../support/walhouse.js';

const SCHEMA = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');

const FILES: readonly RoleFile[] = ['writer', 'reader', 'analyst', 'analyst_user'];
const PASSWORDS: Readonly<Record<string, string>> = {
  writer: 'planted-writer',
  reader: 'planted-reader',
  anna: 'planted-anna',
};

let databases: TestDatabases;
let clickhouse: LocalClickHouse;
let walhouse: Walhouse;
let directory: string;

const shop = (): string => databases.clickhouseDatabase;

/** What SQL in the files becomes, with everybody's name and password. */
function statements(database: string): string[] {
  return FILES.flatMap((file) => {
    const user = file === 'analyst_user' ? 'anna' : file;
    return roleStatements(file, { database, user, password_sha256: sha256(PASSWORDS[user] ?? '') });
  });
}

interface Answer {
  readonly ok: boolean;
  readonly text: string;
}

/** Asks as somebody; `anna` is an analyst, `admin` may do anything. */
async function as(
  who: 'admin' | 'writer' | 'reader' | 'anna',
  sql: string,
  settings: Readonly<Record<string, string | number>> = {},
): Promise<Answer> {
  const name = who === 'anna' ? 'anna' : `${shop()}_${who}`;
  const query = new URLSearchParams({ default_format: 'JSONEachRow' });
  for (const [setting, value] of Object.entries(settings)) query.set(setting, String(value));
  const response = await fetch(`${clickhouse.url}/?${query.toString()}`, {
    method: 'POST',
    body: sql,
    ...(who === 'admin'
      ? {}
      : { headers: { 'X-ClickHouse-User': name, 'X-ClickHouse-Key': PASSWORDS[who]! } }),
  });
  return { ok: response.ok, text: (await response.text()).trim() };
}

async function rows<T = Record<string, unknown>>(
  who: Parameters<typeof as>[0],
  sql: string,
  settings: Parameters<typeof as>[2] = {},
): Promise<T[]> {
  const { ok, text } = await as(who, sql, settings);
  if (!ok) throw new Error(`${text} in: ${sql}`);
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
}

async function applied(): Promise<void> {
  const [row] = await databases.postgres<{ lsn: string }>('select pg_current_wal_insert_lsn()::text as lsn');
  await walhouse.applied(row!.lsn);
}

const command = (...args: string[]): Promise<Ended> => cli([...args, '--config', walhouse.configPath]);

beforeAll(async () => {
  databases = await createDatabases('roles');
  await databases.postgres(SCHEMA);
  directory = mkdtempSync(join(tmpdir(), 'walhouse-roles-'));
  clickhouse = await startClickHouse({
    configFile: writeUsers(directory, statements(shop())),
    log: () => {},
  });
  await as('admin', 'create database other');
  await as('admin', 'create table other.secrets engine = Memory as select 1 as a');
  walhouse = new Walhouse({
    postgresUrl: databases.postgresUrl,
    clickhouseUrl: clickhouse.url.replace('//', `//${shop()}_writer:${PASSWORDS['writer']}@`),
    database: shop(),
    slot: databases.name,
    tables: {
      'public.merchants': { history: true },
      'public.payments': { retention: { column: 'payment_date', keep: '2 years' }, history: true },
    },
    marts: ['payments'],
  });
  await databases.postgres(`
    insert into merchants select i, 'Merchant ' || i, null, null, null, now() from generate_series(1, 5) i;
    insert into payments
      select i, 1 + i % 5, 1 + i % 7, i + 0.25, (array['Visa', 'Mastercard', 'Check'])[1 + i % 3],
             (array['Paid', 'Paid', 'Rejected', 'Pending'])[1 + i % 4], now() - i * interval '13 hours'
        from generate_series(1, 400) i`);
}, 60_000);
afterAll(async () => {
  await walhouse?.close();
  await databases?.postgres(`select pg_drop_replication_slot('${databases.name}')`).catch(() => undefined);
  await databases?.close();
  await clickhouse?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Each is refused, for want of a right or because the profile is read-only, and for no other reason. */
async function expectRefused(who: Parameters<typeof as>[0], tried: readonly string[]): Promise<void> {
  const answers = await Promise.all(tried.map(async (sql) => [sql, (await as(who, sql)).text] as const));
  for (const [sql, text] of answers) expect(text, sql).toMatch(/\((ACCESS_DENIED|READONLY)\)/);
}

/** What reaches beyond this server, or beside its tables. */
const AROUND = [
  `select * from file('/etc/passwd', 'LineAsString')`,
  `select * from url('http://127.0.0.1:1/', 'LineAsString')`,
  `select * from remote('127.0.0.1', system.one)`,
  `select * from postgresql('127.0.0.1:1', 'd', 't', 'u', 'p')`,
  `select * from s3('http://127.0.0.1:1/bucket/file.csv', 'CSV', 'a String')`,
  `create user mallory`,
  `grant select on *.* to anna`,
  `create database mallory`,
  `select * from system.users`,
  `select * from other.secrets`,
  `insert into other.secrets values (1)`,
];

describe('clickhouse/roles/writer.sql', () => {
  it('has what the service needs: snapshot, stream, marts, history, resync, a new column, verify, retention, erase', async () => {
    walhouse.configure({});
    const checked = await command('check');
    expect(checked.code, checked.stdout + checked.stderr).toBe(0);
    await walhouse.start();
    await applied();
    await databases.postgres(`update payments set status = 'Rejected' where payment_id = 1`);
    await databases.postgres(`delete from payments where payment_id = 400`);
    await databases.postgres(`alter table payments add column note text`);
    await databases.postgres(`comment on column payments.note is 'Whatever'`);
    await databases.postgres(`update payments set note = 'x' where payment_id = 2`);
    await applied();
    const resync = await fetch(`${walhouse.url}/v1/tables/public.payments/resync`, { method: 'POST' });
    expect(resync.status).toBe(202);
    await expect
      .poll(async () => (await walhouse.status()).tables['public.payments']!.state, { timeout: 30_000 })
      .toBe('streaming');
    for (const args of [['verify'], ['retention'], ['erase', 'public.payments', '--key', '400']]) {
      const { code, stdout, stderr } = await command(...args);
      expect(code, `${args.join(' ')}\n${stdout}${stderr}${walhouse.output}`).toBe(0);
    }
    expect(walhouse.output).not.toContain('"level":50');
  }, 120_000);

  it('allows nothing beside that', async () => {
    await expectRefused('writer', [...AROUND, `system shutdown`, `drop database other`]);
  });
});

describe('clickhouse/roles/reader.sql', () => {
  it('is enough for an instance that only answers', async () => {
    const { options } = walhouse;
    const reader = new Walhouse({
      ...options,
      clickhouseUrl: options.clickhouseUrl.replace(
        `_writer:${PASSWORDS['writer']}`,
        `_reader:${PASSWORDS['reader']}`,
      ),
    });
    const postgres = new pg.Client({ connectionString: databases.postgresUrl });
    try {
      await reader.start({}, ['--api-only']);
      await postgres.connect();
      const [row] = await databases.postgres<{ lsn: string }>(
        'select pg_current_wal_insert_lsn()::text as lsn',
      );
      await reader.applied(row!.lsn);
      const found = await compareRisk({
        apiUrl: reader.url,
        postgres,
        merchantIds: [1n, 2n, 3n],
        at: new Date().toISOString(),
        minLsn: row!.lsn,
      });
      expect(found.differences, reader.output).toEqual([]);
    } finally {
      await postgres.end();
      await reader.close();
    }
  }, 60_000);

  it('allows nothing beside that', async () => {
    await expectRefused('reader', [
      ...AROUND,
      `insert into ${shop()}_landing._walhouse_owner (epoch) values (99)`,
      `insert into ${shop()}_landing.merchants (merchant_id) values (99)`,
      `alter table ${shop()}_landing.merchants delete where 1`,
      `truncate table ${shop()}_landing.merchants`,
      `create table ${shop()}.mine (a Int8) engine = Memory`,
      `drop view ${shop()}.payments`,
      `set readonly = 0`,
    ]);
  });
});
