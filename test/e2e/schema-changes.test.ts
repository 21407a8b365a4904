import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { landingIdentities, readOn, settled } from '../support/followed.js';
import { linger } from '../support/lingering.js';
import { type Decoder, Scenario } from '../support/scenario.js';

/** What is done to a table; `{t}` stands for it. */
interface Case {
  readonly name: string;
  readonly when: readonly ('live' | 'stopped')[];
  readonly title: string;
  readonly sql: string;
  /** Whether ClickHouse's table is altered in place (or needs nothing), or copied anew. */
  readonly how: 'in place' | 'anew';
}

const CASES: readonly Case[] = [
  {
    name: 'added',
    when: ['live', 'stopped'],
    title: 'a new column',
    sql: 'alter table {t} add colour text',
    how: 'in place',
  },
  {
    name: 'given',
    when: ['live', 'stopped'],
    title: 'new columns with constant defaults of many types',
    sql: `alter table {t} add a int4 not null default 7, add b text default E'it''s\\t\\\\ a\\n"tab" 😀', add c numeric(12,3) not null default 1.500,
            add d timestamptz default '2026-01-02 03:04:05.678901+02', add e date not null default '1999-12-31', add f bool default true,
            add g uuid default '6f0d8a52-0f2c-4b83-9d1e-0f1f2f3f4f5f', add h jsonb default '{"k": [1, null]}', add i int4[] default '{1,2}',
            add j text not null default '', add k numeric not null default 12345678901234567890.123456789, add l mood default 'fine',
            add m interval default '1 month 2 days', add n int8 default -9223372036854775808, add o varchar(5) default 'NULL',
            add p timestamp default '1999-01-01', add q time default '24:00', add r inet default '10.0.0.1/8', add s text default '\\N'`,
    how: 'in place',
  },
  {
    name: 'doubtful',
    when: ['live'],
    title: 'new columns whose constants ClickHouse would not show exactly',
    sql: `alter table {t} add a float8 not null default '-0', add b float8 not null default 'NaN', add c bytea default '\\xff00'`,
    how: 'anew',
  },
  {
    name: 'computed',
    when: ['stopped'],
    title: 'a new column with a volatile default',
    sql: 'alter table {t} add token uuid default gen_random_uuid()',
    how: 'anew',
  },
  {
    name: 'dropped',
    when: ['stopped'],
    title: 'a column less',
    sql: 'alter table {t} drop qty',
    how: 'in place',
  },
  {
    name: 'thinned',
    when: ['live'],
    title: 'several columns less',
    sql: 'alter table {t} drop price, drop name',
    how: 'in place',
  },
  {
    name: 'renamed',
    when: ['live'],
    title: 'a renamed column',
    sql: 'alter table {t} rename qty to quantity',
    how: 'anew',
  },
  {
    name: 'swapped',
    when: ['stopped'],
    title: 'columns that change names',
    sql: `alter table {t} add qty2 int4; alter table {t} rename qty to t; alter table {t} rename qty2 to qty; alter table {t} rename t to qty2`,
    how: 'anew',
  },
  {
    name: 'replaced',
    when: ['stopped'],
    title: 'a column that is dropped and made again under its name',
    sql: 'alter table {t} drop qty; alter table {t} add qty int4',
    how: 'anew',
  },
  {
    name: 'exchanged',
    when: ['stopped'],
    title: 'a column dropped and another one added at once',
    sql: 'alter table {t} drop qty, add late int4 default 5',
    how: 'anew',
  },
  {
    name: 'widened',
    when: ['live'],
    title: 'a wider type',
    sql: 'alter table {t} alter qty type int8',
    how: 'anew',
  },
  {
    name: 'longer',
    when: ['live'],
    title: 'a wider type that ClickHouse has no other type for, and a new label',
    sql: `alter table {t} alter short type varchar(20); alter table {t} alter short type text; alter type mood add value 'splendid'`,
    how: 'in place',
  },
  {
    name: 'rewritten',
    when: ['stopped'],
    title: 'rows rewritten without a change of type',
    sql: 'alter table {t} alter name type text using upper(name)',
    how: 'anew',
  },
  {
    name: 'among',
    when: ['live', 'stopped'],
    title: 'a new column among changes of rows in one transaction',
    sql: `begin; insert into {t} (id, name) values (9001, 'before'), (9002, 'before'), (9003, 'before'); update {t} set name = 'older' where id < 5;
          delete from {t} where id = 9003; update {t} set id = 9004 where id = 9002;
          alter table {t} add extra text default 'x';
          insert into {t} (id, name, extra) values (9005, 'after', 'y'); update {t} set extra = 'z' where id = 9001; commit`,
    how: 'in place',
  },
  {
    name: 'between',
    when: ['live', 'stopped'],
    title: 'a column dropped among changes of rows in one transaction',
    sql: `begin; insert into {t} (id, name, qty) values (9001, 'before', 1); update {t} set qty = 2 where id < 5; alter table {t} drop qty;
          update {t} set name = 'after' where id < 3; commit`,
    how: 'in place',
  },
  {
    name: 'passing',
    when: ['stopped'],
    title: 'a column that came and went',
    sql: 'alter table {t} add t int4; update {t} set t = 1; alter table {t} drop t',
    how: 'anew',
  },
  {
    name: 'packed',
    when: ['stopped'],
    title: 'a new column in a table that is rewritten by VACUUM FULL',
    sql: 'alter table {t} add colour text default $$red$$; vacuum full {t}',
    how: 'anew',
  },
  {
    name: 'defaults',
    when: ['live'],
    title: 'other defaults',
    sql: 'alter table {t} alter qty set default 3',
    how: 'in place',
  },
  {
    name: 'remade',
    when: ['live'],
    title: 'a table that is dropped and made again',
    sql: `drop table {t}; create table {t} (id int8 primary key, name text, qty int4, price numeric(10,2) not null default 0, short varchar(5), feeling mood); alter table {t} replica identity full`,
    how: 'anew',
  },
  {
    name: 'truncated',
    when: ['live'],
    title: 'a truncate',
    sql: `truncate {t}; insert into {t} (id, name) values (1, 'again')`,
    how: 'in place',
  },
];

