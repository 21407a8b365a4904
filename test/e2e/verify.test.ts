import { execFile } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from '../../src/dev/servers/ports.js';
import { loadOf } from '../../src/ops/verify/load.js';
import type { TableReport, VerifyReport } from '../../src/ops/verify/report.js';
import { verifyTable } from '../../src/ops/verify/verify-table.js';
import { formatLsn } from '../../src/pipeline/lsn.js';
import { createSinkClient } from '../../src/sink/client.js';
import { readSelected } from '../../src/source/selection.js';
import { Scenario } from '../support/scenario.js';
import { PROGRAM } from '../support/program.js';

const ROOT = new URL('../../', import.meta.url).pathname;
const LARGE_ROWS = 200_000;

let scenario: Scenario;
beforeAll(async () => {
  scenario = await Scenario.open('verify', {
    schema: `
      create type mood as enum ('calm', 'it''s "odd"');
      create domain short as varchar(20);
      create table payments (id bigint primary key, amount numeric(12,2), status text, at timestamptz not null);
      alter table payments replica identity full;
      create table "Odd ""Names""" ("Key, one" text, "key two" int, "Value" text, primary key ("Key, one", "key two"));
      create table kinds (
        id uuid primary key, b bool, i2 int2, i4 int4, o oid, n numeric, n0 numeric(5,0), f4 float4, f8 float8, d date, t timestamp,
        tz timestamptz, raw bytea, c char(6), v varchar(10), s short, m mood, j json, jb jsonb, ip inet, iv interval, ti time,
        ia int[], ta text[], r int4range, mo money, bi bit(5));
      create table by_time (at timestamptz, raw bytea, d date, price numeric(8,3), primary key (at, raw, d, price));
      create table events (id int primary key, on_day date, what text);
      alter table events replica identity full;
      create table held (id int primary key, n numeric(5,2));
      create table letters (k int primary key, r text, v text, c text, b text, n text, s text, h text, texts text, kind text, _walhouse text);
      alter table letters replica identity full;`,
    tables: {
      'public.payments': {},
      'public.Odd "Names"': {},
      'public.kinds': {},
      'public.by_time': {},
      'public.held': {},
      'public.letters': {},
      'public.events': { retention: { column: 'on_day', keep: '1 year' } },
    },
  });
  await scenario.sql(`
    insert into payments select i, i / 100.0, case i % 3 when 0 then null when 1 then '' else 'Paid' end, timestamptz '2026-01-01' + i * interval '1.000001 second'
      from generate_series(1, ${LARGE_ROWS}) i;
    insert into "Odd ""Names""" values ('a', 1, null), ('a', 2, ''), ('A', 1, 'x'), ('ä', 1, 'ü🙂'), ('a,1', 1, E'tab\\t\\\\N'), ('', 0, '~'), ('b', 1, '1:a'), ('quote''d \\', 1, 'NULL');
    insert into kinds (id) values (gen_random_uuid());
    insert into kinds values
      (gen_random_uuid(), true, -32768, 2147483647, 4294967295, 1e130, 42, 1e-45, '-0', '1900-01-01', '1999-12-31 23:59:59.999999', '2299-12-31 00:00:00.000001',
       '\\x00ff5c', 'ab', 'c ', 'd', 'calm', '{"a": 1.0}', '{"b":  9007199254740993}', '10.0.0.1', '1 mon -3 days', '24:00:00', '{1,NULL,3}', '{"a,b",NULL,"NULL",""}', '[1,5)', 12.34, B'10101'),
      (gen_random_uuid(), false, 0, 0, 0, 'NaN', -1, 'NaN', 'Infinity', '2299-12-31', '1900-01-01', '1969-12-31 23:59:59.5',
       '', '', '', '', 'it''s "odd"', 'null', 'null', '::1/64', '0', '00:00', '{}', '{}', 'empty', 0, B'00000');
    insert into by_time select timestamptz '2000-01-01' + i * interval '0.1 second', decode(lpad(to_hex(i), 4, '0'), 'hex'), date '1999-12-30' + i, i / 8.0 from generate_series(1, 600, 17) i;
    insert into by_time values ('2000-01-01 00:00:00.000001', '\\x', '2000-01-01', 0), ('1969-12-31 23:59:59.999999', '\\x5c00', '1970-01-01', -0.001);
    insert into events select i, current_date - i * 10, 'day ' || i from generate_series(0, 100) i;
    insert into events values (1000, null, 'never');
    insert into letters select i, 'r' || i, 'v' || i, 'c' || i, 'b' || i, 'n', 's', 'h', 'texts', 'kind', '' from generate_series(1, 30) i;
    insert into held select i, i / 4.0 from generate_series(1, 50) i`);
  await scenario.walhouse.start();
  await scenario.applied();
});
afterAll(() => scenario.close());

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const verify = (...args: string[]): Promise<Ended> => verifyWith(scenario.walhouse.configPath, ...args);

