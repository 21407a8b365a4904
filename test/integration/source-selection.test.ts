import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type LocalPostgres, startPostgres } from '../../src/dev/servers/postgres.js';
import type { WalhouseError } from '../../src/pipeline/errors.js';
import { silentLog } from '../../src/pipeline/log.js';
import { checkSource } from '../../src/source/check.js';
import type { SelectionOptions } from '../../src/source/selection.js';
import { openSource, type PostgresSource, type SourceOptions } from '../../src/source/source.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';
import { prepare, rowOf, type Row } from './source-recorder.js';

let databases: TestDatabases;
const sources: PostgresSource[] = [];

beforeAll(async () => {
  databases = await createDatabases('source_selection');
});

afterAll(() => databases.close());

afterEach(async () => {
  for (const source of sources.splice(0)) await source.close();
  await databases.postgres(
    `drop publication if exists ${databases.name}; drop schema public cascade; create schema public`,
  );
});

const options = (selection: SelectionOptions, extra: Partial<SourceOptions> = {}): SourceOptions => ({
  url: databases.postgresUrl,
  slot: databases.name,
  publication: databases.name,
  decoder: 'pgoutput',
  tables: ['public.t'],
  selections: { 'public.t': selection },
  log: silentLog,
  ...extra,
});

async function open(
  selection: SelectionOptions,
  extra: Partial<SourceOptions> = {},
): Promise<PostgresSource> {
  const source = await openSource(options(selection, extra));
  sources.push(source);
  return source;
}

const TABLE = `create type mood as enum ('ok'); create collation fuzzy (provider = icu, locale = 'und', deterministic = false);
  create table t (id int primary key, "Card" text, note text, amount numeric(9,2), f text collate fuzzy, m mood);`;
const FULL = 'alter table t replica identity full';

