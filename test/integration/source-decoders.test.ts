import pg from 'pg';
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from 'vitest';
import { silentLog } from '../../src/pipeline/log.js';
import type { Plugin } from '../../src/source/slot.js';
import { openSource } from '../../src/source/source.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';
import { prepare, type Call, type Prepared } from './source-recorder.js';

const WEIRD = 'Weird, "na.me"*\\ ü';

let databases: TestDatabases;
let plugins: Plugin[];
let prepared: Prepared[] = [];

beforeAll(async () => {
  databases = await createDatabases('source_decoders');
  plugins = databases.hasWal2json ? ['pgoutput', 'wal2json'] : ['pgoutput'];
});

afterAll(() => databases.close());

beforeEach(() => {
  prepared = [];
});

afterEach(async () => {
  for (const each of prepared) await each.dispose();
  await databases.postgres(
    'drop schema public cascade; create schema public; drop schema if exists "Sch,x" cascade',
  );
});

/** Runs the same SQL once and reads it through every decoder; they must say the same, which is returned. */
async function callsOf(
  setup: string,
  tables: readonly string[],
  sql: string | readonly string[],
): Promise<Call[]> {
  await databases.postgres(setup);
  for (const plugin of plugins) prepared.push(await prepare(databases, plugin, tables));
  for (const statement of typeof sql === 'string' ? [sql] : sql) await databases.postgres(statement);
  const records = [];
  for (const each of prepared) records.push(await each.read());
  for (const record of records.slice(1)) expect(record.calls).toEqual(records[0]!.calls);
  return records[0]!.calls;
}

const changesOf = (calls: readonly Call[]): Call[] =>
  calls.filter(({ call }) => call !== 'begin' && call !== 'commit');

