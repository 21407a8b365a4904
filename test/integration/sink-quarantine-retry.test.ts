import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listQuarantined } from '../../src/sink/quarantine-list.js';
import { retryQuarantined } from '../../src/sink/quarantine-retry.js';
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
  fixture = await sinkFixture('quarantine_retry');
});
afterAll(() => fixture.close());

const BIG = '12345678901234.50';
const LONG = 'long '.repeat(1_000);
const row = (id: number, amount: string, note?: string | null): Row => ({ id: `${id}`, amount, note });

/** A table whose `amount` is too narrow, and the same table after somebody has widened it on both sides. */
function narrowAndWide(name: string) {
  const columns = { id: 'int8 not null', amount: 'numeric(12,2)', note: 'text' };
  const id = `public.${name}`;
  const narrow = relationOf(id, columns);
  const wide = relationOf(id, { ...columns, amount: 'numeric(20,2)' });
  const widen = () =>
    fixture.query(
      `alter table ${fixture.landing}.${name} modify column amount Nullable(Decimal(20, 2)) settings alter_sync = 2`,
    );
  return { id, narrow, wide, widen, visible: () => visibleOf(name) };
}

async function visibleOf(name: string): Promise<string[]> {
  const rows = await fixture.query<{ row: string }>(
    `select concat(toString(id), ' ', ifNull(toString(amount), '-'), ' ', toString(length(ifNull(note, '')))) as row
       from ${fixture.landing}.${name} final where _is_deleted = 0 order by id`,
  );
  return rows.map((found) => found.row);
}

const retry = (relation: ReturnType<typeof relationOf>) =>
  retryQuarantined({
    client: fixture.client,
    database: fixture.database,
    relation,
    table: { history: false },
  });