/** Under FULL whole old rows come, under DEFAULT unchanged large values do not. */
function schema(table: string, identity: 'default' | 'full'): string {
  return `
    create table ${table} (id int8 primary key, name text, qty int4, price numeric(10,2) not null default 0, short varchar(5), feeling mood);
    alter table ${table} replica identity ${identity};
    alter table ${table} alter name set storage external;
    insert into ${table} select i, 'item ' || i, i, i / 100.0, 'a', 'fine' from generate_series(1, 50) i;
    insert into ${table} select i, repeat('long ' || i, 1000), i, i, 'b', 'bad' from generate_series(51, 55) i;`;
}

const decoders: Decoder[] = ['pgoutput', 'wal2json'];

describe.each(decoders)('with %s', (decoder) => {
  const skipped = decoder === 'wal2json' && !inject('servers').hasWal2json;
  const tables = CASES.flatMap((one) =>
    one.when.map((when) => ({ ...one, table: `${when}_${one.name}`, when })),
  );
  let scenario: Scenario;
  let copies = new Map<string, string>();
  let written = 100;

  beforeAll(async () => {
    if (skipped) return;
    scenario = await Scenario.open('schemas', {
      schema: `create type mood as enum ('bad', 'fine');
        ${tables.map(({ table, when }) => schema(table, when === 'live' ? 'default' : 'full')).join('\n')}`,
      tables: Object.fromEntries(
        tables.map(({ table, when }) => [`public.${table}`, { history: when === 'stopped' }]),
      ),
      decoder,
    });
    await scenario.walhouse.start();
    await scenario.applied();
    // Where it could lose a value another decoder is chosen.
    expect(
      await scenario.sql(
        `select plugin from pg_replication_slots where slot_name = '${scenario.databases.name}'`,
      ),
    ).toEqual([{ plugin: decoder }]);
    copies = await landingIdentities(scenario);
    await scenario.rememberPlace();
  });
  afterAll(async () => {
    if (!skipped) await scenario.close();
  });

  async function write(table: string): Promise<void> {
    written += 10;
    await scenario.sql(
      `insert into ${table} (id, feeling) select i, 'fine' from generate_series(${written}, ${written + 5}) i;
       update ${table} set feeling = 'bad' where id % 7 = 0 or id > 50;
       update ${table} set id = -id where id = ${written + 1};
       delete from ${table} where id = ${written}`,
    );
  }

  async function change(when: string): Promise<void> {
    for (const { table, sql } of tables.filter((one) => one.when === when)) {
      await write(table);
      for (const statement of sql.startsWith('begin;') ? [sql] : sql.split('; '))
        await scenario.sql(statement.replaceAll('{t}', table));
      await write(table);
    }
  }

  it('changes are followed as they come', async (context) => {
    if (skipped) context.skip();
    const reading = readOn(scenario, ['live_added', 'live_thinned', 'live_renamed']);
    // What is replaced is dropped when this has ended, which nothing waits for.
    const lingering = linger(
      scenario.databases.clickhouseUrl,
      `${scenario.databases.clickhouseDatabase}.live_widened`,
    );
    await change('live');
    await settled(scenario);
    expect(await lingering.cancel()).toBeNull();
    expect(await reading.end()).toEqual([]);
  });

  it('changes while nobody looked are followed, and what was written before them is not read with the new columns', async (context) => {
    if (skipped) context.skip();
    expect(await scenario.walhouse.stop()).toBe(0);
    await change('stopped');
    await scenario.walhouse.start();
    await settled(scenario);
  });

  it.each(tables)('$table, $how: $title', async ({ table, how }, ...rest) => {
    void rest;
    if (skipped) return;
    const now = await landingIdentities(scenario);
    if (how === 'in place') expect(now.get(table)).toBe(copies.get(table));
    else expect(now.get(table)).not.toBe(copies.get(table));
    const { databases } = scenario;
    const columns = await databases.clickhouse<{ name: string }>(
      `select name from system.columns where database = '${databases.clickhouseDatabase}' and table = '${table}' order by position`,
    );
    const source = await scenario.sql(
      `select attname as name from pg_attribute where attrelid = '${table}'::regclass and attnum > 0 and not attisdropped order by attnum`,
    );
    expect(columns).toEqual(source);
  });

  it('all of it delivered again changes nothing', async (context) => {
    if (skipped) context.skip();
    copies = await landingIdentities(scenario);
    await scenario.deliverAgain();
    await settled(scenario);
    expect(await landingIdentities(scenario)).toEqual(copies);
  });
});