describe('every decoder', () => {
  it('hands over a transaction whole, with its position, time and id', async () => {
    const calls = await callsOf(
      'create table a (id int primary key, v text)',
      ['public.a'],
      [
        'create table seen (xid int8)',
        `begin; insert into a values (1, 'x'); update a set v = 'y'; delete from a;
       insert into seen values (txid_current()); commit`,
      ],
    );
    expect(calls.map(({ call }) => call)).toEqual(['begin', 'insert', 'update', 'delete', 'commit']);
    const [begin, commit] = [calls[0]!, calls.at(-1)!];
    if (begin.call !== 'begin' || commit.call !== 'commit') throw new Error('no transaction');
    const [row] = await databases.postgres<{ xid: string }>('select xid from seen');
    expect(String(begin.xid)).toBe(row!.xid);
    expect(Math.abs(Number(begin.committedAtUs / 1000n) - Date.now())).toBeLessThan(60_000);
    expect(commit.commitLsn).toBe(begin.commitLsn);
    expect(commit.endLsn).toBeGreaterThan(commit.commitLsn);
  });

  it("gives each value's own text, exactly", async () => {
    await databases.postgres('create extension if not exists hstore');
    const columns: Record<string, readonly string[]> = {
      i8: ['int8', '9007199254740993', '-9223372036854775808'],
      i2: ['int2', '-32768', 'null'],
      n: ['numeric not null', '123456789012345678901234567890.000000000100', '0'],
      n2: ['numeric(12,2) not null', '1.50', '-0.01'],
      f4: ['float4 not null', '0.1', '1e-45'],
      f8: ['float8 not null', '0.1::float8 + 0.2', "'-0'"],
      b: ['bool', 'true', 'false'],
      t: ['text', `E'tab\\t nl\\n cr\\r bs\\b ff\\f \\x01\\x1f\\x7f " \\' \\\\ / \\u2028 😀 é'`, "''"],
      t2: ['text', `'\\N'`, 'null'],
      t3: ['text', `'NULL'`, `'null'`],
      c: ['char(5)', "'ab'", 'null'],
      by: ['bytea', `'\\x00ff5c'`, `'\\x'`],
      byd: ['bytea_domain', `'\\x00ff5c'`, `'\\x'`],
      nd: ['numeric_domain', '12.345', `'NaN'`],
      bd: ['bool_domain', 'true', 'false'],
      ts: ['timestamp', "'2026-11-21 09:00:00.123456'", "'infinity'"],
      tz: ['timestamptz', "'2026-11-21 09:00:00.123456+05:30'", "'4713-01-01 00:00:00+00 BC'"],
      d: ['date', "'1899-12-31'", "'5874897-12-31'"],
      ti: ['time', "'24:00:00'", 'null'],
      tt: ['timetz', "'12:34:56.789+02'", 'null'],
      iv: ['interval', "'1 year -2 months 3 days 04:05:06.789'", "'-1 day'"],
      u: ['uuid', "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", 'null'],
      j: ['json', `'{"a": 12345678901234567890, "b": "\\u00e9 \\\\ \\" "}'`, `'null'`],
      jb: ['jsonb', `'[1, {"k": "line\\nfeed"}]'`, '\'"scalar"\''],
      ar: ['text[]', `array['a,b', 'q"q', null, '', '\\']`, `'{}'`],
      ar2: ['int[]', `'{{1,2},{3,4}}'`, 'null'],
      en: ['mood', `'so "so"'`, `'ok'`],
      co: ['pair', `row(1, 'a,"b')`, 'null'],
      hs: ['public.hstore', `'a=>1, "b c"=>NULL'`, `''`],
      m: ['money', "'1234.56'", 'null'],
      bi: ['bit(4)', "B'1010'", 'null'],
      vb: ['varbit', "B'101'", "B''"],
      ip: ['inet', "'192.168.0.1/24'", "'::1'"],
      r: ['int4range', "'[1,5)'", "'empty'"],
      mr: ['int4multirange', "'{[1,3),[5,7)}'", 'null'],
      x: ['xml', `'<a b="1">é</a>'`, 'null'],
      o: ['oid', '4294967295', '0'],
      iv2: ['int2vector', "'1 2 3'", 'null'],
    };
    const names = Object.keys(columns);
    const setup = `
      create type mood as enum ('ok', 'so "so"'); create type pair as (a int, b text);
      create domain bytea_domain as bytea; create domain bool_domain as bool;
      create domain numeric_domain_base as numeric; create domain numeric_domain as numeric_domain_base;
      create table v (id int primary key, ${names.map((name) => `${name} ${columns[name]![0]}`).join(', ')})`;
    const values = (index: number): string => names.map((name) => columns[name]![index]).join(', ');
    const calls = await callsOf(
      setup,
      ['public.v'],
      [`insert into v values (1, ${values(1)})`, `insert into v values (2, ${values(2)})`],
    );
    // format() uses each type's output function, as decoding does.
    const session = new pg.Client({
      connectionString: databases.postgresUrl,
      options:
        '-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=1 -c bytea_output=hex',
    });
    await session.connect();
    const texts = names.map(
      (name) => `case when ${name}::text is not null then format('%s', ${name}) end as ${name}`,
    );
    const { rows: expected } = await session.query(`select id::text, ${texts.join(', ')} from v order by id`);
    await session.end();
    const rows = changesOf(calls).map((change) => (change.call === 'insert' ? change.row : null));
    expect(rows).toEqual(expected);
  });

  it('gives the old row under FULL, the old key where it changed, and nothing where it did not', async () => {
    const calls = await callsOf(
      `create table f (id int primary key, v text); alter table f replica identity full;
       create table d (id int primary key, v text);
       create table i (id int primary key, k1 int not null, k2 text not null, v text, unique (k2, k1));
       alter table i replica identity using index i_k2_k1_key`,
      ['public.f', 'public.d', 'public.i'],
      `begin;
       insert into f values (1, 'a'); insert into d values (1, 'a'); insert into i values (1, 2, 'x', 'a');
       update f set v = null; update f set id = 2; delete from f;
       update d set v = 'b'; update d set id = 2; delete from d;
       update i set v = 'b', id = 5; update i set k1 = 3; delete from i;
       commit`,
    );
    expect(changesOf(calls).slice(3)).toEqual([
      { call: 'update', table: 'public.f', old: { id: '1', v: 'a' }, row: { id: '1', v: null } },
      { call: 'update', table: 'public.f', old: { id: '1', v: null }, row: { id: '2', v: null } },
      { call: 'delete', table: 'public.f', old: { id: '2', v: null } },
      { call: 'update', table: 'public.d', old: null, row: { id: '1', v: 'b' } },
      { call: 'update', table: 'public.d', old: { id: '1' }, row: { id: '2', v: 'b' } },
      { call: 'delete', table: 'public.d', old: { id: '2' } },
      { call: 'update', table: 'public.i', old: null, row: { id: '5', k1: '2', k2: 'x', v: 'b' } },
      {
        call: 'update',
        table: 'public.i',
        old: { k1: '2', k2: 'x' },
        row: { id: '5', k1: '3', k2: 'x', v: 'b' },
      },
      { call: 'delete', table: 'public.i', old: { k1: '3', k2: 'x' } },
    ]);
  });

  it('leaves an unchanged TOAST value out of the new row, and keeps a real null', async () => {
    const big = 'x'.repeat(9_000);
    const calls = await callsOf(
      `create table d (id int primary key, big text, v text); alter table d alter big set storage external;
       create table f (id int primary key, big text, v text); alter table f alter big set storage external;
       alter table f replica identity full;
       create table k (big text primary key, v text); alter table k alter big set storage external`,
      ['public.d', 'public.f', 'public.k'],
      `begin;
       insert into d values (1, '${big}', 'a'); insert into f values (1, '${big}', 'a');
       insert into k values ('${big.slice(0, 2_500)}', 'a');
       update d set v = 'b'; update f set v = 'b'; update k set v = 'b';
       update d set big = null; update f set big = null;
       commit`,
    );
    const key = big.slice(0, 2_500);
    expect(changesOf(calls).slice(3)).toEqual([
      { call: 'update', table: 'public.d', old: null, row: { id: '1', v: 'b' } },
      { call: 'update', table: 'public.f', old: { id: '1', big, v: 'a' }, row: { id: '1', v: 'b' } },
      { call: 'update', table: 'public.k', old: null, row: { big: key, v: 'b' } },
      { call: 'update', table: 'public.d', old: null, row: { id: '1', big: null, v: 'b' } },
      {
        call: 'update',
        table: 'public.f',
        old: { id: '1', big, v: 'b' },
        row: { id: '1', big: null, v: 'b' },
      },
    ]);
  });

  it('tells of a truncate of several tables at once, in its place', async () => {
    const calls = await callsOf(
      `create table a (id int primary key); create table b (id int primary key references a); create table c (id int primary key)`,
      ['public.a', 'public.b'],
      `begin; insert into a values (1); truncate a cascade; insert into a values (2); truncate c; truncate a cascade; commit`,
    );
    expect(changesOf(calls)).toEqual([
      { call: 'insert', table: 'public.a', row: { id: '1' } },
      { call: 'truncate', tables: ['public.a', 'public.b'] },
      { call: 'insert', table: 'public.a', row: { id: '2' } },
      { call: 'truncate', tables: ['public.a', 'public.b'] },
    ]);
  });

  it('finds tables and columns whatever their names', async () => {
    const quoted = `"${WEIRD.replaceAll('"', '""')}"`;
    const calls = await callsOf(
      `create schema "Sch,x"; create table "Sch,x".${quoted} ("select" int primary key, "Co ""l"" \\ ü" text);
       create table "Sch,x"."*" (id int primary key); create table public."Order" (id int primary key);
       create table public.plain_but_other (id int primary key)`,
      [`Sch,x.${WEIRD}`, 'Sch,x.*', 'public.Order'],
      [
        `insert into "Sch,x".${quoted} values (1, 'v'); insert into "Sch,x"."*" values (2)`,
        'insert into public."Order" values (3); insert into public.plain_but_other values (4)',
        `update "Sch,x".${quoted} set "select" = 5`,
      ],
    );
    expect(changesOf(calls)).toEqual([
      { call: 'insert', table: `Sch,x.${WEIRD}`, row: { select: '1', 'Co "l" \\ ü': 'v' } },
      { call: 'insert', table: 'Sch,x.*', row: { id: '2' } },
      { call: 'insert', table: 'public.Order', row: { id: '3' } },
      {
        call: 'update',
        table: `Sch,x.${WEIRD}`,
        old: { select: '1' },
        row: { select: '5', 'Co "l" \\ ü': 'v' },
      },
    ]);
  });

  it('says nothing of rolled back work and of transactions that touch no configured table', async () => {
    const calls = await callsOf(
      'create table a (id int primary key); create table other (id int)',
      ['public.a'],
      [
        'begin; insert into a values (1); rollback',
        'begin; insert into a values (2); savepoint s; insert into a values (3); rollback to s; insert into a values (4); commit',
        'insert into other select generate_series(1, 100)',
        `select pg_logical_emit_message(true, 'x', 'y'), pg_logical_emit_message(false, 'x', 'y')`,
      ],
    );
    expect(calls.map(({ call }) => call)).toEqual(['begin', 'insert', 'insert', 'commit']);
    expect(changesOf(calls)).toMatchObject([{ row: { id: '2' } }, { row: { id: '4' } }]);
  });

  it('stops at a column that the catalog did not have, and at one that is gone', async () => {
    await databases.postgres(
      'create table a (id int primary key, v text); create table b (id int primary key, v text)',
    );
    for (const plugin of plugins) {
      prepared.push(await prepare(databases, plugin, ['public.a']));
    }
    await databases.postgres('alter table a add column w int; insert into a values (1, $$x$$, 2)');
    for (const each of prepared)
      await expect(each.read()).rejects.toMatchObject({
        kind: 'schema_changed',
        what: expect.stringContaining('public.a') as string,
      });
    for (const each of prepared.splice(0)) await each.dispose();
    for (const plugin of plugins) prepared.push(await prepare(databases, plugin, ['public.b']));
    await databases.postgres('alter table b drop column v; insert into b values (1)');
    for (const each of prepared)
      await expect(each.read()).rejects.toMatchObject({
        kind: 'schema_changed',
        fix: 'walhouse resync public.b',
      });
  });
});

