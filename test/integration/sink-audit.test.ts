import { afterAll, beforeAll, expect, it } from 'vitest';
import { apply, sinkFixture, snapshot, type Row, type SinkFixture } from '../support/sink-fixture.js';
import { relationOf } from '../support/tuples.js';

let fixture: SinkFixture;
beforeAll(async () => {
  fixture = await sinkFixture('sink_audit');
});
afterAll(() => fixture.close());

const ODD = 'tab\t newline\n quote" back\\slash \u0001 é';

it('the audit trail has every change once, with both images as texts, also after replay', async () => {
  const relation = relationOf('public.acts', { id: 'int8 not null', 'odd "name': 'text', n: 'numeric' });
  const sink = await fixture.open({ tables: new Map([[relation.id, { history: true }]]) });
  const row = (id: number, text: string | null, n: string | null): Row => ({
    id: `${id}`,
    'odd "name': text,
    n,
  });
  await snapshot(sink, relation, 0x1000n, [row(1, ODD, '1e130'), row(2, null, null)]);
  for (const pass of ['first', 'again']) {
    await apply(sink, {
      commitLsn: 0x1_0000_2000n,
      changes: [
        { op: 'insert', relation, row: row(3, '', 'NaN') },
        { op: 'update', relation, old: row(1, ODD, '1'), row: { id: '10', n: '2' } },
        { op: 'delete', relation, old: row(2, null, null) },
      ],
    });
    await apply(sink, { commitLsn: 0x1_0000_3000n, changes: [{ op: 'truncate', relation }] });
    const trail = await fixture.query<Record<string, unknown>>(
      `select op, key, before, after, lsn, ordinal, xid, toString(committed_at) as at
       from ${fixture.database}_audit.acts order by commit_lsn, ordinal, key`,
    );
    const image = (id: number, text: string | null, n: string | null): string =>
      JSON.stringify({ id: `${id}`, 'odd "name': text, n }).replace(/\\([tn])/g, (_, c) =>
        c === 't' ? '\\u0009' : '\\u000a',
      );
    expect(trail.map(({ at: _, ...rest }) => rest), pass).toEqual([
      { op: 'r', key: '{"id":"1"}', before: null, after: image(1, ODD, '1e130'), lsn: '0/FFF', ordinal: '0', xid: 0 },
      { op: 'r', key: '{"id":"2"}', before: null, after: image(2, null, null), lsn: '0/FFF', ordinal: '0', xid: 0 },
      { op: 'c', key: '{"id":"3"}', before: null, after: image(3, '', 'NaN'), lsn: '1/2000', ordinal: '1', xid: 7 },
      { op: 'u', key: '{"id":"10"}', before: image(1, ODD, '1'), after: image(10, ODD, '2'), lsn: '1/2000', ordinal: '2', xid: 7 },
      { op: 'd', key: '{"id":"2"}', before: image(2, null, null), after: null, lsn: '1/2000', ordinal: '3', xid: 7 },
      { op: 't', key: '', before: null, after: null, lsn: '1/3000', ordinal: '1', xid: 7 },
    ]); // prettier-ignore
    expect(trail.at(-1)!['at']).toBe('2026-11-21 08:59:59.962001');
  }
});

it('the audit trail keeps nothing that is past its retention', async () => {
  const relation = relationOf('public.kept', { id: 'int8 not null', d: 'timestamptz' });
  const retention = { column: 'd', keep: { count: 2, unit: 'year' } } as const;
  const sink = await fixture.open({ tables: new Map([[relation.id, { history: true, retention }]]) });
  const day = (days: number): string =>
    new Date(Date.now() - days * 86_400_000).toISOString().replace('T', ' ').replace('Z', '+00');
  const row = (id: number, d: string | null): Row => ({ id: `${id}`, d });
  const [fresh, old] = [day(1), day(1000)];
  await snapshot(sink, relation, 0x1000n, [row(1, fresh), row(2, old), row(3, null)]);
  await apply(sink, {
    commitLsn: 0x2000n,
    changes: [
      { op: 'update', relation, old: row(1, fresh), row: row(1, old) },
      { op: 'update', relation, old: row(1, old), row: row(1, null) },
      { op: 'update', relation, old: row(1, null), row: row(1, fresh) },
      { op: 'update', relation, old: row(3, null), row: row(3, day(2)) },
    ],
  });
  const trail = async (): Promise<unknown> =>
    (
      await fixture.query<{ op: string; key: string; ordinal: string }>(
        `select op, key, ordinal from ${fixture.database}_audit.kept order by commit_lsn, ordinal, key`,
      )
    ).map(({ op, key, ordinal }) => `${op}${ordinal} ${key}`);
  const expected = ['r0 {"id":"1"}', 'r0 {"id":"3"}', 'u3 {"id":"1"}', 'u4 {"id":"3"}'];
  expect(await trail()).toEqual(expected);
  await fixture.query(`optimize table ${fixture.landing}._walhouse_audit_kept final`);
  const left = await fixture.query<{ n: string }>(
    `select count() as n from ${fixture.landing}._walhouse_audit_kept`,
  );
  expect(Number(left[0]!.n)).toBe(expected.length);
  expect(await trail()).toEqual(expected);
});
