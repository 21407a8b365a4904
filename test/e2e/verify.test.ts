import { execFile } from 'node:child_process';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TableReport, VerifyReport } from '../../src/ops/verify/report.js';
import { Scenario } from '../support/scenario.js';

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
      alter table events replica identity full;`,
    tables: {
      'public.payments': {},
      'public.Odd "Names"': {},
      'public.kinds': {},
      'public.by_time': {},
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
    insert into by_time select timestamptz '2000-01-01' + i * interval '0.1 second', decode(to_hex(i + 255), 'hex'), date '1999-12-30' + i, i / 8.0 from generate_series(1, 600, 17) i where length(to_hex(i + 255)) % 2 = 0;
    insert into by_time values ('2000-01-01 00:00:00.000001', '\\x', '2000-01-01', 0), ('1969-12-31 23:59:59.999999', '\\x5c00', '1970-01-01', -0.001);
    insert into events select i, current_date - i * 10, 'day ' || i from generate_series(0, 100) i;
    insert into events values (1000, null, 'never')`);
  await scenario.walhouse.start();
  await scenario.applied();
});
afterAll(() => scenario.close());

function verify(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['--import', 'tsx', 'src/cli/main.ts', 'verify', '--config', scenario.walhouse.configPath, ...args],
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
    expect(report.tables.map((table) => table.rows_postgres)).toEqual([
      LARGE_ROWS,
      8,
      3,
      expect.any(Number),
      38,
    ]);
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });
});
