import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startClickHouse, type LocalClickHouse } from '../../src/dev/servers/clickhouse.js';
import { compareRisk } from '../../src/ops/compare/risk.js';
import { checkSink } from '../../src/sink/check.js';
import { createSinkClient } from '../../src/sink/client.js';
import { DOCUMENT, MOMENT, ON_POSTGRES, QUESTIONS } from '../support/analyst-questions.js';
import { cli, type Ended } from '../support/cli.js';
import { roleStatements, sha256, writeUsers, type RoleFile } from '../support/roles.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';
import { Walhouse } from '../support/walhouse.js';

const ROOT = new URL('../../', import.meta.url).pathname;
/** Triggers write changes down in a table that is not replicated: what questions about the past are compared with. */
const SCHEMA = `${readFileSync(join(ROOT, 'postgres/payments.sql'), 'utf8')};
  create table log (seq bigserial, op text, at timestamptz default clock_timestamp(), "table" text, before jsonb, after jsonb);
  create function note() returns trigger language plpgsql as $$ begin
    insert into log (op, "table", before, after) values (left(lower(tg_op), 1), tg_table_name,
      case when tg_op != 'INSERT' then to_jsonb(old) end, case when tg_op != 'DELETE' then to_jsonb(new) end);
    return null;
  end $$;`;
const TRIGGERS = `
  create trigger changed after insert or update or delete on payments for each row execute function note();
  create trigger changed after insert or update or delete on merchants for each row execute function note();`;
/** Queries of one analyst in an hour, so that going beyond it does not take thousands. */
const QUERIES_MAX = 400;

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
    const values = { database, user, password_sha256: sha256(PASSWORDS[user] ?? '') };
    return roleStatements(file, values).map((sql) =>
      sql.replace('queries = 2000', `queries = ${QUERIES_MAX}`),
    );
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

