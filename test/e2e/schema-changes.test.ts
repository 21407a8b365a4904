import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type Decoder, Scenario } from '../support/scenario.js';

const SCHEMA = `
  create table items (id int8 primary key, name text not null, qty int4, price numeric(10,2));
  create table others (id int8 primary key, note text);
  insert into items select i, 'item ' || i, i, i / 100.0 from generate_series(1, 500) i;
  insert into others values (1, 'one');`;

/** Each leaves the table as the next one finds it. */
const CHANGES: readonly (readonly [string, string])[] = [
  ['a new column', 'alter table items add column colour text'],
  ['a new column with a default', `alter table items add column size int4 not null default 7`],
  [
    'a new column with a volatile default',
    'alter table items add column token uuid default gen_random_uuid()',
  ],
  ['a column less', 'alter table items drop column colour'],
  ['a renamed column', 'alter table items rename column qty to quantity'],
  ['a wider type', 'alter table items alter column quantity type int8'],
  [
    'rows rewritten without a change of type',
    `alter table items alter column name type text using upper(name)`,
  ],
  [
    'a change among changes of rows',
    `insert into items (id, name) values (9001, 'before');
     alter table items add column extra text default 'x';
     insert into items (id, name, extra) values (9002, 'after', 'y');
     update items set extra = 'z' where id = 9001`,
  ],
  [
    'a column that came and went',
    'alter table items add column t int4; update items set t = 1; alter table items drop column t',
  ],
  ['a truncate', 'truncate items; insert into items (id, name) values (1, $$again$$)'],
];

const decoders: Decoder[] = ['pgoutput', 'wal2json'];

describe.each(decoders)('with %s', (decoder) => {
  let scenario: Scenario;
  let next = 10_000;
  const skipped = decoder === 'wal2json' && !inject('servers').hasWal2json;

  beforeAll(async () => {
    scenario = await Scenario.open('schemas', {
      schema: SCHEMA,
      tables: { 'public.items': {}, 'public.others': {} },
      decoder: skipped ? 'pgoutput' : decoder,
    });
    await scenario.walhouse.start();
    await scenario.applied();
  });
  afterAll(() => scenario.close());

  /** Waits until the table's columns in ClickHouse are the source's and every table streams. */
  async function settled(): Promise<void> {
    const deadline = performance.now() + 30_000;
    let last = '';
    while (performance.now() < deadline) {
      await scenario.applied();
      try {
        await scenario.expectEqual();
        const { tables } = await scenario.walhouse.status();
        if (Object.values(tables).every(({ state }) => state === 'streaming')) return;
        last = JSON.stringify(tables);
      } catch (error) {
        last = String(error);
      }
      await sleep(100);
    }
    throw new Error(`${last}\n${scenario.walhouse.output.slice(-3000)}`);
  }

  async function write(): Promise<void> {
    next += 10;
    await scenario.sql(`insert into items (id, name) select i, 'n' || i from generate_series(${next}, ${next + 5}) i;
      update items set name = name || '!' where id % 7 = 0; delete from items where id = ${next};
      insert into others values (${next}, 'x')`);
  }

  it.for(CHANGES)('%s is followed, old rows included', async ([, sql], context) => {
    if (skipped) context.skip();
    await write();
    await scenario.sql(sql);
    await write();
    await settled();
  });

  it('a change while nobody looked is followed, and its older changes are not read with the new columns', async (context) => {
    if (skipped) context.skip();
    expect(await scenario.walhouse.stop()).toBe(0);
    await write();
    await scenario.sql(
      'alter table items add column late int4 default 5; alter table items drop column extra',
    );
    await write();
    await scenario.walhouse.start();
    await settled();
  });
});