function verifyWith(configPath: string, ...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...PROGRAM, 'verify', '--config', configPath, ...args],
      { cwd: ROOT, timeout: 60_000 },
      (error, stdout, stderr) => {
        resolve({
          code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1,
          stdout,
          stderr,
        });
      },
    );
  });
}

async function verifyOne(table: string): Promise<TableReport & { code: number }> {
  const { code, stdout, stderr } = await verify(table, '--json');
  expect(stderr).toBe('');
  return { code, ...(JSON.parse(stdout) as VerifyReport).tables[0]! };
}

const landing = (name: string): string =>
  `\`${scenario.databases.clickhouseDatabase}_landing\`.\`${name.replaceAll('`', '\\`')}\``;
const clickhouse = (sql: string): Promise<unknown> => scenario.databases.clickhouse(sql);

describe('walhouse verify', () => {
  it('finds every type, composite keys and odd names equal', async () => {
    const { code, stdout, stderr } = await verify('--json', '--max-load', '2');
    const report = JSON.parse(stdout) as VerifyReport;
    for (const table of report.tables) {
      expect(table, JSON.stringify(table)).toMatchObject({
        verdict: 'equal',
        columns: { unchecked: [] },
        in_flux: 0,
      });
    }
    expect(report.tables.map((table) => table.rows_postgres)).toEqual([LARGE_ROWS, 8, 3, 38, 50, 30, 38]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  it('raises no false alarm while rows are inserted, updated, deleted and renumbered', async () => {
    const writer = new pg.Client({ connectionString: scenario.databases.postgresUrl });
    await writer.connect();
    let writing = true;
    let written = 0;
    const write = async (): Promise<void> => {
      for (let i = 1; writing; i += 1) {
        const id = (i * 7919) % 150_000;
        await writer.query(`update payments set amount = amount + 1 where id between ${id} and ${id + 5}`);
        await writer.query(`insert into payments values (${1_000_000 + i}, ${i}, 'new', now())`);
        await writer.query(`delete from payments where id = ${160_000 + i}`);
        await writer.query(`update payments set id = -id where id = ${180_000 + i}`);
        // A row that is changed all the time.
        await writer.query(`update payments set status = 'hot ${i}' where id = 1`);
        written = i;
        await sleep(2);
      }
    };
    const done = write();
    try {
      await expect.poll(() => written).toBeGreaterThan(20);
      const before = written;
      const report = await verifyOne('payments');
      expect(written).toBeGreaterThan(before + 20);
      expect(report).toMatchObject({ verdict: 'equal', missing: 0, extra: 0, different: 0, code: 0 });
      // Rows did change meanwhile, and were followed to later positions.
      expect(report.passes).toBeGreaterThan(1);
      expect(report.in_flux).toBeLessThan(50);
    } finally {
      writing = false;
      await done;
      await writer.end();
    }
    await scenario.applied();
    expect(await verifyOne('payments')).toMatchObject({ verdict: 'equal', in_flux: 0, passes: 1 });
  });

  it('finds rows that were changed, deleted and added by hand, and reads few others for it', async () => {
    const table = landing('payments');
    await clickhouse(
      `alter table ${table} update amount = amount + toDecimal64('0.01', 2) where id = 777 settings mutations_sync = 2`,
    );
    await clickhouse(
      `alter table ${table} update status = '' where id = 900 and status is null settings mutations_sync = 2`,
    );
    await clickhouse(
      `alter table ${table} update at = addMicroseconds(at, 1) where id = 5001 settings mutations_sync = 2`,
    );
    await clickhouse(`alter table ${table} delete where id = 1234 settings mutations_sync = 2`);
    await clickhouse(
      `insert into ${table} select 77777777 as id, amount, status, at, _version, _is_deleted, _committed_at, _synced_at from ${table} as t final where t.id = 3001`,
    );
    const report = await verifyOne('public.payments');
    expect(report).toMatchObject({
      code: 1,
      verdict: 'different',
      missing: 1,
      extra: 1,
      different: 3,
      different_columns: { amount: 1, status: 1, at: 1 },
      samples: { missing: [['1234']], extra: [['77777777']] },
      complete: true,
    });
    expect(report.samples.different.map(([id]) => id).sort()).toEqual(['5001', '777', '900']);
    expect(report.rows_by_key).toBeGreaterThan(0);
    expect(report.rows_by_key).toBeLessThan(report.rows_postgres / 10);
  });

  it('takes a row with a version that nothing has committed for what it is', async () => {
    await clickhouse(
      `insert into ${landing('held')} select id, 99 as n, _version * 1000, 0, _committed_at, _synced_at from ${landing('held')} as t final where t.id = 7`,
    );
    expect(await verifyOne('held')).toMatchObject({
      code: 1,
      verdict: 'different',
      different: 1,
      different_columns: { n: 1 },
      samples: { different: [['7']] },
      in_flux: 0,
    });
    await clickhouse(`alter table ${landing('held')} delete where n = 99 settings mutations_sync = 2`);
  });

  it('leaves out rows past their retention, purged or not', async () => {
    await clickhouse(`system stop merges ${landing('events')}`);
    await scenario.sql(
      `insert into events values (2000, current_date - 400, 'old'), (2001, current_date - 1, 'new')`,
    );
    await scenario.applied();
    const [found] = await scenario.databases.clickhouse<{ n: string }>(
      `select count() as n from ${landing('events')} where id = 2000`,
    );
    expect(Number(found!.n)).toBe(1);
    expect(await verifyOne('events')).toMatchObject({ code: 0, verdict: 'equal', rows_postgres: 39 });
    await clickhouse(`system start merges ${landing('events')}`);
  });

  it('counts quarantined rows apart', async () => {
    await scenario.sql(`insert into held values (100, 'NaN')`);
    await scenario.applied();
    expect(await verifyOne('held')).toMatchObject({
      // The row that the hand replaced was merged away with it, or not.
      quarantined: 1,
      different: 0,
      extra: 0,
    });
  });

  it('tells the last bit of a float, the last microsecond of a key and null from an empty text', async () => {
    const kinds = landing('kinds');
    await clickhouse(
      `alter table ${kinds} update f8 = 0, ia = [1, 3, NULL] where i2 = -32768 settings mutations_sync = 2`,
    ).catch(() =>
      clickhouse(
        `alter table ${kinds} update f8 = 0, ia = '{1,3,NULL}' where i2 = -32768 settings mutations_sync = 2`,
      ),
    );
    await clickhouse(`alter table ${kinds} update raw = '\\0' where i2 = 0 settings mutations_sync = 2`);
    expect(await verifyOne('kinds')).toMatchObject({
      code: 1,
      different: 2,
      different_columns: { f8: 1, ia: 1, raw: 1 },
    });
    const byTime = landing('by_time');
    await clickhouse(
      `insert into ${byTime} select addMicroseconds(at, 1), raw, d, price, _version, 0, _committed_at, _synced_at from ${byTime} final where price = 0`,
    );
    await clickhouse(`alter table ${byTime} delete where price < 0 settings mutations_sync = 2`);
    const report = await verifyOne('by_time');
    expect(report).toMatchObject({ code: 1, missing: 1, extra: 1, different: 0 });
    expect(report.samples.missing).toEqual([
      ['1969-12-31 23:59:59.999999+00', '\\x5c00', '1970-01-01', '-0.001'],
    ]);
  });

  it('is not confused by what columns are called', async () => {
    await clickhouse(
      `alter table ${landing('letters')} update v = 'other' where k = 5 settings mutations_sync = 2`,
    );
    expect(await verifyOne('letters')).toMatchObject({
      different: 1,
      different_columns: { v: 1 },
      samples: { different: [['5']] },
    });
  });

  it('finds composite text keys under odd names, and says so to a person', async () => {
    const odd = landing('Odd "Names"');
    await clickhouse(`alter table ${odd} update Value = '' where Value is null settings mutations_sync = 2`);
    await clickhouse(
      `alter table ${odd} delete where \`Key, one\` = 'quote\\'d \\\\' settings mutations_sync = 2`,
    );
    const { code, stdout } = await verify('public.Odd "Names"');
    expect(code).toBe(1);
    expect(stdout).toContain('DIFFERENT');
    expect(stdout).toContain(`1 missing in ClickHouse: (quote'd \\, 1)`);
    expect(stdout).toContain('1 different: (a, 1)');
    expect(stdout).toContain('they differ in Value (1)');
    expect(stdout).not.toContain('🙂');
  });

  it('needs to read the tables and to replicate, and nothing else', async () => {
    const role = `reader_${scenario.databases.name}`;
    await scenario.sql(
      `create role ${role} login replication password 'reader'; alter role ${role} set default_transaction_read_only = on; grant select on all tables in schema public to ${role}`,
    );
    const url = new URL(scenario.databases.postgresUrl);
    url.username = role;
    url.password = 'reader';
    const { configPath } = scenario.walhouse;
    const path = `${configPath}.reader.yaml`;
    writeFileSync(
      path,
      readFileSync(configPath, 'utf8').replaceAll(scenario.databases.postgresUrl, url.href),
    );
    try {
      const { code, stdout } = await verifyWith(path, 'public.by_time', '--json');
      // It differs, as the test before has left it.
      expect((JSON.parse(stdout) as VerifyReport).tables[0]).toMatchObject({
        verdict: 'different',
        missing: 1,
      });
      expect(code).toBe(1);
    } finally {
      rmSync(path);
      await scenario.sql(`drop owned by ${role}; drop role ${role}`);
    }
    const reading = createSinkClient({ url: scenario.databases.clickhouseUrl }, { readOnly: true });
    await expect(reading.command({ query: `truncate table ${landing('held')}` })).rejects.toMatchObject({
      type: 'READONLY',
    });
    await reading.close();
  });

  it('takes another position when the table was copied after its own, since a copy has no trace of rows deleted before it', async () => {
    const { databases, walhouse } = scenario;
    const source = new pg.Client({ connectionString: databases.postgresUrl });
    await source.connect();
    const clickhouse = createSinkClient({ url: databases.clickhouseUrl });
    let copied = false;
    try {
      await scenario.sql('insert into letters (k, r) select i, i from generate_series(1001, 1010) i');
      await scenario.applied();
      const [relation] = await readSelected(source, ['public.letters'], {});
      const { report } = await verifyTable({
        sourceUrl: databases.postgresUrl,
        clickhouse,
        database: databases.clickhouseDatabase,
        relation: relation!,
        evenOther: false,
        load: loadOf(1),
        async applied(position) {
          if (!copied) {
            copied = true;
            await scenario.sql('delete from letters where k > 1000');
            await fetch(`${walhouse.url}/v1/tables/public.letters/resync`, { method: 'POST' });
            const copy = `select 1 from ${databases.clickhouseDatabase}_landing._walhouse_tables final
              where id = 'public.letters' and state = 'streaming' and snapshot_lsn > ${position}`;
            await expect.poll(() => databases.clickhouse(copy), { timeout: 30_000 }).toHaveLength(1);
            // What the former copy has left is cleared away first.
            await expect
              .poll(async () => (await walhouse.status()).tables['public.letters']!.state, {
                timeout: 30_000,
              })
              .toBe('streaming');
          }
          await walhouse.applied(formatLsn(position));
          return walhouse.status();
        },
      });
      expect(report).toMatchObject({ verdict: 'equal', missing: 0, extra: 0, error: null });
    } finally {
      await clickhouse.close();
      await source.end();
    }
  });

  it.each([
    ['a column is added', 'add column added text'],
    ['a column is added that rewrites the rows', 'add column id uuid default gen_random_uuid()'],
    ['the rows are rewritten and no column changes', `alter column r type text using r || '!'`],
    ['a column is dropped', 'drop column texts'],
  ])('finds no difference while the service has yet to see that %s', async (_, alteration) => {
    await scenario.sql(`alter table letters ${alteration}`);
    const verdicts: string[] = [];
    while (verdicts.length < 10 && verdicts.at(-1) !== 'equal')
      verdicts.push((await verifyOne('letters')).verdict);
    expect(verdicts.at(-1)).toBe('equal');
    expect(new Set(verdicts.slice(0, -1)), verdicts.join()).toEqual(
      new Set(verdicts.length === 1 ? [] : ['not_compared']),
    );
  });

  it('tells of a column that somebody has dropped in ClickHouse', async () => {
    await clickhouse(`alter table ${landing('letters')} drop column h`);
    expect(await verifyOne('letters')).toMatchObject({
      verdict: 'different',
      columns: { missing: ['h'], extra: [] },
    });
  });

  it('refuses tables and loads that there are not', async () => {
    const unknown = await verify('public.paymets');
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toContain('public.payments');
    expect((await verify('--max-load', '0')).code).toBe(2);
    expect((await verify('--max-load', 'much')).code).toBe(2);
    expect((await verify('--config', '/does/not/exist.yaml')).code).toBe(2);
  });

  it('asks ClickHouse how a table stands where the service cannot be reached', async () => {
    const { configPath } = scenario.walhouse;
    const elsewhere = `${configPath}.elsewhere.json`;
    writeFileSync(
      elsewhere,
      readFileSync(configPath, 'utf8').replace(
        /"listen":"[^"]+"/,
        `"listen":"127.0.0.1:${await freePort()}"`,
      ),
    );
    const seen = async (): Promise<unknown> => {
      const { stdout } = await verifyWith(elsewhere, 'public.events', '--json');
      const { verdict, error } = (JSON.parse(stdout) as VerifyReport).tables[0]!;
      return { verdict, what: error?.what ?? null };
    };
    const say = (state: string): Promise<unknown> =>
      clickhouse(
        `insert into ${landing('_walhouse_tables')} select * replace('${state}' as state, saved_at + interval 1 microsecond as saved_at)
           from ${landing('_walhouse_tables')} final where id = 'public.events'`,
      );
    await scenario.sql(`insert into events values (150, current_date, 'new')`);
    expect(await seen()).toEqual({ verdict: 'equal', what: null });
    await say('snapshotting');
    expect(await seen()).toEqual({ verdict: 'not_compared', what: 'public.events is snapshotting.' });
    await say('streaming');
    expect(await seen()).toEqual({ verdict: 'equal', what: null });
  });

  it('says that it could not compare when ClickHouse is behind and nobody brings it on', async () => {
    await scenario.walhouse.stop();
    await scenario.sql(`insert into held values (200, 1)`);
    const report = await verifyOne('held');
    expect(report).toMatchObject({ code: 1, verdict: 'not_compared' });
    expect(report.error).toMatchObject({ kind: 'sink_timeout', fix: 'walhouse run' });
  });

  it('leaves no slot behind', async () => {
    const slots = await scenario.sql(
      `select slot_name from pg_replication_slots where database = current_database() and temporary`,
    );
    expect(slots).toEqual([]);
  });
});