/** The status, and the problem where it is one. */
async function answered(url: string): Promise<string> {
  const response = await fetch(url);
  return response.ok ? String(response.status) : `${response.status} ${await response.text()}`;
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
             (array['Paid', 'Paid', 'Rejected', 'Pending'])[1 + i % 4], now() - i * i * interval '21 seconds'
        from generate_series(1, 900) i`);
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
  // One at a time, since a user may not have many at once.
  for (const sql of tried) expect((await as(who, sql)).text, sql).toMatch(/\((ACCESS_DENIED|READONLY)\)/);
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
  it('has what the service needs: snapshot, stream, marts, history, resync, a new column, verify, erase', async () => {
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
    // As another user would have made it, in an earlier life of the service.
    await as('admin', `alter table ${shop()}.payments_daily modify definer = default sql security definer`);
    const resync = await fetch(`${walhouse.url}/v1/tables/public.payments/resync`, { method: 'POST' });
    expect(resync.status).toBe(202);
    await expect
      .poll(async () => (await walhouse.status()).tables['public.payments']!.state, { timeout: 30_000 })
      .toBe('streaming');
    expect(
      await rows(
        'admin',
        `select distinct definer from system.tables where database in ('${shop()}', '${shop()}_audit') and engine like '%View'`,
      ),
    ).toEqual([{ definer: `${shop()}_writer` }]);
    for (const args of [['verify'], ['erase', 'public.payments', '--key', '400']]) {
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
      for (const path of [
        '/v1/merchants/1/risk?by=method&baseline=true',
        '/v1/merchants/1/payments',
        '/v1/retention',
        '/v1/domains/payments',
        '/v1/replication',
        '/readyz',
        '/metrics',
      ])
        expect([path, await answered(`${reader.url}${path}`)]).toEqual([path, '200']);
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

/** Numbers are equal whatever their zeros; of both answers only the columns that Postgres gives. */
function alike(answer: readonly Record<string, unknown>[], columns: readonly string[]): unknown[] {
  const plain = (value: unknown): unknown => {
    const text = String(value);
    return value === null || text === '' || Number.isNaN(Number(text)) ? value : Number(text);
  };
  return answer.map((row) => Object.fromEntries(columns.map((column) => [column, plain(row[column])])));
}

it('walhouse check names the rights that a user lacks, and the file that gives them', async () => {
  const client = createSinkClient({
    url: walhouse.options.clickhouseUrl.replace(
      `_writer:${PASSWORDS['writer']}`,
      `_reader:${PASSWORDS['reader']}`,
    ),
  });
  try {
    const { findings } = await checkSink({
      client,
      database: shop(),
      history: true,
      tables: [],
      sourceBytes: 0,
    });
    const lacking = findings.filter(({ name, ok }) => !ok && name.startsWith('rights'));
    expect(lacking.map(({ name }) => name)).toEqual([
      `rights on ${shop()}`,
      `rights on ${shop()}_landing`,
      `rights on ${shop()}_audit`,
      'rights elsewhere',
    ]);
    expect(lacking[3]!.detail).toContain('SELECT ON system.processes');
    for (const { fix } of lacking) expect(fix).toContain('clickhouse/roles/writer.sql');
  } finally {
    await client.close();
  }
});

describe('clickhouse/roles/analyst.sql', () => {
  let moment = '';

  beforeAll(async () => {
    await databases.postgres(`${TRIGGERS}
      create table names as select merchant_id, name, now() as at from merchants;
      create table payments_then as select * from payments`);
    const [now] = await databases.postgres<{ at: string }>(
      `select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') as at`,
    );
    moment = now!.at;
    const pay = (id: number, status: string, date: string): string =>
      `insert into payments values (${id}, 2, 3, 10.50, 'Visa', '${status}', ${date}, now())`;
    for (const sql of [
      pay(1001, 'Pending', 'now()'),
      pay(1002, 'Pending', `now() - interval '50 hours 30 minutes'`),
      `update merchants set name = 'Merchant two' where merchant_id = 2`,
      `insert into names select merchant_id, name, now() from merchants where merchant_id = 2`,
      pay(1003, 'Pending', 'now()'),
      `update payments set status = 'Paid' where payment_id in (1001, 1002)`,
      `update payments set amount = amount - 0.25 where payment_id in (1003, 5)`,
      `update payments set payment_date = payment_date - interval '30 hours 30 minutes' where payment_id = 1003`,
      `update payments set status = 'Paid', amount = 7 where payment_id = 1`,
      `delete from payments where payment_id = 1`,
    ])
      await databases.postgres(sql);
    await applied();
  }, 60_000);

  it('there are ten questions in docs/ANALYSTS.md', () => {
    expect(QUESTIONS).toHaveLength(10);
    expect(ON_POSTGRES).toHaveLength(10);
  });

  it.each(QUESTIONS.map(({ title, sql }, index) => ({ title, sql, index })))(
    'answers as Postgres does: $title',
    async ({ sql, index }) => {
      const answer = await rows(
        'anna',
        sql
          .replaceAll('shop.', `${shop()}.`)
          .replaceAll('shop_audit.', `${shop()}_audit.`)
          .replace(MOMENT, moment),
      );
      const expected = await databases.postgres(ON_POSTGRES[index]!);
      expect(expected.length).toBeGreaterThan(0);
      const columns = Object.keys(expected[0]!);
      // Its life begins with what the snapshot read, and a change before the log.
      const own = index === 5 ? answer.slice(-expected.length) : answer;
      expect(alike(own, columns)).toEqual(alike(expected, columns));
    },
  );

  it('sees every view and mart with its comments, and no table that something else is made of', async () => {
    const objects = await rows<{ database: string; name: string; engine: string; isAsked: number }>(
      'admin',
      `select database, name, engine, parameterized_view_parameters != [] as isAsked from system.tables
        where database in ('${shop()}', '${shop()}_audit') order by name`,
    );
    const views = objects.filter(({ engine }) => engine === 'View');
    const names = views.map(({ name }) => name);
    for (const name of ['payments', 'payments_at', 'payments_history', 'payments_daily', 'merchant_history'])
      expect(names).toContain(name);
    for (const { database, name, isAsked } of views)
      await rows('anna', `select * from ${database}.${name}${isAsked ? `(ts = '${moment}')` : ''} limit 1`);
    const others = objects.filter(({ engine }) => engine !== 'View');
    expect(others.length).toBeGreaterThan(0);
    await expectRefused(
      'anna',
      others.map(({ database, name }) => `select * from ${database}.${name} limit 1`),
    );
    const uncommented = await rows(
      'anna',
      `select database, name as table, '' as column from system.tables where database in ('${shop()}', '${shop()}_audit') and comment = ''
       union all
       select database, table, name from system.columns where database in ('${shop()}', '${shop()}_audit') and comment = ''`,
    );
    expect(uncommented).toEqual([]);
  });

  it('allows nothing beside that', async () => {
    const landing = await rows<{ name: string }>(
      'admin',
      `select name from system.tables where database = '${shop()}_landing' and not startsWith(name, '_walhouse_gone_')`,
    );
    await expectRefused('anna', [
      ...AROUND,
      ...landing.map(({ name }) => `select * from ${shop()}_landing.${name}`),
      `select * from mergeTreeIndex('${shop()}_landing', 'payments')`,
      `insert into ${shop()}.merchants (merchant_id) values (99)`,
      `alter table ${shop()}.payments_daily modify comment 'mine'`,
      `alter table ${shop()}.payments modify query select 1`,
      `create table ${shop()}.mine (a Int8) engine = Memory`,
      `create view ${shop()}.mine as select * from ${shop()}_landing.payments`,
      `create temporary table mine (a Int8)`,
      `drop view ${shop()}.payments`,
      `rename table ${shop()}.payments to ${shop()}.mine`,
      `select query from system.processes`,
      `show processlist`,
      `select * from system.parts`,
      `kill query where 1`,
      `set readonly = 0`,
      `set max_threads = 64`,
      `set additional_table_filters = {'${shop()}_landing.payments': 'throwIf(1)'}`,
      `select 1 settings max_threads = 64`,
    ]);
    expect(
      (await rows('anna', `select name from system.databases order by name`)).map(({ name }) => name),
    ).toEqual([shop(), `${shop()}_audit`]);
  });

  it('may set what drivers set, and limits up to its own', async () => {
    await rows('anna', 'select 1', {
      max_execution_time: 60,
      max_result_rows: 200,
      result_overflow_mode: 'break',
      session_timezone: 'Europe/Berlin',
      compile_aggregate_expressions: 0,
      output_format_binary_write_json_as_string: 1,
      enable_http_compression: 1,
      extremes: 0,
    });
    for (const [setting, value] of [
      ['max_execution_time', 61],
      ['max_execution_time', 0],
      ['max_memory_usage', 0],
      ['max_rows_to_read', 0],
      ['max_result_rows', 0],
    ] as const)
      expect((await as('anna', 'select 1', { [setting]: value })).text, setting).toContain(
        'SETTING_CONSTRAINT_VIOLATION',
      );
    expect((await as('anna', 'select count() from numbers(2000000000)')).text).toContain('TOO_MANY_ROWS');
    expect((await as('anna', 'select number from numbers(1000001) format Null')).text).toContain(
      'TOO_MANY_ROWS_OR_BYTES',
    );
  });

  it('sees no row past its retention, while landing still has it', async () => {
    await databases.postgres(
      `insert into payments values (2000, 2, 3, 1, 'Gone', 'Paid', now() - interval '2 years' + interval '2 seconds', now())`,
    );
    await applied();
    const seen = (): Promise<unknown[]> =>
      rows(
        'anna',
        [
          `select 'payments' as v from ${shop()}.payments where payment_id = 2000`,
          `select 'at' as v from ${shop()}.payments_at(ts = now64(6, 'UTC')) where payment_id = 2000`,
          `select 'history' as v from ${shop()}.payments_history where payment_id = 2000`,
          `select 'audit' as v from ${shop()}_audit.payments where key like '%2000%'`,
        ].join(' union all '),
      );
    expect(await seen()).toHaveLength(4);
    await expect.poll(seen, { timeout: 10_000, interval: 200 }).toEqual([]);
    expect(
      await rows('admin', `select payment_id from ${shop()}_landing.payments where payment_id = 2000`),
    ).toHaveLength(1);
    const { text } = await as(
      'admin',
      `select count() from ${shop()}_landing.payments where throwIf(method = 'Gone') = 0`,
    );
    expect(text).toContain('FUNCTION_THROW_IF_VALUE_IS_NON_ZERO');
    // Nor is it told by what a condition of the analyst's own would do with it.
    for (const from of [
      'payments',
      'payments_history',
      `payments_at(ts = now64(6, 'UTC'))`,
      'payments_daily',
    ])
      await rows('anna', `select count() from ${shop()}.${from} where throwIf(method = 'Gone') = 0`);
    await rows('anna', `select count() from ${shop()}_audit.payments where throwIf(after like '%Gone%') = 0`);
  }, 20_000);

  it('is made by the commands of the document, and reached by its curl', async () => {
    const blocks = [...DOCUMENT.matchAll(/```sh\n(.*?)```/gs)].map(([, block]) => block!);
    expect(blocks).toHaveLength(3);
    const [client, curl, ask] = blocks;
    const programs = join(directory, 'programs');
    mkdirSync(programs);
    writeFileSync(join(programs, 'clickhouse'), '#!/bin/sh\ncat\n', { mode: 0o755 });
    writeFileSync(join(directory, '.netrc'), `machine 127.0.0.1 login anna password ${PASSWORDS['anna']}\n`);
    const run = (block: string): Promise<string> =>
      promisify(execFile)('bash', ['-c', block.replaceAll('shop', shop())], {
        cwd: ROOT,
        env: {
          PATH: `${programs}:${process.env['PATH']}`,
          HOME: directory,
          HOST: 'localhost',
          ANNA_PASSWORD: PASSWORDS['anna'],
          CLICKHOUSE_URL: clickhouse.url,
        },
      }).then(
        ({ stdout }) => stdout,
        ({ stdout }: { stdout: string }) => stdout,
      );
    const made = roleStatements('analyst', { database: shop() });
    const values = { database: shop(), user: 'anna', password_sha256: sha256(PASSWORDS['anna']!) };
    const read = (text: string): string[] => text.replaceAll(/^--.*\n/gm, '').split(';').map((one) => one.trim()).filter((one) => one !== ''); // prettier-ignore
    expect(read(await run(client!))).toEqual([...made, ...roleStatements('analyst_user', values)]);
    // One statement after the other arrives; what they would change cannot be changed here.
    expect((await run(curl!)).match(/Code: \d+/g)).toHaveLength(made.length);
    expect(await run(ask!)).toContain('"Paid",');
  });

  it('is refused beyond its quota', async () => {
    // What reads no table but the system's own is not counted. Twice as many, since an hour may begin meanwhile.
    const ask = (): Promise<Answer> => as('anna', 'select count() from numbers(1)');
    for (let asked = 0; asked < 2 * QUERIES_MAX && (await ask()).ok; asked += 4)
      await Promise.all([ask(), ask(), ask()]);
    expect((await as('anna', `select count() from ${shop()}.payments`)).text).toContain('QUOTA_EXCEEDED');
  }, 30_000);
});

