import { afterAll, beforeAll, expect, it } from 'vitest';
import type { MartFiles } from '../../src/sink/marts.js';
import { ANY_MOMENT, apply, sinkFixture, snapshot, type SinkFixture } from '../support/sink-fixture.js';
import { relationOf } from '../support/tuples.js';

const THINGS = relationOf('public.things', { id: 'int8 not null', owner: 'int8 not null', v: 'text' });
const TABLES = new Map([[THINGS.id, { history: false }]]);

/** Which things each owner has; one row per version of a thing under one owner. */
const mart = (note: string): MartFiles => ({
  name: 'owned',
  files: [
    {
      name: '1_owned.sql',
      sql: `-- ${note}
-- tracks: public.things (owner)
create table {database}.owned engine = ReplacingMergeTree order by (owner, id, _version)
empty as select owner, id, _version, _is_deleted from {landing}.things`,
    },
    {
      name: '2_owned_feed.sql',
      sql: `create materialized view {database}.owned_feed to {database}.owned as
select owner, id, _version, _is_deleted from {landing}.things`,
    },
  ],
});

let fixture: SinkFixture;
beforeAll(async () => {
  fixture = await sinkFixture('mart_rebuild');
});
afterAll(() => fixture.close());

const owned = (): Promise<unknown[]> =>
  fixture.query(`select owner, count() as n
    from (select owner, id, argMax(_is_deleted, _version) as gone from ${fixture.database}.owned group by owner, id)
   where gone = 0 group by owner order by owner`);

it('a mart that is made from landing has no row where it was before an update, whatever landing has merged', async () => {
  const sink = await fixture.open({ tables: TABLES, marts: [mart('as it was')] });
  await snapshot(sink, THINGS, 0x1000n, [
    { id: '1', owner: '1', v: 'a' },
    { id: '2', owner: '1', v: 'b' },
  ]);
  // What was stored first is not merged with what comes later, which ClickHouse reduces to its last version as it stores it.
  await fixture.query(`system stop merges ${fixture.landing}.things`);
  await apply(sink, {
    commitLsn: 0x2000n,
    changes: [
      {
        op: 'update',
        relation: THINGS,
        old: { id: '1', owner: '1', v: 'a' },
        row: { id: '1', owner: '2', v: 'a' },
      },
    ],
  });
  const before = await owned();
  expect(before).toEqual([
    { owner: '1', n: '1' },
    { owner: '2', n: '1' },
  ]);
  const next = await fixture.open({ tables: TABLES, marts: [mart('by other SQL')] });
  expect(await next.attach(THINGS, ANY_MOMENT)).toMatchObject({ live: true, rebuilt: true });
  expect(await owned()).toEqual(before);
});