describe('wal2json alone', () => {
  it('stops where a table loses its replica identity, of which it only warns', async ({ skip }) => {
    if (!databases.hasWal2json) skip();
    await databases.postgres('create table a (id int primary key, v text)');
    const one = await prepare(databases, 'wal2json', ['public.a']);
    prepared.push(one);
    await databases.postgres(
      'insert into a values (1); alter table a replica identity nothing; alter table a drop constraint a_pkey',
    );
    await databases.postgres(`update a set v = 'b'`);
    await expect(one.read()).rejects.toMatchObject({ kind: 'table_no_identity' });
  });

  it('knows that a null in a NOT NULL numeric(p,s) was NaN', async ({ skip }) => {
    if (!databases.hasWal2json) skip();
    await databases.postgres('create table a (id int primary key, n numeric(8,2) not null)');
    const one = await prepare(databases, 'wal2json', ['public.a']);
    prepared.push(one);
    await databases.postgres(`insert into a values (1, 'NaN')`);
    expect((await one.read()).changes).toMatchObject([{ row: { id: '1', n: 'NaN' } }]);
  });
});

describe('pgoutput alone', () => {
  it("gives a partition's rows under its root's name, also those of a partition made later", async () => {
    await databases.postgres(
      `create table p (id int, at date, v text, primary key (id, at)) partition by range (at);
       create table p1 partition of p for values from ('2026-01-01') to ('2026-02-01')`,
    );
    const one = await prepare(databases, 'pgoutput', ['public.p']);
    prepared.push(one);
    await databases.postgres(`insert into p values (1, '2026-01-05', 'a')`);
    // Its columns stand in another order.
    await databases.postgres(
      `create table p2 (v text, at date not null, id int not null, primary key (id, at));
       alter table p attach partition p2 for values from ('2026-02-01') to ('2026-03-01')`,
    );
    await databases.postgres(`update p set at = '2026-02-05'; delete from p`);
    expect((await one.read()).changes).toEqual([
      { call: 'insert', table: 'public.p', row: { id: '1', at: '2026-01-05', v: 'a' } },
      { call: 'delete', table: 'public.p', old: { id: '1', at: '2026-01-05' } },
      { call: 'insert', table: 'public.p', row: { id: '1', at: '2026-02-05', v: 'a' } },
      { call: 'delete', table: 'public.p', old: { id: '1', at: '2026-02-05' } },
    ]);
  });

  it('stops when a configured table is renamed', async () => {
    await databases.postgres('create table a (id int primary key)');
    const one = await prepare(databases, 'pgoutput', ['public.a']);
    prepared.push(one);
    await databases.postgres('alter table a rename to z; insert into z values (1)');
    await expect(one.read()).rejects.toMatchObject({ kind: 'schema_changed' });
  });
});

