import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { landingIdentities, settled } from '../support/followed.js';
import { type Decoder, Scenario } from '../support/scenario.js';

/** What happens to single partitions of a root, which is not in the stream of the root; `{t}` is the root. */
interface Case {
  readonly name: string;
  readonly title: string;
  readonly sql: readonly string[];
  /** Whether the table must be copied anew, must not be, or may be. */
  readonly copied: 'yes' | 'no' | 'maybe';
}

const CASES: readonly Case[] = [
  { name: 'emptied', title: 'a partition is truncated', sql: ['truncate {t}_1'], copied: 'yes' },
  {
    name: 'detached',
    title: 'a partition is detached',
    sql: ['alter table {t} detach partition {t}_1'],
    copied: 'yes',
  },
  {
    name: 'slowly',
    title: 'a partition is detached concurrently',
    sql: ['alter table {t} detach partition {t}_1 concurrently'],
    copied: 'yes',
  },
  { name: 'dropped', title: 'a partition is dropped', sql: ['drop table {t}_1'], copied: 'yes' },
  {
    name: 'attached',
    title: 'a table with rows is attached',
    sql: [
      'alter table {t} attach partition {t}_aside for values in (4)',
      "insert into {t} values (90, 4, 'later')",
    ],
    copied: 'yes',
  },
  {
    name: 'filled',
    title: 'a table is made, filled and attached in one transaction',
    sql: [
      `begin; create table {t}_5 (id int8 not null, k int4 not null, v text); insert into {t}_5 values (50, 5, 'x');
       alter table {t} attach partition {t}_5 for values in (5); commit`,
    ],
    copied: 'yes',
  },
  {
    name: 'changed',
    title: 'a partition changes while it is detached',
    sql: [
      `begin; alter table {t} detach partition {t}_1; update {t}_1 set v = 'aside'; delete from {t}_1 where id = 3;
       alter table {t} attach partition {t}_1 for values in (1); commit`,
    ],
    copied: 'yes',
  },
  {
    name: 'below',
    title: 'a partition with partitions is truncated',
    sql: ['truncate {t}_deep'],
    copied: 'yes',
  },
  {
    name: 'deeper',
    title: 'a partition of a partition is dropped and made again with other rows',
    sql: [
      `begin; drop table {t}_deep_0; create table {t}_deep_0 partition of {t}_deep for values with (modulus 2, remainder 0);
       commit`,
    ],
    copied: 'yes',
  },
  {
    name: 'retyped',
    title: 'all partitions are rewritten',
    sql: ['alter table {t} alter column v type text using upper(v)'],
    copied: 'yes',
  },
  {
    name: 'packed',
    title: 'a partition is rewritten by VACUUM FULL',
    sql: ['vacuum full {t}_1'],
    copied: 'maybe',
  },
  {
    name: 'cleared',
    title: 'the root itself is truncated',
    sql: ['truncate {t}', "insert into {t} values (1, 1, 'again')"],
    copied: 'maybe',
  },
  {
    name: 'grown',
    title: 'partitions are made and filled through the root',
    sql: [
      `begin; create table {t}_5 partition of {t} for values in (5); insert into {t} values (50, 5, 'at once'); commit`,
      `create table {t}_6 partition of {t} (v default 'six') for values in (6) partition by hash (id);
       create table {t}_60 partition of {t}_6 for values with (modulus 1, remainder 0);
       insert into {t} (id, k) values (60, 6)`,
    ],
    copied: 'no',
  },
  {
    name: 'quiet',
    title: 'a partition is analyzed, indexed, granted and renamed',
    sql: [
      'analyze {t}',
      'create index on {t} (v)',
      'grant select on {t}_1 to public',
      'alter table {t}_1 rename to {t}_uno',
      'alter table {t}_uno alter column v set statistics 50',
    ],
    copied: 'no',
  },
];

function schema(table: string): string {
  return `
    create table ${table} (id int8 not null, k int4 not null, v text, primary key (id, k)) partition by list (k);
    create table ${table}_1 partition of ${table} for values in (1);
    create table ${table}_2 partition of ${table} for values in (2);
    create table ${table}_deep partition of ${table} for values in (3) partition by hash (id);
    create table ${table}_deep_0 partition of ${table}_deep for values with (modulus 2, remainder 0);
    create table ${table}_deep_1 partition of ${table}_deep for values with (modulus 2, remainder 1);
    create table ${table}_aside (id int8 not null, k int4 not null, v text, primary key (id, k));
    insert into ${table} select i, 1 + i % 3, 'v' || i from generate_series(1, 30) i;
    insert into ${table}_aside values (41, 4, 'aside'), (42, 4, null);`;
}