describe('a process that dies while columns change', () => {
  let scenario: Scenario;
  beforeAll(async () => {
    scenario = await Scenario.open('schema_kills', {
      schema: `create type mood as enum ('bad', 'fine'); ${['added', 'dropped', 'renamed'].map((table) => schema(table, 'default')).join('\n')}`,
      tables: { 'public.added': {}, 'public.dropped': {}, 'public.renamed': {} },
      decoder: 'pgoutput',
    });
    await scenario.walhouse.start();
    await scenario.applied();
  });
  afterAll(() => scenario.close());

  it('people read on, and what was begun is finished or begun again', async () => {
    expect(await scenario.walhouse.stop()).toBe(0);
    await scenario.sql(
      `alter table added add size int4 default 7; alter table dropped drop qty; alter table renamed rename qty to quantity;
       insert into added (id) values (100); insert into dropped (id) values (100); insert into renamed (id) values (100)`,
    );
    // After the new column's ALTER TABLE; before the dropped one's; while the renamed column's table changes places.
    for (const failpoint of ['while_altering', 'while_altering', 'shown_aside']) {
      const reading = readOn(scenario, ['added', 'dropped', 'renamed']);
      await scenario.walhouse.start({ WALHOUSE_FAILPOINT: failpoint });
      expect(await scenario.walhouse.ended(), scenario.walhouse.output.slice(-2000)).toBe('SIGKILL');
      expect(await reading.end()).toEqual([]);
    }
    await scenario.walhouse.start();
    await settled(scenario);
    expect(
      await scenario.databases.clickhouse(
        `select name from system.tables where database = '${scenario.databases.clickhouseDatabase}_landing'
          and (startsWith(name, '_walhouse_shown_') or startsWith(name, '_walhouse_next_'))`,
      ),
    ).toEqual([]);
  });
});

describe('a table with marts over it', () => {
  it('gets and loses columns that they do not read while they answer', async () => {
    const scenario = await Scenario.open('schema_marts', {
      schema: `${readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8')}
        insert into merchants (merchant_id, name, address, phone, email, ingestion_date)
          select i, 'Merchant ' || i, 'Street', '+1', 'm@example.org', now() from generate_series(1, 3) i;
        insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date, ingestion_date)
          select i, 1 + i % 3, i, i / 10.0, 'Visa', 'Pending', now() - i * interval '1 hour', now() from generate_series(1, 200) i`,
      tables: {
        'public.merchants': {},
        'public.payments': { retention: { column: 'payment_date', keep: '2 years' } },
      },
      marts: ['payments'],
    });
    try {
      await scenario.walhouse.start();
      await scenario.applied();
      await scenario.expectRiskEqual([1n, 2n, 3n]);
      const { databases } = scenario;
      const tables = (): Promise<unknown[]> =>
        databases.clickhouse(
          `select database, name, uuid from system.tables where engine like '%MergeTree' and not startsWith(name, '_walhouse')
            and startsWith(database, '${databases.clickhouseDatabase}') order by all`,
        );
      const before = await tables();
      const answers = new Set<number>();
      let asking = true;
      const questions = (async () => {
        while (asking) {
          answers.add((await fetch(`${scenario.walhouse.url}/v1/merchants/1/risk`)).status);
          await sleep(20);
        }
      })();
      await scenario.sql(`alter table payments add note text not null default 'none';
        update payments set note = 'seen', amount = amount + 1 where payment_id % 7 = 0`);
      await settled(scenario);
      await scenario.sql(`alter table merchants drop address; update merchants set name = 'Renamed' where merchant_id = 2;
        update payments set merchant_id = 3, status = 'Rejected' where payment_id % 11 = 0`);
      await settled(scenario);
      asking = false;
      await questions;
      expect([...answers]).toEqual([200]);
      expect(await tables()).toEqual(before);
      await scenario.expectRiskEqual([1n, 2n, 3n]);
    } finally {
      await scenario.close();
    }
  });
});