describe('a row that is put back', () => {
  it('takes its place in the history: later versions win, deleted rows stay deleted, values not sent are found', async () => {
    const { id, narrow: relation, wide, widen, visible } = narrowAndWide('orders');
    const sink = await fixture.open({ tables: new Map([[id, { history: false }]]) });
    await snapshot(sink, relation, 0x1000n, [row(1, '1.00', 'one'), row(7, '7.00', 'seven'), row(9, BIG, 'snap')]); // prettier-ignore
    const first: Change[] = [
      { op: 'update', relation, old: null, row: row(1, BIG, 'one') },
      { op: 'insert', relation, row: row(2, BIG, 'two') },
      { op: 'insert', relation, row: row(3, BIG, 'three') },
      { op: 'insert', relation, row: row(4, BIG, 'four') },
      { op: 'insert', relation, row: row(5, 'NaN', 'five') },
      { op: 'insert', relation, row: row(6, BIG, LONG) },
      { op: 'update', relation, old: { id: '7' }, row: row(70, BIG, 'seventy') },
    ];
    const second: Change[] = [
      { op: 'update', relation, old: null, row: row(2, '2.00', 'two') },
      { op: 'delete', relation, old: { id: '3' } },
      { op: 'update', relation, old: null, row: row(4, '99999999999.99', 'four') },
      // Its note was not sent, and the version that has it is in quarantine.
      { op: 'update', relation, old: null, row: row(6, '6.00', undefined) },
    ];
    await apply(sink, { commitLsn: 0x2000n, changes: first }, { commitLsn: 0x3000n, changes: second });
    expect(await visible()).toEqual(['2 2 3']);
    expect(sink.quarantined().get(id)).toBe(10);

    expect(await retry(relation), 'nothing has been fixed').toMatchObject({
      put_back: 0,
      superseded: 3,
      left: 7,
    });
    await expect(retry(wide)).rejects.toMatchObject({ kind: 'schema_changed' });
    await widen();

    const report = await retry(wide);
    expect(report).toMatchObject({ table: id, put_back: 6, superseded: 0, left: 1 });
    expect(report.reasons).toEqual([
      { column: 'amount', reason: 'numeric(20,2) value that Decimal(20, 2) cannot hold exactly', count: 1 },
    ]);
    const after = ['1 12345678901234.5 3', '2 2 3', '4 99999999999.99 4', `6 6 ${LONG.length}`, '9 12345678901234.5 4', '70 12345678901234.5 7']; // prettier-ignore
    expect(await visible()).toEqual(after);
    await fixture.query(`optimize table ${fixture.landing}.orders final`);
    expect(await visible(), 'merged').toEqual(after);
    expect(await retry(wide), 'again').toMatchObject({ put_back: 0, superseded: 0, left: 1 });
    await expect.poll(() => sink.quarantined().get(id)).toBe(1);

    // A service that has not learnt of the wider column delivers everything once more.
    await apply(sink, { commitLsn: 0x2000n, changes: first }, { commitLsn: 0x3000n, changes: second });
    expect(await visible(), 'delivered again').toEqual(after);
    expect(await retry(wide)).toMatchObject({ put_back: 0, left: 1 });
    expect(await visible()).toEqual(after);
  });

  it('does not come back after a truncate', async () => {
    const { id, narrow: relation, wide, widen, visible } = narrowAndWide('emptied');
    const sink = await fixture.open({ tables: new Map([[id, { history: false }]]) });
    await snapshot(sink, relation, 0x1000n, []);
    await apply(sink, { commitLsn: 0x2000n, changes: [{ op: 'insert', relation, row: row(1, BIG, 'a') }] });
    await apply(sink, { commitLsn: 0x3000n, changes: [{ op: 'truncate', relation }] });
    await apply(sink, { commitLsn: 0x4000n, changes: [{ op: 'insert', relation, row: row(2, BIG, 'b') }] });
    await widen();
    expect(await retry(wide)).toMatchObject({ put_back: 1, superseded: 0, left: 0 });
    expect(await visible()).toEqual(['2 12345678901234.5 1']);
  });

  it('is not guessed where the refused column decides where the row lies', async () => {
    const relation = relationOf(
      'public.dated',
      { id: 'int8 not null', at: 'timestamptz' },
      { replicaIdentity: 'full' },
    );
    const retention = { column: 'at', keep: { count: 2, unit: 'year' } } as const;
    const table = { history: false, retention };
    const sink = await fixture.open({ tables: new Map([[relation.id, table]]) });
    await snapshot(sink, relation, 0x1000n, [{ id: '1', at: '294276-12-31 00:00:00+00' }]);
    const { client, database } = fixture;
    const report = await retryQuarantined({ client, database, relation, table });
    expect(report).toMatchObject({ put_back: 0, left: 1 });
    expect(report.reasons[0]?.reason).toContain('walhouse resync public.dated');
  });
});

describe('listing the quarantine', () => {
  it('shows keys and reasons, and values only where they are asked for', async () => {
    const { id, narrow: relation } = narrowAndWide('listed');
    const sink = await fixture.open({ tables: new Map([[id, { history: false }]]) });
    await snapshot(sink, relation, 0x1000n, [row(1, BIG, 'secret'), row(2, BIG, 'secret'), row(3, '3.00', 'x')]); // prettier-ignore
    const { client, database } = fixture;
    const list = { client, database, table: id, limit: 1 };
    const hidden = await listQuarantined({ ...list, showValues: false });
    expect(hidden).toMatchObject({
      total: 2,
      rows: [{ table: id, key: '{"id":"1"}', position: '0/FFF', column: 'amount' }],
    });
    expect(JSON.stringify(hidden)).not.toContain('secret');
    const shown = await listQuarantined({ ...list, showValues: true });
    expect(JSON.parse(shown.rows[0]!.row!)).toEqual({ id: '1', amount: BIG, note: 'secret' });
  });

  it('is empty where Walhouse has never run', async () => {
    const { client } = fixture;
    expect(
      await listQuarantined({ client, database: 'nobody_here', table: null, limit: 9, showValues: false }),
    ).toEqual({ total: 0, rows: [] });
  });
});