const live = CASES.map((one) => ({ ...one, table: `live_${one.name}` }));
const stopped = CASES.map((one) => ({ ...one, table: `stop_${one.name}` }));

describe('what happens to single partitions', () => {
  let scenario: Scenario;
  let copies = new Map<string, string>();
  let statements = 0;

  beforeAll(async () => {
    const tables = [...live, ...stopped].map(({ table }) => table);
    scenario = await Scenario.open('partitions', {
      schema: `${tables.map(schema).join('\n')}
        ${schema('live_premade')}
        create table bystander (id int8 primary key)`,
      tables: Object.fromEntries(
        [...tables, 'live_premade', 'bystander'].map((table) => [`public.${table}`, {}]),
      ),
      decoder: 'pgoutput',
    });
    await scenario.walhouse.start();
    await scenario.applied();
    copies = await landingIdentities(scenario);
  });
  afterAll(() => scenario.close());

  async function happen(cases: readonly { table: string; sql: readonly string[] }[]): Promise<void> {
    for (const { table, sql } of cases) {
      for (const statement of sql) await scenario.sql(statement.replaceAll('{t}', table));
      statements += 1;
      await scenario.sql(`insert into ${table} values (${1000 + statements}, 2, 'afterwards');
        update ${table} set v = v || '!' where k = 2; insert into bystander values (${statements})`);
    }
  }

  it('is followed while it happens', async () => {
    await happen(live);
    await settled(scenario);
  });

  it('a partition that is attached while it is empty is not copied, filled as it may be later', async () => {
    await scenario.sql(`create table premade (like live_premade including all);
      alter table live_premade attach partition premade for values in (7)`);
    await settled(scenario);
    await scenario.sql(`insert into live_premade select i, 7, 'x' from generate_series(1, 10) i`);
    expect(await scenario.walhouse.stop()).toBe(0);
    await happen(stopped);
    await scenario.walhouse.start();
    await settled(scenario);
    const now = await landingIdentities(scenario);
    expect(now.get('live_premade')).toBe(copies.get('live_premade'));
    expect(now.get('bystander')).toBe(copies.get('bystander'));
  });

  it.each([...live, ...stopped])('$table: copied anew, $copied: $title', async ({ table, copied }) => {
    await scenario.expectEqual(`public.${table}`);
    const now = await landingIdentities(scenario);
    if (copied === 'yes') expect(now.get(table)).not.toBe(copies.get(table));
    if (copied === 'no') expect(now.get(table)).toBe(copies.get(table));
  });
});

const decoders: Decoder[] = ['pgoutput', 'wal2json'];

describe.each(decoders)('tables under their own names, with %s', (decoder) => {
  const skipped = decoder === 'wal2json' && !inject('servers').hasWal2json;

  it('stay what they are, whatever becomes of the root or parent that they hang on', async (context) => {
    if (skipped) context.skip();
    const scenario = await Scenario.open('own_names', {
      schema: `${schema('root')}
        create table parent (id int8 primary key, v text);
        create table child (primary key (id)) inherits (parent);
        create table lost (primary key (id)) inherits (parent);
        insert into parent values (1, 'parent'); insert into child values (2, 'child'); insert into lost values (3, 'lost');`,
      tables: { 'public.root_1': {}, 'public.root_2': {}, 'public.parent': {}, 'public.child': {} },
      decoder,
    });
    try {
      await scenario.walhouse.start();
      await scenario.applied();
      const steps = [
        `truncate root_1; insert into root values (101, 1, 'a'), (102, 2, 'b')`,
        `alter table root detach partition root_1; insert into root_1 values (103, 1, 'apart')`,
        `alter table root attach partition root_1 for values in (1); insert into root values (104, 1, 'back')`,
        `drop table lost; alter table child no inherit parent; update parent set v = 'p'`,
        `alter table child inherit parent; update parent set v = 'both'`,
        `delete from only parent; insert into parent values (5, 'five')`,
        `truncate parent; insert into child values (6, 'six')`,
        `truncate root; insert into root values (105, 1, 'c')`,
      ];
      for (const step of steps) {
        await scenario.sql(step);
        await scenario.expectEqual();
      }
    } finally {
      await scenario.close();
    }
  });
});
