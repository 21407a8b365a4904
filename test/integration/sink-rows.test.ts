import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Relation } from '../../src/pipeline/relation.js';
import type { Sink } from '../../src/pipeline/sink.js';
import {
  apply,
  sinkFixture,
  snapshot,
  type Change,
  type Row,
  type SinkFixture,
} from '../support/sink-fixture.js';
import { relationOf } from '../support/tuples.js';

let fixture: SinkFixture;
beforeAll(async () => {
  fixture = await sinkFixture('sink_rows');
});
afterAll(() => fixture.close());

const ITEM = { id: 'int8 not null', name: 'text', price: 'numeric(12,2)' };

async function opened(relation: Relation, rows: readonly Row[] = []): Promise<Sink> {
  const sink = await fixture.open({ tables: new Map([[relation.id, { history: false }]]) });
  await snapshot(sink, relation, 0x1000n, rows);
  return sink;
}

function visible(relation: Relation): Promise<Record<string, unknown>[]> {
  return fixture.query(`select * from ${fixture.database}.\`${relation.name}\` order by 1`);
}

describe('rows', () => {
  it('a snapshot and the stream after it give the current rows', async () => {
    const items = relationOf('public.items', ITEM);
    const sink = await opened(items, [
      { id: '1', name: 'a', price: '1.50' },
      { id: '2', name: null, price: null },
    ]);
    const changes: Change[] = [
      { op: 'insert', relation: items, row: { id: '3', name: '', price: '0.01' } },
      {
        op: 'update',
        relation: items,
        old: { id: '1', name: 'a', price: '1.50' },
        row: { id: '1', name: 'b', price: '2.00' },
      },
      { op: 'delete', relation: items, old: { id: '2', name: null, price: null } },
    ];
    for (const pass of ['first', 'again']) {
      await apply(sink, { commitLsn: 0x2000n, changes });
      expect(await visible(items), pass).toEqual([
        { id: '1', name: 'b', price: 2 },
        { id: '3', name: '', price: 0.01 },
      ]);
    }
  });

  it('the last of several changes to one key in one transaction wins', async () => {
    const items = relationOf('public.lasting', ITEM);
    const sink = await opened(items);
    const row = (name: string): Row => ({ id: '1', name, price: null });
    await apply(sink, {
      commitLsn: 0x2000n,
      changes: [
        { op: 'insert', relation: items, row: row('a') },
        { op: 'update', relation: items, old: row('a'), row: row('b') },
        { op: 'delete', relation: items, old: row('b') },
        { op: 'insert', relation: items, row: row('c') },
      ],
    });
    expect(await visible(items)).toEqual([{ id: '1', name: 'c', price: null }]);
  });

  it.each(['full', 'default'] as const)(
    'bulk key changes leave no old key, replica identity %s',
    async (identity) => {
      const items = relationOf(`public.keys_${identity}`, ITEM, { replicaIdentity: identity });
      const row = (id: number): Row => ({ id: `${id}`, name: `n${id}`, price: '1.00' });
      const sink = await opened(items, [1, 2, 11].map(row));
      // `id = id + 10`: 1 -> 11 while 11 -> 21, in the order that lets it pass.
      const moves: [number, number][] = [
        [11, 21],
        [1, 11],
        [2, 12],
      ];
      const changes = moves.map(([from, to]): Change => {
        const old = identity === 'full' ? row(from) : { id: `${from}` };
        return { op: 'update', relation: items, old, row: { ...row(from), id: `${to}` } };
      });
      for (const pass of ['first', 'again']) {
        await apply(sink, { commitLsn: 0x2000n, changes });
        const rows = await visible(items);
        expect(
          rows.map(({ id, name }) => [id, name]),
          pass,
        ).toEqual([
          ['11', 'n1'],
          ['12', 'n2'],
          ['21', 'n11'],
        ]);
      }
    },
  );

  it('older changes that are delivered again lose against the snapshot', async () => {
    const items = relationOf('public.older', ITEM);
    const sink = await opened(items, [{ id: '1', name: 'new', price: null }]);
    await apply(sink, {
      commitLsn: 0x0ff8n,
      changes: [
        { op: 'insert', relation: items, row: { id: '1', name: 'old', price: null } },
        { op: 'insert', relation: items, row: { id: '2', name: 'gone', price: null } },
        { op: 'delete', relation: items, old: { id: '2', name: 'gone', price: null } },
      ],
    });
    expect(await visible(items)).toEqual([{ id: '1', name: 'new', price: null }]);
  });

  it('a truncate hides what came before it and nothing after, also when it is delivered again', async () => {
    const items = relationOf('public.cut', ITEM);
    const row = (id: number): Row => ({ id: `${id}`, name: null, price: null });
    const sink = await opened(items, [1, 2].map(row));
    const cut = async (): Promise<void> => {
      await apply(sink, {
        commitLsn: 0x2000n,
        changes: [
          { op: 'insert', relation: items, row: row(3) },
          { op: 'truncate', relation: items },
        ],
      });
    };
    await cut();
    expect(await visible(items)).toEqual([]);
    await apply(sink, { commitLsn: 0x3000n, changes: [{ op: 'insert', relation: items, row: row(2) }] });
    await cut();
    expect(await visible(items)).toEqual([{ id: '2', name: null, price: null }]);
  });

  it('a table keeps its name, its columns and its comments, whatever their characters', async () => {
    const odd = relationOf(
      'public.Odd `name\\ "x',
      { 'Id `\\': 'int8 not null', select: 'text', "it's": 'text' },
      { comment: "it's a `table`\nwith two lines" },
    );
    const sink = await opened({ ...odd, name: 'Odd `name\\ "x' }, [
      { 'Id `\\': '1', select: 'a', "it's": 'b' },
    ]);
    await sink.close();
    const rows = await fixture.query<{ name: string; comment: string }>(
      `select name, comment from system.tables where database = '${fixture.database}' and name like 'Odd%'`,
    );
    expect(rows).toEqual([{ name: 'Odd `name\\ "x', comment: "it's a `table`\nwith two lines" }]);
  });
});