describe('a selection', () => {
  it.each<[string, SelectionOptions, string, string, RegExp]>([
    ['', { exclude: ['card'] }, 'config_invalid', 'public.t.exclude names "card"', /^write Card$/],
    [
      '',
      { exclude: ['zzzzzz'] },
      'config_invalid',
      'public.t.exclude names "zzzzzz"',
      /one of: id, Card, note/,
    ],
    ['', { only: ['id', 'nite'] }, 'config_invalid', 'public.t.only names "nite"', /^write note$/],
    ['', { exclude: ['id'] }, 'config_invalid', 'leaves out id', /^remove id from exclude$/],
    ['', { only: ['note'] }, 'config_invalid', 'leaves out id', /^add id to only$/],
    [
      FULL,
      { where: `nite = 'x'` },
      'config_invalid',
      'column "nite" does not exist',
      /^write note instead of nite$/,
    ],
    [FULL, { where: `amount = 'x'` }, 'config_invalid', 'invalid input syntax', /country = 'DE'/],
    [FULL, { where: `id in (select 1 from t)` }, 'config_invalid', 'relation "t" does not exist', /country/],
    [
      '',
      { where: `note = 'x' and id > 0` },
      'table_no_identity',
      'reads note',
      /^alter table "public"\."t" replica identity full$/,
    ],
    [
      'create unique index u on t (id); alter table t replica identity using index u',
      { where: `amount > 0`, exclude: ['amount'] },
      'table_no_identity',
      'INDEX',
      /replica identity full$/,
    ],
  ])('is refused: %s %j', async (sql, selection, kind, what, fix) => {
    await databases.postgres(TABLE + sql);
    await expect((await open(selection)).relations()).rejects.toMatchObject({
      kind,
      table: 'public.t',
      what: expect.stringContaining(what) as string,
      fix: expect.stringMatching(fix) as string,
    });
    const findings = await checkSource(options(selection));
    expect(findings.find(({ name }) => name === 'table public.t')).toMatchObject({
      ok: false,
      fix: expect.stringMatching(fix) as string,
    });
  });

  it('that Postgres does not take into a publication is refused, and nothing is made', async () => {
    await databases.postgres(
      `${TABLE} ${FULL}; create function mine(int) returns bool immutable language plpgsql as 'begin return true; end'`,
    );
    const selection = { where: 'public.mine(id)' };
    const source = await open(selection);
    await expect(source.ensurePublication()).rejects.toMatchObject({
      kind: 'config_invalid',
      what: expect.stringMatching(/tables\.public\.t\.where.*User-defined/) as string,
    });
    expect(await databases.postgres('select from pg_publication')).toEqual([]);
    expect(await checkSource(options(selection))).toContainEqual(
      expect.objectContaining({ name: 'condition of public.t', ok: false }),
    );
    expect(await databases.postgres('select from pg_publication')).toEqual([]);
  });

  it.each([
    [`lower(note) = 'x'`, 'wal2json', /source\.decoder to pgoutput/],
    [`f = 'x'`, 'wal2json', /source\.decoder to pgoutput/],
    [`lower(note) = 'x' and m = 'ok'`, 'pgoutput', /write it with =/],
  ] as const)('that %s cannot evaluate is refused with %s', async (where, decoder, fix) => {
    if (decoder === 'wal2json' && !databases.hasWal2json) return;
    await databases.postgres(`${TABLE} alter table t alter column amount set not null; ${FULL}`);
    const source = await open({ where }, { decoder });
    await expect(source.ensurePublication()).rejects.toMatchObject({
      kind: 'config_invalid',
      table: 'public.t',
      fix: expect.stringMatching(fix) as string,
    });
  });

  it('makes of a new slot one of pgoutput, which leaves out what it can on the server', async () => {
    await databases.postgres(`${TABLE} alter table t alter column amount set not null;`);
    const source = await open({ exclude: ['note'] }, { decoder: 'auto' });
    await source.ensurePublication();
    expect(source.decoder).toBe('pgoutput');
  });

  it('of another spelling leaves the publication as it is', async () => {
    await databases.postgres(`${TABLE} ${FULL}`);
    const told: (readonly string[])[] = [];
    const ensure = async (where: string): Promise<unknown> =>
      (await open({ where })).ensurePublication((ids) => {
        told.push(ids);
        return Promise.resolve();
      });
    await ensure(`note in ('a', 'b') and amount between 1 and 2.50`);
    await ensure(`NOTE = any (array['a','b']) and (amount >= 1) and amount <= '2.50' -- the same`);
    expect(told).toEqual([['public.t']]);
    await ensure(`note in ('a') and amount between 1 and 2.50`);
    expect(told).toHaveLength(2);
    expect(await (await open({ where: `note in ('b')` })).survey()).toMatchObject({
      misPublished: ['public.t'],
    });
  });

  it('that a role may not publish comes with the statements for somebody who may', async () => {
    await databases.postgres(
      `${TABLE} ${FULL}; create role ${databases.name}_other login password 'other' replication; grant select on t to ${databases.name}_other; grant usage on schema public to ${databases.name}_other`,
    );
    const url = new URL(databases.postgresUrl);
    url.username = `${databases.name}_other`;
    url.password = 'other';
    const selection = { exclude: ['note'], where: `"Card" = 'x'` };
    try {
      const ensure = async (): Promise<unknown> =>
        (await open(selection, { url: String(url) })).ensurePublication();
      const refused = await ensure().catch((error: unknown) => error as WalhouseError);
      expect(refused).toMatchObject({ kind: 'source_permission' });
      const [, statement] = /^as the owner of the tables and the publication: (.*)$/.exec(
        (refused as WalhouseError).fix,
      )!;
      await databases.postgres(statement!);
      await ensure();
    } finally {
      await databases.postgres(`drop owned by ${databases.name}_other; drop role ${databases.name}_other`);
    }
  });

  it('is what the progress of its snapshot is estimated by', async () => {
    await databases.postgres(
      `create table t (id int primary key, v int); insert into t select i, i from generate_series(1, 1000) i; analyze t`,
    );
    const selections = { 'public.t': { where: 'id <= 10' } };
    const prepared = await prepare(databases, 'pgoutput', ['public.t'], { selections });
    try {
      const estimate = await prepared.snapshot.estimateRows(prepared.relations[0]!);
      expect(estimate).toBeGreaterThan(0);
      expect(estimate).toBeLessThan(100);
    } finally {
      await prepared.dispose();
    }
  });

  it('of a partitioned table is that of all its partitions', async () => {
    await databases.postgres(
      `create table t (id int, at date, secret text default 'do not copy', v text, primary key (id, at)) partition by range (at);
       create table t1 partition of t for values from ('2026-01-01') to ('2026-02-01');
       create table t2 partition of t for values from ('2026-02-01') to ('2026-03-01');
       insert into t (id, at, v) select i, date '2026-01-20' + i, 'v' || i from generate_series(1, 20) i`,
    );
    const selections = { 'public.t': { exclude: ['secret'], where: 'id > 10' } };
    const prepared = await prepare(databases, 'pgoutput', ['public.t'], { selections });
    try {
      const rows: Row[] = [];
      const [relation] = prepared.relations;
      await prepared.snapshot.read(relation!, {
        onRow: (row) => rows.push(rowOf(relation!, row)),
        onChunk: () => undefined,
      });
      await prepared.snapshot.close();
      expect(rows.map((row) => Object.keys(row).join())).toEqual(Array(10).fill('id,at,v'));
      await databases.postgres(
        `create table t3 partition of t for values from ('2026-03-01') to ('2026-04-01');
         update t set at = '2026-03-02' where id = 11; update t set id = 5, at = '2026-03-05' where id = 12;
         update t set id = 30 where id = 1; update t set v = 'x' where id = 2; delete from t where id in (3, 13)`,
      );
      const { changes } = await prepared.read();
      expect(
        changes.map((change) => [
          change.call,
          ...('row' in change
            ? [change.row['id'], change.row['secret']]
            : ['old' in change ? change.old['id'] : null]),
        ]),
      ).toEqual([
        // A row that goes to another partition leaves one and comes to the other.
        ['delete', '11'],
        ['insert', '11', undefined],
        ['delete', '12'],
        ['insert', '30', undefined],
        ['delete', '13'],
      ]);
    } finally {
      await prepared.dispose();
    }
  });
});

