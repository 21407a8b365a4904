import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Relation } from '../../src/pipeline/relation.js';
import type { Sink } from '../../src/pipeline/sink.js';
import {
  apply,
  fill,
  sinkFixture,
  snapshot,
  type Change,
  type Row,
  type SinkFixture,
} from '../support/sink-fixture.js';
import { relationOf } from '../support/tuples.js';

let fixture: SinkFixture;
beforeAll(async () => {
  fixture = await sinkFixture('sink_incomplete');
});
afterAll(() => fixture.close());

const COLUMNS = {
  id: 'int8 not null',
  code: 'text not null',
  n: 'int4',
  big: 'text',
  raw: 'bytea',
  amount: 'numeric(12,2)',
};
const KEY = ['id', 'code'];
const BIG = "tab\t'quote' é\\".repeat(500);
const RAW = `\\x${'0009ff'.repeat(500)}`;

/** A row as Postgres sends it when `big` and `raw` did not change: without them. */
function thin(row: Row): Row {
  const { big: _, raw: __, ...rest } = row;
  return rest;
}

async function opened(relation: Relation, rows: readonly Row[]): Promise<Sink> {
  const sink = await fixture.open({ tables: new Map([[relation.id, { history: false }]]) });
  await snapshot(sink, relation, 0x1000n, rows);
  return sink;
}

function visible(relation: Relation): Promise<Record<string, unknown>[]> {
  return fixture.query(
    `select id, code, n, big, concat('\\\\x', lower(hex(raw))) as raw from ${fixture.database}.${relation.name} order by id, code`,
  );
}

const row = (id: number, n: number | null, code = "c'\\\té"): Row => ({
  id: `${id}`,
  code,
  n: n === null ? null : `${n}`,
  big: `${id}${BIG}`,
  raw: RAW,
  amount: '1.50',
});
const shown = (id: number, n: number | null, code = "c'\\\té"): Record<string, unknown> => ({
  id: `${id}`,
  code,
  n,
  big: `${id}${BIG}`,
  raw: RAW,
});

describe('values that were not sent', () => {
  it('come from the old row where the replica identity is FULL', async () => {
    const relation = relationOf('public.whole', COLUMNS, { key: KEY });
    const sink = await opened(relation, [row(1, 1)]);
    await apply(sink, {
      commitLsn: 0x2000n,
      changes: [{ op: 'update', relation, old: row(1, 1), row: thin(row(1, 2)) }],
    });
    expect(await visible(relation)).toEqual([shown(1, 2)]);
    expect(sink.quarantined().size).toBe(0);
  });

  it('come from the version before, in landing or in the same batch, through key changes too', async () => {
    const relation = relationOf('public.parts', COLUMNS, { key: KEY, replicaIdentity: 'default' });
    const sink = await opened(relation, [row(1, 1), row(2, 1), row(3, 1)]);
    const changes: Change[] = [
      // From landing, twice in one batch.
      { op: 'update', relation, old: null, row: thin(row(1, 2)) },
      { op: 'update', relation, old: null, row: thin(row(1, 3)) },
      // From a row of this batch.
      { op: 'insert', relation, row: row(4, 1) },
      { op: 'update', relation, old: null, row: thin(row(4, 2)) },
      // Under the old key, in landing and in the batch, and on from there.
      { op: 'update', relation, old: { id: '2', code: row(2, 1)['code'] }, row: thin({ ...row(20, 2) }) },
      { op: 'update', relation, old: null, row: thin(row(20, 3)) },
      { op: 'update', relation, old: { id: '4', code: row(4, 1)['code'] }, row: thin(row(40, 3)) },
      // A real change to null is null.
      { op: 'update', relation, old: null, row: { ...row(3, 2), big: null, raw: null } },
      { op: 'update', relation, old: null, row: thin(row(3, 3)) },
      // Deleted and inserted anew.
      { op: 'insert', relation, row: row(5, 1) },
      { op: 'delete', relation, old: { id: '5', code: row(5, 1)['code'] } },
      { op: 'insert', relation, row: { ...row(5, 2), big: 'other' } },
      { op: 'update', relation, old: null, row: thin(row(5, 3)) },
    ];
    const expected = [
      shown(1, 3),
      { ...shown(3, 3), big: null, raw: null },
      { ...shown(5, 3), big: 'other' },
      { ...shown(20, 3), big: `2${BIG}` },
      { ...shown(40, 3), big: `4${BIG}` },
    ];
    for (const pass of ['first', 'again', 'after a merge']) {
      if (pass === 'after a merge') await fixture.query(`optimize table ${fixture.landing}.parts final`);
      await apply(sink, { commitLsn: 0x2000n, changes });
      expect(await visible(relation), pass).toEqual(expected);
    }
    expect(sink.quarantined().size).toBe(0);
  });

  it('come right when every change is a batch of its own and batches are stored twice', async () => {
    const relation = relationOf('public.singly', COLUMNS, { key: KEY, replicaIdentity: 'index' });
    const sink = await opened(relation, [row(1, 0)]);
    for (let i = 1; i <= 10; i += 1) {
      const batch = sink.openBatch();
      fill(batch, {
        commitLsn: 0x2000n + 64n * BigInt(i),
        changes: [{ op: 'update', relation, old: null, row: thin(row(1, i)) }],
      });
      await sink.store(batch);
      if (i % 3 === 0) await fixture.query(`optimize table ${fixture.landing}.singly final`);
      const replay = sink.openBatch();
      for (let j = Math.max(1, i - 3); j <= i; j += 1)
        fill(replay, {
          commitLsn: 0x2000n + 64n * BigInt(j),
          changes: [{ op: 'update', relation, old: null, row: thin(row(1, j)) }],
        });
      await sink.store(replay);
      expect(await visible(relation)).toEqual([shown(1, i)]);
    }
    expect(sink.quarantined().size).toBe(0);
  });

  it('send the row to quarantine where no older version has them, and never become null', async () => {
    const relation = relationOf('public.nowhere', COLUMNS, { key: KEY, replicaIdentity: 'default' });
    const sink = await opened(relation, []);
    await apply(sink, {
      commitLsn: 0x2000n,
      changes: [{ op: 'update', relation, old: null, row: thin(row(1, 1)) }],
    });
    expect(await visible(relation)).toEqual([]);
    expect(sink.quarantined().get('public.nowhere')).toBe(1);
  });
});
