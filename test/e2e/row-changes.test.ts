import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type Decoder, Scenario } from '../support/scenario.js';

/** 5 kB that differ from row to row; stored out of line, so an update that leaves it alone does not send it. */
const large = (seed: string): string => `repeat(md5(${seed}), 160)`;

const KEYS = `
  create table composite (a int, b text, v text, primary key (a, b));
  insert into composite select i % 10, 'b' || i, 'v' || i from generate_series(1, 50) i;
  create table bulk (id int primary key, v text);
  insert into bulk select i, 'v' || i from generate_series(1, 10) i;
  create table stepped (id int primary key, v text);
  insert into stepped select i, 'v' || i from generate_series(10, 1, -1) i;
  create table busy (id int primary key, n int, v text);
  insert into busy select i, 0, 'first' from generate_series(1, 20) i;`;

const toast = (name: string, key: string, more = ''): string => `
  create table ${name} (id int not null, code text not null, big text, small int, at timestamptz not null default now(), ${key});
  alter table ${name} alter column big set storage external;
  ${more}
  insert into ${name} select i, 'code' || i, ${large('i::text')}, i from generate_series(1, 30) i;`;
const TOASTED = ['toast_default', 'toast_full', 'toast_index', 'toast_retained'] as const;
const TOAST = [
  toast('toast_default', 'primary key (id)'),
  toast('toast_full', 'primary key (id)', 'alter table toast_full replica identity full;'),
  toast(
    'toast_index',
    'unique (code)',
    'alter table toast_index replica identity using index toast_index_code_key;',
  ),
  toast('toast_retained', 'primary key (id)', 'alter table toast_retained replica identity full;'),
  // The large value is the key itself, and beside it another one.
  `create table toast_key (id text primary key, big text, n int);
   alter table toast_key alter column big set storage external;
   insert into toast_key select 'k' || i, ${large('i::text')}, i from generate_series(1, 10) i;`,
].join('\n');

/** Of megabytes, with whatever is escaped on its way. */
const huge = (seed: string, times: number): string =>
  `repeat(E'tab\\there \\\\ new\\nline\\r\\b\\f é ' || ${seed}, ${times})`;
const HUGE = `
  create table huge (id int primary key, v text, n int, w text);
  alter table huge alter column v set storage external, alter column w set storage external;
  insert into huge values (1, ${huge("'one'", 150_000)}, 1, null), (2, 'short', 2, ${huge("'two'", 100)}), (3, null, 3, 'three');`;

const TRUNCATED = `
  create table trunk (id int primary key, v text);
  create table branch (id int primary key, trunk int references trunk);
  create table lone (id int primary key, v text);
  insert into trunk select i, 'v' || i from generate_series(1, 20) i;
  insert into branch select i, i from generate_series(1, 20) i;
  insert into lone select i, 'v' || i from generate_series(1, 20) i;`;

const NAMES = `
  create schema "Other Schema";
  create table "Mixed Case" (id int primary key, "Order" text, "from" int, "a b" text);
  create table "select" (id int primary key, "select" text, "table" text, "primary" int, "final" int);
  create table "q""uo'te" (id int primary key, "q""x" text, "y'z" text, "back\`tick" text, "back\\slash" text);
  create table "dot.ted" (id int primary key, "a.b" text, "c.d.e" int);
  create table "naïve_表_😀" (id int primary key, "größe" text, "列" int, "😀" text);
  create table "system" (id int primary key, "null" text, "default" text, "version" int, "_underscore" int);
  create table "Other Schema"."Table" (id int primary key, v text);
  create table "%s {x:String} $1 ?" (id int primary key, "{p:Int32}" text, "%d" text, "$2" text, "?" text);`;
const NAMED = [
  'public.Mixed Case',
  'public.select',
  `public.q"uo'te`,
  'public.dot.ted',
  'public.naïve_表_😀',
  'public.system',
  'Other Schema.Table',
  'public.%s {x:String} $1 ?',
];
/** A table id as SQL wants it. */
const quoted = (id: string): string => {
  const dot = id.indexOf('.');
  return [id.slice(0, dot), id.slice(dot + 1)].map((part) => `"${part.replaceAll('"', '""')}"`).join('.');
};

const WIDE_COLUMNS = Array.from({ length: 300 }, (_, i) => `c${i}`);
const WIDE = `create table wide (id int primary key, ${WIDE_COLUMNS.map((name) => `${name} text`).join(', ')})`;