describe('generated columns with pgoutput on Postgres 18', () => {
  let server: LocalPostgres;
  let newer: TestDatabases;

  beforeAll(async () => {
    server = await startPostgres({ flavour: 'npm', log: () => undefined });
    newer = await createDatabases('generated', { postgres: server.url });
  }, 120_000);

  afterAll(async () => {
    await newer.close();
    await server.close();
  });

  it('are followed where they are stored, left out where that is asked for, and refused where they are not stored', async () => {
    await newer.postgres(
      `create table t (id int primary key, a int, s int generated always as (a * 2) stored, big text, h text generated always as (big || '!') stored);
       alter table t replica identity full; alter table t alter column big set storage external;
       create table virtual (id int primary key, a int, v int generated always as (a * 2));
       insert into t (id, a, big) values (1, 1, repeat('x', 5000)), (2, 2, null)`,
    );
    const tables = ['public.t', 'public.virtual'];
    const refused = await openSource({ ...options({}), url: newer.postgresUrl, tables, selections: {} });
    await expect(refused.relations()).rejects.toMatchObject({
      kind: 'table_unsupported',
      fix: 'leave them out: tables.public.virtual.exclude: [v]',
    });
    await refused.close();
    await newer.postgres('alter table virtual replica identity full');
    const left = await openSource({
      ...options({}),
      url: newer.postgresUrl,
      tables,
      selections: { 'public.virtual': { exclude: ['v'] } },
    });
    await expect(left.ensurePublication()).rejects.toMatchObject({
      kind: 'table_unsupported',
      fix: expect.stringContaining('alter table "public"."virtual" replica identity default') as string,
    });
    await left.close();
    await newer.postgres('alter table virtual replica identity default');
    const prepared = await prepare(newer, 'pgoutput', tables, {
      selections: { 'public.virtual': { exclude: ['v'] }, 'public.t': { exclude: ['h'] } },
    });
    try {
      await newer.postgres(
        `update t set a = 10 where id = 1; insert into virtual values (1, 1); update virtual set a = 2; delete from t where id = 2`,
      );
      const { changes } = await prepared.read();
      expect(changes).toMatchObject([
        { call: 'update', old: { id: '1', a: '1', s: '2' }, row: { id: '1', a: '10', s: '20' } },
        { call: 'insert', row: { id: '1', a: '1' } },
        { call: 'update', row: { id: '1', a: '2' } },
        { call: 'delete', old: { id: '2', a: '2', s: '4' } },
      ]);
    } finally {
      await prepared.dispose();
    }
  });
});