describe('the statements of clickhouse/roles', () => {
  it('are understood by ClickHouse, all of them', async () => {
    // The local server stores no users made by SQL, which it says after it has understood what they were to be.
    for (const sql of statements(shop())) {
      const { ok, text } = await as('admin', sql);
      if (!ok) expect(text, sql).toMatch(/\(ACCESS_STORAGE_(READONLY|FOR_INSERTION_NOT_FOUND)\)/);
    }
  });

  it('keep every table that a mart fills from analysts', () => {
    const revoked = readFileSync(join(ROOT, 'clickhouse/roles/analyst.sql'), 'utf8');
    const folders = readdirSync(join(ROOT, 'clickhouse')).filter((name) => name !== 'roles');
    const files = folders.flatMap((name) =>
      readdirSync(join(ROOT, 'clickhouse', name))
        .filter((file) => file.endsWith('.sql'))
        .map((file) => readFileSync(join(ROOT, 'clickhouse', name, file), 'utf8')),
    );
    const kept = files.flatMap((sql) =>
      [...sql.matchAll(/^create (?:table|materialized view) \{database\}\.(\w+)/gm)].map(([, name]) => name!),
    );
    expect(kept.length).toBeGreaterThan(0);
    for (const name of kept) expect(revoked).toMatch(new RegExp(`select on \\{database\\}\\.${name}\\b`));
  });
});