const PARTITIONS = `
  create table leafy (id int, at date, v text, primary key (id, at)) partition by range (at);
  create table leafy_1 partition of leafy for values from ('2026-01-01') to ('2026-02-01');
  create table leafy_2 partition of leafy for values from ('2026-02-01') to ('2026-03-01');
  insert into leafy select i, date '2026-01-01' + i, 'v' || i from generate_series(1, 50) i;`;

const ids = (...names: readonly string[]): string[] => names.map((name) => `public.${name}`);
const decoders: Decoder[] = inject('servers').hasWal2json ? ['pgoutput', 'wal2json'] : ['pgoutput'];

describe.each(decoders)('with %s, ClickHouse equals Postgres', (decoder) => {
  let scenario: Scenario;
  beforeAll(async () => {
    const names = ids(
      ...['composite', 'bulk', 'stepped', 'busy', 'trunk', 'branch', 'lone', 'wide', 'leafy_1', 'huge'],
      ...['toast_default', 'toast_full', 'toast_index', 'toast_key'],
      // wal2json knows partitions by their own names only, so a partitioned root is refused under it.
      ...(decoder === 'pgoutput' ? ['rooted'] : []),
    );
    scenario = await Scenario.open('rows', {
      schema: [
        KEYS,
        TOAST,
        HUGE,
        TRUNCATED,
        NAMES,
        WIDE,
        PARTITIONS,
        PARTITIONS.replaceAll('leafy', 'rooted'),
        ...NAMED.map((id) => `insert into ${quoted(id)} (id) select generate_series(1, 5)`),
        'insert into wide (id) select generate_series(1, 5)',
      ].join(';\n'),
      tables: {
        ...Object.fromEntries([...names, ...NAMED].map((id) => [id, {}])),
        'public.toast_retained': { retention: { column: 'at', keep: '2 years' }, history: true },
      },
      decoder,
    });
    await scenario.walhouse.start();
    await scenario.expectEqual();
    await scenario.rememberPlace();
  });
  afterAll(() => scenario?.close());

  it('after rows under composite keys came, changed, moved to other keys and went', async () => {
    await scenario.sql(
      `insert into composite values (1, '', 'empty'), (1, E'tab\\t', 'tab'), (2, 'x', null)`,
    );
    await scenario.sql(`update composite set v = v || '!' where a = 3`);
    await scenario.sql(`update composite set b = b || 'z' where a = 4`);
    await scenario.sql(`update composite set a = a + 100 where a = 5`);
    await scenario.sql(`update composite set a = -a, b = upper(b), v = 'both' where a = 6`);
    await scenario.sql(`delete from composite where a = 7`);
    await scenario.expectEqual('public.composite');
  });

  it('after keys moved in bulk, also onto keys that others left in the same statement', async () => {
    await scenario.sql('update bulk set id = id + 10');
    await scenario.expectEqual('public.bulk');
    await scenario.sql('update bulk set id = id - 10');
    await scenario.sql('update stepped set id = id + 1');
    await scenario.sql(`begin; update stepped set id = id + 1; update stepped set v = v || 'w'; commit`);
    await scenario.expectEqual('public.bulk', 'public.stepped');
  });

  it('after two rows swapped their keys in one transaction', async () => {
    await scenario.sql(
      'begin; update bulk set id = -1 where id = 1; update bulk set id = 1 where id = 2; update bulk set id = 2 where id = -1; commit',
    );
    await scenario.expectEqual('public.bulk');
  });

  it('after several changes to one key in one transaction, in all orders', async () => {
    const steps: Record<string, string> = {
      i: `insert into busy values (KEY, STEP, 'i') on conflict (id) do nothing`,
      u: `update busy set n = STEP, v = 'u' where id = KEY`,
      d: `delete from busy where id = KEY`,
      k: `update busy set id = id + 1000 where id = KEY`,
      b: `update busy set id = id - 1000 where id = KEY + 1000`,
    };
    const orders = [
      'iu',
      'iud',
      'iudi',
      'id',
      'di',
      'du',
      'diu',
      'did',
      'ud',
      'udi',
      'uu',
      'kb',
      'kib',
      'kd',
      'ukb',
    ];
    for (const present of [true, false]) {
      for (const [index, order] of orders.entries()) {
        // Keys up to 20 are there, from 21 they are not.
        const key = (present ? 1 : 31) + index;
        const statements = [...order].map((step, at) =>
          steps[step]!.replaceAll('KEY', String(key)).replaceAll('STEP', String(at + 1)),
        );
        if (order === 'kib') statements.push(`delete from busy where id = ${key + 1000}`);
        const safe = order === 'kib' ? statements.filter((sql) => !sql.includes('id - 1000')) : statements;
        await scenario.sql(`begin; ${safe.join('; ')}; commit`);
      }
    }
    await scenario.expectEqual('public.busy');
  });

  it.each(TOASTED)('after large values were left alone, changed and set to null in %s', async (table) => {
    const id = `public.${table}`;
    await scenario.sql(`update ${table} set small = small + 100 where id <= 10`);
    await scenario.expectEqual(id);
    // Several updates of one row in one transaction; values that came in the same transaction, too.
    await scenario.sql(`begin;
      update ${table} set small = 1 where id = 1; update ${table} set small = 2 where id = 1;
      update ${table} set big = ${large("'new'")} where id = 2; update ${table} set small = 3 where id = 2;
      insert into ${table} select 100, 'code100', ${large("'fresh'")}, 0; update ${table} set small = 4 where id = 100;
      update ${table} set big = null where id = 3; update ${table} set small = 5 where id = 3;
      update ${table} set small = 6 where id = 4; update ${table} set big = 'short' where id = 4;
      commit`);
    await scenario.expectEqual(id);
    await scenario.sql(`update ${table} set big = null where id = 5`);
    await scenario.sql(`update ${table} set big = ${large("'back'")} where id = 5`);
    await scenario.sql(`update ${table} set small = 7 where id = 5`);
    // Both parts of the key move, so that one of them is the identity in every table.
    await scenario.sql(
      `update ${table} set id = id + 1000, code = code || 'moved' where id between 11 and 15`,
    );
    await scenario.sql(`begin; update ${table} set id = id + 1000, code = code || 'moved' where id = 16;
      update ${table} set small = 8 where id = 1016; update ${table} set id = 16, code = 'code16' where id = 1016; commit`);
    await scenario.sql(`begin; delete from ${table} where id = 17;
      insert into ${table} select 17, 'code17', ${large("'again'")}, 17; update ${table} set small = 9 where id = 17; commit`);
    await scenario.sql(`update ${table} set at = at - interval '1 day', small = 10 where id = 18`);
    await scenario.expectEqual(id);
    expect((await scenario.walhouse.status()).tables[id]).toMatchObject({ quarantined: 0 });
  });

  it('after values of megabytes came, were left alone in the same transaction and later, and changed', async () => {
    await scenario.sql(`begin;
      insert into huge values (10, ${huge("'ten'", 45_000)}, 0, ${huge("'more'", 45_000)});
      update huge set n = 11 where id = 10;
      insert into huge values (12, 'short', 0, ${huge("'twelve'", 45_000)});
      update huge set n = 12, v = 'shorter' where id = 12; commit`);
    await scenario.expectEqual('public.huge');
    await scenario.sql(`update huge set n = n + 100`);
    await scenario.sql(`update huge set v = ${huge("'new'", 45_000)}, n = 13 where id = 3`);
    await scenario.sql(`update huge set v = null where id = 1`);
    await scenario.expectEqual('public.huge');
    expect((await scenario.walhouse.status()).tables['public.huge']).toMatchObject({ quarantined: 0 });
  });

  it('after keys that are large themselves changed', async () => {
    await scenario.sql(`update toast_key set id = ${large('id')} where n < 5`);
    await scenario.sql(`update toast_key set n = n + 100`);
    await scenario.sql(`update toast_key set id = 'short' || n where length(id) > 100`);
    await scenario.expectEqual('public.toast_key');
  });

  it('after TRUNCATE, CASCADE over two tables, and truncate between inserts in one transaction', async () => {
    await scenario.sql('truncate lone');
    await scenario.expectEqual('public.lone');
    await scenario.sql(`insert into lone values (1, 'after'), (2, 'after')`);
    await scenario.expectEqual('public.lone');
    await scenario.sql(`begin; insert into lone values (3, 'gone'); truncate lone;
      insert into lone values (1, 'kept'), (4, 'kept'); update lone set v = 'changed' where id = 4; commit`);
    await scenario.expectEqual('public.lone');
    await scenario.sql('truncate trunk cascade');
    await scenario.expectEqual('public.trunk', 'public.branch');
    await scenario.sql(`begin; insert into trunk values (1, 'a'); insert into branch values (1, 1);
      truncate trunk, branch, lone; insert into trunk values (2, 'b'); insert into branch values (1, 2);
      truncate branch; insert into branch values (7, 2); commit`);
    await scenario.expectEqual('public.trunk', 'public.branch', 'public.lone');
    await scenario.sql(`begin; truncate lone; rollback; insert into lone values (9, 'stays')`);
    await scenario.expectEqual('public.lone');
  });

  it('in a partition that is configured by its own name, also for rows that move in and out', async () => {
    await scenario.sql(`update leafy set v = 'changed' where id < 20`);
    await scenario.sql(`update leafy set at = at + 31 where id between 1 and 5`);
    await scenario.sql(`update leafy set at = at - 31 where id between 40 and 45`);
    await scenario.sql(`delete from leafy where id = 10`);
    await scenario.expectEqual('public.leafy_1');
    await scenario.sql('truncate leafy_1');
    await scenario.sql(
      `insert into leafy select i, date '2026-01-01' + i % 50, 'w' from generate_series(1000, 1100) i`,
    );
    await scenario.expectEqual('public.leafy_1');
  });

  it('under a partitioned root, also for rows that move between partitions', async (context) => {
    if (decoder === 'wal2json') context.skip();
    await scenario.sql(`update rooted set v = 'changed' where id < 20`);
    await scenario.sql(`update rooted set at = at + 31 where id between 1 and 5`);
    await scenario.sql(`begin; update rooted set at = at - 31 where id between 40 and 45;
      update rooted set v = 'moved' where id between 40 and 45; delete from rooted where id = 41; commit`);
    await scenario.sql(`insert into rooted_2 values (500, '2026-02-05', 'straight into a partition')`);
    await scenario.sql(`create table rooted_3 partition of rooted for values from ('2026-03-01') to ('2026-04-01');
      insert into rooted values (600, '2026-03-05', 'in a new partition')`);
    await scenario.expectEqual('public.rooted');
    await scenario.sql('truncate rooted');
    await scenario.sql(
      `insert into rooted select i, date '2026-01-01' + i, 'w' from generate_series(1, 80) i`,
    );
    await scenario.expectEqual('public.rooted');
  });

  it.each(NAMED)('in a table called %s', async (id) => {
    const name = quoted(id);
    const columns = await scenario.databases.postgres<{ name: string }>(
      `select attname as name from pg_attribute
        where attrelid = $1::regclass and attnum > 1 and not attisdropped and atttypid = 'text'::regtype`,
      [name],
    );
    await scenario.sql(`insert into ${name} (id) values (10), (11), (12)`);
    for (const column of columns) {
      await scenario.sql(
        `update ${name} set "${column.name.replaceAll('"', '""')}" = 'v' || id where id % 2 = 0`,
      );
    }
    await scenario.sql(`update ${name} set id = id + 100 where id < 3; delete from ${name} where id = 3`);
    await scenario.expectEqual(id);
    expect((await scenario.walhouse.status()).tables[id]!.rows_applied).toBeGreaterThan(8);
  });

  it('in a table of three hundred columns', async () => {
    const all = WIDE_COLUMNS.map((name, i) => `${name} = ${i % 3 === 0 ? 'null' : `'${name}' || id`}`);
    await scenario.sql(`update wide set ${all.join(', ')}`);
    await scenario.sql(
      `update wide set c7 = 'only', c299 = null where id = 2; delete from wide where id = 3`,
    );
    await scenario.expectEqual('public.wide');
  });

  it('and still does after all of that was delivered a second time, with old versions merged away', async () => {
    const landing = `${scenario.databases.clickhouseDatabase}_landing`;
    const tables = await scenario.databases.clickhouse<{ name: string }>(
      `select name from system.tables where database = '${landing}' and engine like '%MergeTree' and name not like '_walhouse_%'`,
    );
    for (const { name } of tables) {
      const escaped = name.replaceAll('\\', '\\\\').replaceAll('`', '\\`');
      await scenario.databases.clickhouse(`optimize table ${landing}.\`${escaped}\` final`);
    }
    await scenario.deliverAgain();
    expect((await scenario.walhouse.status()).tables['public.bulk']!.rows_applied).toBeGreaterThan(20);
    await scenario.expectEqual();
    // What comes after it stands on rows that were delivered twice.
    for (const table of TOASTED) await scenario.sql(`update ${table} set small = small + 1`);
    await scenario.sql(`update toast_key set n = n + 1; update lone set v = v || '+'`);
    await scenario.expectEqual();
    for (const table of TOASTED) {
      expect((await scenario.walhouse.status()).tables[`public.${table}`]).toMatchObject({ quarantined: 0 });
    }
  });
});
