import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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
  fixture = await sinkFixture('sink_quarantine');
});
afterAll(() => fixture.close());

const COLUMNS = { id: 'int8 not null', amount: 'numeric(12,2)', note: 'text', must: 'int4 not null' };

describe('quarantine', () => {
  it.each(['full', 'default'] as const)(
    'keeps the row raw with its reason, hides the version before, and lets the others go on (replica identity %s)',
    async (identity) => {
      const relation = relationOf(`public.q_${identity}`, COLUMNS, { replicaIdentity: identity });
      const sink = await fixture.open({ tables: new Map([[relation.id, { history: false }]]) });
      const row = (id: number, amount: string | null, must: string | null = '1'): Row => ({
        id: `${id}`,
        amount,
        note: 'secret "é"',
        must,
      });
      const old = (of: Row): Row | null => (identity === 'full' ? of : null);
      await snapshot(sink, relation, 0x1000n, [row(1, '1.00'), row(2, 'NaN'), row(3, '3.00'), row(8, '8.00'), row(9, 'NaN')]); // prettier-ignore
      const changes: Change[] = [
        { op: 'update', relation, old: old(row(1, '1.00')), row: row(1, 'NaN') },
        { op: 'update', relation, old: old(row(2, 'NaN')), row: row(2, '2.00') },
        { op: 'insert', relation, row: row(4, 'Infinity') },
        { op: 'insert', relation, row: row(5, '5.00') },
        { op: 'insert', relation, row: row(6, '6.00', null) },
        // A key change into quarantine hides the old key, not the new one's predecessor alone.
        {
          op: 'update',
          relation,
          old: identity === 'full' ? row(8, '8.00') : { id: '8' },
          row: row(80, 'NaN'),
        },
        { op: 'delete', relation, old: identity === 'full' ? row(9, 'NaN') : { id: '9' } },
      ];
      for (const pass of ['first', 'again']) {
        await apply(sink, { commitLsn: 0x2000n, changes });
        const visible = await fixture.query(
          `select toInt32(id) as id, toString(amount) as amount from ${fixture.database}.${relation.name} order by id`,
        );
        expect(visible, pass).toEqual([
          { id: 2, amount: '2' },
          { id: 3, amount: '3' },
          { id: 5, amount: '5' },
        ]);
        expect(sink.quarantined().get(relation.id), pass).toBe(6);
      }
      const raw = await fixture.query<Record<string, unknown>>(
        `select key, commit_lsn, column, reason, row from ${fixture.landing}._walhouse_quarantine final
         where table = '${relation.id}' order by version, key`,
      );
      expect(raw.slice(0, 1)).toEqual([
        {
          key: '{"id":"2"}',
          commit_lsn: '0/FFF',
          column: 'amount',
          reason: 'numeric(12,2) value that Decimal(12, 2) cannot hold exactly',
          row: '{"id":"2","amount":"NaN","note":"secret \\"é\\"","must":"1"}',
        },
      ]);
      expect(raw.map(({ reason }) => reason)).toContain('null where the table said not null');
      const again = await fixture.open({ tables: new Map([[relation.id, { history: false }]]) });
      expect(again.quarantined().get(relation.id), 'after a restart').toBe(6);
      await again.beginSnapshot(relation, 0x3000n);
      expect(again.quarantined().get(relation.id), 'after a new snapshot').toBeUndefined();
    },
  );
});