describe('the choice of a decoder', () => {
  const TABLES = `create table whole (id int primary key, n numeric not null, f float8 not null);
    create table nullable (id int primary key, n numeric(8,2));
    create domain ratio as float8; create table domains (id int primary key, r ratio);
    create table generated (id int primary key, g int generated always as (id * 2) stored);
    create table both_kinds (id int primary key, f float4, g int generated always as (id * 2) stored)`;

  it.each<['auto' | Plugin, string, Plugin | 'refused']>([
    ['wal2json', 'whole', 'wal2json'],
    ['wal2json', 'nullable', 'pgoutput'],
    ['wal2json', 'domains', 'wal2json'],
    ['wal2json', 'generated', 'wal2json'],
    ['wal2json', 'both_kinds', 'refused'],
    ['auto', 'whole', 'pgoutput'],
    ['auto', 'nullable', 'pgoutput'],
    ['auto', 'generated', 'wal2json'],
    ['auto', 'both_kinds', 'refused'],
    ['pgoutput', 'generated', 'refused'],
  ])('loses no value: decoder %s, table %s: %s', async (decoder, table, chosen) => {
    if (!databases.hasWal2json) return;
    await databases.postgres(TABLES);
    const source = await openSource({
      url: databases.postgresUrl,
      slot: `${databases.name}_none`,
      publication: `${databases.name}_none`,
      decoder,
      tables: [`public.${table}`],
      log: silentLog,
    });
    try {
      const choice = source.ensurePublication().then(() => source.decoder);
      if (chosen !== 'refused') expect(await choice).toBe(chosen);
      else
        await expect(choice).rejects.toMatchObject({
          kind: 'table_unsupported',
          what: expect.stringContaining(`public.${table}.g`) as string,
          fix: expect.stringContaining('drop expression') as string,
        });
    } finally {
      await source.close();
      await databases.postgres(`drop publication if exists ${databases.name}_none`);
    }
  });

  it('a table of a wal2json slot is refused once a column may be null or NaN, with how the position is kept', async ({
    skip,
  }) => {
    if (!databases.hasWal2json) skip();
    await databases.postgres('create table a (id int primary key, f float8 not null)');
    const one = await prepare(databases, 'wal2json', ['public.a']);
    prepared.push(one);
    await databases.postgres('alter table a alter f drop not null');
    for (const decoder of ['auto', 'wal2json'] as const) {
      const source = await openSource({
        url: databases.postgresUrl,
        slot: `${databases.name}_wal2json`,
        publication: `${databases.name}_wal2json`,
        decoder,
        tables: ['public.a'],
        log: silentLog,
      });
      const { relations, problems } = await source.survey();
      await source.close();
      expect(relations).toEqual([]);
      expect(problems.get('public.a')).toMatchObject({
        kind: 'table_unsupported',
        fix: expect.stringContaining('pg_copy_logical_replication_slot') as string,
      });
    }
    // `dispose` needs no decision.
    await databases.postgres('update a set f = 0; alter table a alter f set not null');
  });
});
