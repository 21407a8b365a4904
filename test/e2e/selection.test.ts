import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { cli } from '../support/cli.js';
import { type Decoder, Scenario } from '../support/scenario.js';

/** Stands in every value that must not leave the source. */
const SECRET = 'do-not-copy-me';
/** 5 kB that differ from row to row; stored out of line, so an update that leaves it alone does not send it. */
const large = (seed: string): string => `repeat(md5(${seed}), 160)`;

const SCHEMA = `
  create type state as enum ('open', 'paid', 'void');
  create domain short as varchar(10);

  create table orders (secret text not null default '${SECRET}', id int primary key, country text, amount numeric(12,2) not null,
    note text, big text, at timestamptz not null default '2026-01-01', other text default '${SECRET}');
  alter table orders replica identity full;
  alter table orders alter column big set storage external;
  alter table orders alter column secret set storage external;

  create table tenants (tenant int, secret text default '${SECRET}', id int, v text, big text, primary key (tenant, id));
  alter table tenants alter column big set storage external;

  create table hidden (id int primary key, region varchar(10), v text, score numeric(6,3) not null default 0);
  alter table hidden replica identity full;

  create table labels (id int primary key, s state, d short, secret text default '${SECRET}', v text);
  alter table labels replica identity full;

  create table listed (id int primary key, secret text default '${SECRET}', v text);

  create table odd (id int primary key, day date, secret text default '${SECRET}');`;

const TABLES = {
  'public.orders': {
    exclude: ['secret', 'other'],
    where: "country = 'DE' and amount > 0 -- what we are asked about",
    history: true,
  },
  'public.tenants': { exclude: ['secret'], where: 'tenant in (1, 2)' },
  'public.hidden': {
    exclude: ['region', 'score'],
    where: "region <> 'FR' or (score >= 1.5 and region is null)",
  },
  'public.labels': { exclude: ['secret'], where: "s in ('open', 'paid') and d is distinct from 'x'" },
  'public.listed': { only: ['id', 'v'] },
  'public.odd': { exclude: ['secret'] },
} as const;
/** Everything but the one whose rows cannot be held. */
const EQUAL = Object.keys(TABLES).filter((id) => id !== 'public.odd');

const INITIAL = `
  insert into orders (id, country, amount, note, big)
    select i, (array['DE', 'FR', null])[1 + i % 3], i % 5 - 1, 'n' || i, ${large('i::text')} from generate_series(1, 60) i;
  insert into tenants (tenant, id, v, big) select i % 4, i, 'v' || i, ${large('i::text')} from generate_series(1, 40) i;
  insert into hidden select i, (array['FR', 'ES', null])[1 + i % 3], 'v' || i, i % 4 from generate_series(1, 30) i;
  insert into labels (id, s, d, v)
    select i, (array['open', 'paid', 'void', null]::state[])[1 + i % 4], (array['x', 'y', null])[1 + i % 3], 'v' || i
      from generate_series(1, 40) i;
  insert into listed (id, v) select i, 'v' || i from generate_series(1, 10) i;
  insert into odd (id, day) values (1, '2026-01-01'), (2, '0001-01-01');`;

const DECODERS: Decoder[] = inject('servers').hasWal2json ? ['pgoutput', 'wal2json'] : ['pgoutput'];

