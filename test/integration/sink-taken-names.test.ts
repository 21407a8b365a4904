import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sinkFixture, type SinkFixture } from '../support/sink-fixture.js';
import { relationOf } from '../support/tuples.js';

const ITEMS = relationOf('public.items', { id: 'int8', v: 'text' });
const MART = {
  name: 'counts',
  files: [
    {
      name: '1_counts.sql',
      sql: '-- tracks: public.items (v)\ncreate table {database}.counts (v String, n UInt64) engine = MergeTree order by v',
    },
  ],
};

let fixture: SinkFixture;
beforeAll(async () => {
  fixture = await sinkFixture('taken_names');
});
afterAll(() => fixture.close());

const tables = (history: boolean) => new Map([[ITEMS.id, { history }]]);

async function database(name: string): Promise<void> {
  await fixture.query(`create database if not exists ${name}`);
}

describe('names that somebody else has', () => {
  it.each([
    ['a view that people query', 'items', '', false],
    ['a table under the view’s name', 'items', '', false],
    ['a landing table', 'items', '_landing', false],
    ['a view of the audit', 'items', '_audit', true],
    ['a view of the history', 'items_history', '', true],
  ])('%s is left as it is, and the table is refused', async (what, name, suffix, history) => {
    const object = `${fixture.database}${suffix}.${name}`;
    await database(`${fixture.database}${suffix}`);
    await fixture.query(
      what.includes('view')
        ? `create view ${object} as select 42 as kept`
        : `create table ${object} (kept Int32) engine = Memory as select 42`,
    );
    const sink = await fixture.open({ tables: tables(history) });
    const taken = await sink.taken([ITEMS]);
    expect([...taken.keys()]).toEqual([ITEMS.id]);
    expect(taken.get(ITEMS.id)).toMatchObject({ kind: 'table_name_collision', table: ITEMS.id });
    expect(taken.get(ITEMS.id)?.what).toContain(name);
    expect(await fixture.query(`select * from ${object}`)).toEqual([{ kept: 42 }]);
    await fixture.query(`drop table ${object}`);
  });

  it('the audit and the history of a table without them are not asked about', async () => {
    await database(fixture.database);
    await fixture.query(`create view ${fixture.database}.items_history as select 1`);
    const sink = await fixture.open({ tables: tables(false) });
    expect((await sink.taken([ITEMS])).size).toBe(0);
    await fixture.query(`drop view ${fixture.database}.items_history`);
  });

  it('a table under the name of a mart’s is not dropped to make room', async () => {
    await database(fixture.database);
    await fixture.query(`create table ${fixture.database}.counts (kept Int32) engine = Memory as select 42`);
    await expect(fixture.open({ tables: tables(false), marts: [MART] })).rejects.toMatchObject({
      kind: 'table_name_collision',
    });
    expect(await fixture.query(`select * from ${fixture.database}.counts`)).toEqual([{ kept: 42 }]);
    await fixture.query(`drop table ${fixture.database}.counts`);
  });

  it('what was made by Walhouse itself is its own, also when it was cut off', async () => {
    const sink = await fixture.open({ tables: tables(false), marts: [MART] });
    await sink.beginSnapshot(ITEMS, 0x1000n);
    expect((await sink.taken([ITEMS])).size).toBe(0);
    await sink.endSnapshot(ITEMS, 0x1000n);
    expect((await sink.taken([ITEMS])).size).toBe(0);
    // As a process leaves it that ends while the mart is made.
    await fixture.query(
      `insert into ${fixture.landing}._walhouse_marts (name, hash, objects) values ('counts', '', ['counts'])`,
    );
    const again = await fixture.open({ tables: tables(false), marts: [MART] });
    expect((await again.taken([ITEMS])).size).toBe(0);
  });
});