describe.each(DECODERS)('columns and rows that are selected, with %s', (decoder) => {
  /** For what no decoder has a part in. */
  const once = it.skipIf(decoder !== DECODERS[0]);
  let scenario: Scenario;
  const sql = (text: string): Promise<unknown> => scenario.sql(text);
  const until = async (query: string): Promise<void> => {
    while ((await scenario.sql(query)).length === 0) await sleep(50);
  };
  /** Where each table's copy began: another one after each snapshot. */
  const snapshots = (): Promise<unknown> =>
    scenario.databases.clickhouse(
      `select id, toString(snapshot_lsn) as lsn from ${scenario.databases.clickhouseDatabase}_landing._walhouse_tables final order by id`,
    );

  beforeAll(async () => {
    scenario = await Scenario.open(`selection_${decoder}`, {
      schema: SCHEMA + INITIAL,
      tables: TABLES,
      decoder,
    });
    await scenario.walhouse.start();
    await scenario.applied();
    await scenario.rememberPlace();
  }, 60_000);

  afterAll(() => scenario.close());

  it('are those of the source after the snapshot', async () => {
    await scenario.expectEqual(...EQUAL);
  });

  it('follow rows that move in, out and about, alone and together with their key', async () => {
    await sql(`update orders set country = 'DE' where id % 7 = 0`);
    await sql(`update orders set amount = -amount where id % 5 = 2`);
    await sql(`update orders set country = null, note = 'gone' where id % 11 = 0`);
    await sql(
      `update orders set id = id + 1000, country = case when country = 'DE' then 'FR' else 'DE' end, amount = 7 where id % 4 = 1`,
    );
    await sql(`update orders set note = 'changed' where id % 2 = 0`);
    await sql(`delete from orders where id % 13 = 0`);
    await sql(
      `insert into orders (id, country, amount) values (2001, 'DE', 1), (2002, 'DE', 0), (2003, 'AT', 1)`,
    );
    await sql(`begin; insert into orders (id, country, amount) values (2004, 'AT', 1); update orders set country = 'DE' where id = 2004;
      update orders set id = 2005 where id = 2004; update orders set amount = 0 where id = 2005; update orders set amount = 2 where id = 2005; commit`);
    await sql(`update hidden set region = case region when 'FR' then 'ES' else 'FR' end where id % 4 = 0`);
    await sql(
      `update hidden set score = 1.500 where id % 5 = 0; update hidden set region = null where id % 3 = 0`,
    );
    await sql(
      `update labels set s = 'void' where id % 3 = 0; update labels set s = 'paid' where id % 6 = 0; update labels set d = 'x' where id % 5 = 0`,
    );
    await sql(
      `update listed set v = v || '!', secret = '${SECRET} again'; delete from listed where id = 3; update listed set id = 100 where id = 4`,
    );
    await scenario.expectEqual(...EQUAL);
  });

  it('follow keys that move in and out where the old row is the key alone', async () => {
    await sql(`update tenants set v = v || '!' where id % 2 = 0`);
    await sql(`update tenants set tenant = 3 where tenant = 2 and id % 3 = 0`);
    await sql(`update tenants set tenant = 2, big = 'small' where tenant = 0 and id < 20`);
    await sql(`update tenants set tenant = 1 where tenant = 2 and id % 5 = 0`);
    await sql(`delete from tenants where id % 7 = 0`);
    await scenario.expectEqual('public.tenants');
  });

  it('put a row aside that its new key moves in without a large value', async () => {
    await sql(`update tenants set tenant = 1 where tenant = 3 and id = 31`);
    await scenario.applied();
    expect((await scenario.walhouse.status()).tables['public.tenants']).toMatchObject({ quarantined: 1 });
    await sql(`update tenants set big = 'now it comes' where id = 31`);
    await scenario.expectEqual('public.tenants');
  });

  it('are the same after all of it was delivered again', async () => {
    await scenario.deliverAgain();
    await scenario.expectEqual(...EQUAL);
  });

  it('are emptied by TRUNCATE, and fill again', async () => {
    await sql(`truncate orders; insert into orders (id, country, amount) values (1, 'DE', 1), (2, 'FR', 1)`);
    await scenario.expectEqual('public.orders');
  });

  it.runIf(decoder === 'pgoutput')(
    'stay on the server as far as its publication can keep them there',
    async () => {
      const entries = await scenario.databases.postgres(
        `select tablename as name, attnames::text[] as columns, rowfilter as where
         from pg_publication_tables where pubname = $1 order by 1`,
        [scenario.databases.name],
      );
      const all = (name: string): unknown => expect.arrayContaining([name]);
      expect(entries).toEqual(
        [
          // Postgres takes no condition on an enum or a domain.
          { name: 'labels', columns: all('secret'), where: null },
          { name: 'hidden', columns: all('region'), where: expect.stringContaining('region') as unknown },
          { name: 'listed', columns: ['id', 'v'], where: null },
          { name: 'odd', columns: ['id', 'day'], where: null },
          // With replica identity FULL it takes no list of columns.
          {
            name: 'orders',
            columns: all('secret'),
            where: "((amount > '0'::numeric) AND (country = 'DE'::text))",
          },
          {
            name: 'tenants',
            columns: ['tenant', 'id', 'v', 'big'],
            where: "(tenant = ANY ('{1,2}'::integer[]))",
          },
        ].sort((one, other) => (one.name < other.name ? -1 : 1)),
      );
    },
  );

  once('agree with walhouse verify while rows come and go', async () => {
    await sql(
      `insert into orders (id, country, amount) select i, (array['DE', 'FR'])[1 + i % 2], 1 from generate_series(10, 200) i`,
    );
    await scenario.applied();
    const { code, stdout } = await cli(['verify', '--json', '--config', scenario.walhouse.configPath]);
    const report = JSON.parse(stdout) as {
      tables: { table: string; verdict: string; rows_postgres: number }[];
    };
    const unequal = report.tables.filter(({ verdict }) => verdict !== 'equal').map(({ table }) => table);
    expect(unequal).toEqual(['public.odd']);
    expect(code).toBe(1);
  });

  once('are copied anew when they change in the configuration, and never mixed', async () => {
    expect(await scenario.walhouse.stop()).toBe(0);
    await sql(`insert into orders (id, country, amount) select i, (array['DE', 'FR'])[1 + i % 2], i % 3 from generate_series(300, 400) i;
      update orders set country = 'FR' where id % 5 = 0; delete from orders where id % 9 = 0`);
    scenario.walhouse.configure({
      tables: {
        ...TABLES,
        'public.orders': {
          exclude: ['secret', 'other', 'note'],
          where: "country = 'FR' or amount = 2",
          history: true,
        },
        'public.tenants': { only: ['tenant', 'id', 'v'] },
        'public.listed': { only: ['id', 'v'], where: 'id between 2 and 50' },
      },
    });
    await scenario.walhouse.start();
    await sql(
      `update orders set amount = 2 where id % 4 = 0; update orders set country = 'DE' where id % 6 = 0`,
    );
    await scenario.expectEqual(...EQUAL);
    await sql(`update orders set amount = 3 - amount where id % 8 = 0; update tenants set tenant = tenant + 1 where id % 3 = 0;
      update listed set id = id + 45 where id % 2 = 1; update listed set v = 'late'`);
    await scenario.expectEqual(...EQUAL);
    const [row] = await scenario.databases.clickhouse<{ names: string[] }>(
      `select groupArray(name) as names from system.columns where database = '${scenario.databases.clickhouseDatabase}' and table = 'tenants'`,
    );
    expect(row!.names).toEqual(['tenant', 'id', 'v']);
  });

  once('leave out columns that a table gets later where those that are copied are listed', async () => {
    const before = await snapshots();
    await sql(`alter table listed add column later text default '${SECRET}'`);
    await sql(
      `insert into listed (id, v, later) values (30, 'new', '${SECRET} new'); update listed set v = v || '?', later = '${SECRET}'`,
    );
    await scenario.expectEqual('public.listed');
    await sql(`alter table listed drop column secret; update listed set v = v || '!'`);
    await scenario.expectEqual('public.listed');
    expect(await snapshots()).toEqual(before);
    await sql(
      `alter table listed rename column v to w; alter table listed add column v text; update listed set v = 'new' where id % 2 = 0`,
    );
    while (JSON.stringify(await snapshots()) === JSON.stringify(before)) await sleep(50);
    await scenario.expectEqual('public.listed');
  });

  it.runIf(decoder === 'pgoutput')('are mended when somebody alters the publication', async () => {
    const publication = `"${scenario.databases.name}"`;
    await sql(`alter publication ${publication} drop table orders, listed;
      alter publication ${publication} add table orders where (amount > 100)`);
    await sql(`update orders set note = 'unheard of', amount = 2 where id % 2 = 0; delete from orders where id % 7 = 0;
      insert into listed (id, v) values (40, 'unheard of')`);
    await until(
      `select from pg_publication_tables where pubname = '${scenario.databases.name}' and tablename = 'orders' and rowfilter like '%FR%'`,
    );
    await scenario.expectEqual('public.orders', 'public.listed');
  });

  it('take no value with them into ClickHouse, its audit trail, the quarantine or the log', async () => {
    const { name } = scenario.databases;
    const clickhouse = <Row>(query: string): Promise<Row[]> => scenario.databases.clickhouse<Row>(query);
    const tables = await clickhouse<{ database: string; table: string }>(
      `select database, name as table from system.tables
        where startsWith(database, '${name}') and engine like '%MergeTree' and not startsWith(name, '_walhouse_gone_')`,
    );
    expect(tables.map(({ table }) => table)).toEqual(
      expect.arrayContaining(['orders', '_walhouse_audit_orders', '_walhouse_quarantine']),
    );
    const marked = async (database: string, table: string, mark: string): Promise<number> => {
      const [found] = await clickhouse<{ count: string }>(
        `select countIf(position(formatRow('TSV', *), '${mark}') > 0) as count from ${database}.\`${table}\``,
      );
      return Number(found!.count);
    };
    expect(await marked(`${scenario.databases.clickhouseDatabase}_landing`, 'labels', 'v1')).toBeGreaterThan(
      0,
    );
    for (const { database, table } of tables) {
      expect({ table, marked: await marked(database, table, SECRET) }).toEqual({ table, marked: 0 });
    }
    const [odd] = await clickhouse<{ rows: string }>(
      `select count() as rows from ${scenario.databases.clickhouseDatabase}_landing._walhouse_quarantine`,
    );
    expect(Number(odd!.rows)).toBeGreaterThan(0);
    expect(scenario.walhouse.output).not.toContain(SECRET);
  });

  it.runIf(decoder === 'pgoutput')(
    'are told by walhouse check where they cannot be, each with its fix',
    async () => {
      scenario.walhouse.configure({
        tables: {
          'public.orders': { exclude: ['secrett'] },
          'public.tenants': { exclude: ['id'] },
          'public.hidden': { where: "regoin = 'FR'" },
          'public.labels': { where: 's > d' },
          'public.listed': { where: "v = 'x'" },
          'public.odd': { where: 'id > 0' },
        },
      });
      const { code, stdout } = await cli(['check', '--json', '--config', scenario.walhouse.configPath]);
      expect(code).toBe(1);
      const { checks } = JSON.parse(stdout) as {
        checks: { name: string; ok: boolean; fix: string | null }[];
      };
      const fixes = Object.fromEntries(
        checks.filter(({ name }) => name.startsWith('table ')).map(({ name, fix }) => [name.slice(13), fix]),
      );
      expect(fixes).toEqual({
        orders: 'write secret',
        tenants: 'remove id from exclude',
        hidden: 'write region instead of regoin',
        labels: expect.stringContaining('as in SQL') as unknown,
        listed: 'alter table "public"."listed" replica identity full',
        odd: null,
      });
    },
  );
});
