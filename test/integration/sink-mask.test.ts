import { createHash, createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Relation } from '../../src/pipeline/relation.js';
import { Masker } from '../../src/sink/mask.js';
import { retryQuarantined } from '../../src/sink/quarantine-retry.js';
import type { SinkTable } from '../../src/sink/plans.js';
import { ANY_MOMENT, apply, sinkFixture, snapshot, type Row, type SinkFixture } from '../support/sink-fixture.js'; // prettier-ignore
import { relationOf } from '../support/tuples.js';

const KEY = 'a key of the test, 32 characters or more';
const masker = new Masker(KEY);
const hash = (text: string): string => createHmac('sha256', KEY).update(text).digest('hex');
/** In every value that is masked. */
const RAW = 'do-not-show-me';
const LARGE = `${RAW} `.repeat(100_000);

let fixture: SinkFixture;
beforeAll(async () => {
  fixture = await sinkFixture('sink_mask');
});
afterAll(() => fixture.close());

/** The tables and views of all databases in which any column has the text. */
async function holding(text: string): Promise<string[]> {
  const { database: d } = fixture;
  const tables = await fixture.query<{ place: string }>(
    `select concat(database, '.', name) as place from system.tables
      where database in ('${d}', '${d}_landing', '${d}_audit') and not match(name, '_at$|^_walhouse_gone_') order by place`,
  );
  const found: string[] = [];
  for (const { place } of tables) {
    const [row] = await fixture.query<{ n: string }>(
      `select countIf(position(toString(tuple(*)), '${text}') > 0) as n from ${place}`,
    );
    if (Number(row!.n) > 0) found.push(place.replace(d, ''));
  }
  return found;
}

const COLUMNS = { id: 'int8 not null', email: 'text', amount: 'numeric(12,2)', note: 'text' };
const options = (relation: Relation, table: SinkTable) => ({
  tables: new Map([[relation.id, table]]),
  masker,
});

describe('a masked column', () => {
  it('is its hash wherever a row of it stands: stream, snapshot, trail, history, quarantine', async () => {
    const people = relationOf('public.people', { ...COLUMNS, born: 'date', photo: 'bytea' });
    const table = { history: true, mask: ['email', 'born', 'photo'] };
    const sink = await fixture.open(options(people, table));
    const row = (id: number, email: string | null | undefined, amount = '1.00'): Row => ({
      id: `${id}`, email, amount, note: 'seen', born: '1970-01-02', photo: '\\x00ff',
    }); // prettier-ignore
    await snapshot(sink, people, 0x1000n, [
      row(1, `${RAW} 1`), row(2, null), row(3, `${RAW} 3`), row(4, `${RAW} 4`), row(5, `${RAW} 5`, 'NaN'), row(6, ''),
    ]); // prettier-ignore
    await apply(sink, {
      commitLsn: 0x2000n,
      changes: [
        { op: 'insert', relation: people, row: row(7, `${RAW} 1`) },
        { op: 'insert', relation: people, row: row(8, LARGE) },
        { op: 'update', relation: people, old: row(3, `${RAW} 3`), row: row(3, undefined, '2.00') },
        { op: 'update', relation: people, old: row(1, `${RAW} 1`), row: row(10, `${RAW} 10`) },
        { op: 'delete', relation: people, old: row(4, `${RAW} 4`) },
        { op: 'insert', relation: people, row: row(9, `${RAW} 9`, 'NaN') },
      ],
    });
    const shown = await fixture.query(
      `select id, email, note, born, photo from ${fixture.database}.people order by id`,
    );
    const same = { note: 'seen', born: hash('1970-01-02'), photo: hash('\\x00ff') };
    expect(shown).toEqual([
      { id: '2', email: null, ...same },
      { id: '3', email: hash(`${RAW} 3`), ...same },
      { id: '6', email: hash(''), ...same },
      { id: '7', email: hash(`${RAW} 1`), ...same },
      { id: '8', email: hash(LARGE), ...same },
      { id: '10', email: hash(`${RAW} 10`), ...same },
    ]);
    expect(await holding(hash(`${RAW} 9`))).toEqual(expect.arrayContaining(['_audit.people', '_landing._walhouse_quarantine'])); // prettier-ignore
    expect(await holding(hash(`${RAW} 4`))).toEqual(expect.arrayContaining(['_landing._walhouse_versions_people', '.people_history'])); // prettier-ignore
    expect(await holding(RAW)).toEqual([]);
    expect(await holding('1970-01-02')).toEqual([]);

    // It stays what it is when it is put back: not the hash of a hash.
    for (const name of ['people', '_walhouse_versions_people'])
      await fixture.query(`alter table ${fixture.landing}.${name} modify column amount Nullable(String) settings alter_sync = 2`); // prettier-ignore
    await retryQuarantined({
      client: fixture.client, database: fixture.database, masker, table,
      relation: { ...people, columns: people.columns.map((column) => column.name === 'amount' ? { ...column, type: { ...column.type, modifier: -1 } } : column) },
    }); // prettier-ignore
    expect(
      await fixture.query(`select id, email from ${fixture.landing}.people final where amount = 'NaN' order by id`),
    ).toEqual([{ id: '5', email: hash(`${RAW} 5`) }, { id: '9', email: hash(`${RAW} 9`) }]); // prettier-ignore
  });

  it('keeps its hash where an update did not send the value, and neither the old row', async () => {
    const notes = relationOf('public.notes', COLUMNS, { replicaIdentity: 'default' });
    const sink = await fixture.open(options(notes, { history: false, mask: ['email'] }));
    await snapshot(sink, notes, 0x1000n, [{ id: '1', email: LARGE, amount: '1', note: 'a' }]);
    await apply(sink, {
      commitLsn: 0x2000n,
      changes: [{ op: 'update', relation: notes, old: null, row: { id: '1', amount: '2', note: 'b' } }],
    });
    expect(await fixture.query(`select email, note from ${fixture.database}.notes`)).toEqual([
      { email: hash(LARGE), note: 'b' },
    ]);
  });

  it('takes a new copy when it is masked, unmasked or has another key; what was kept of it otherwise goes', async () => {
    const accounts = relationOf('public.accounts', COLUMNS);
    const row = (id: number, email: string, note: string): Row => ({
      id: `${id}`,
      email,
      amount: '1.00',
      note,
    });
    const open = (table: SinkTable, key: Masker) =>
      fixture.open({ tables: new Map([[accounts.id, table]]), masker: key });
    const plain = await open({ history: true }, masker);
    await snapshot(plain, accounts, 0x1000n, [row(1, `${RAW} old`, 'odd "\\\n\u0001 é')]);
    await apply(plain, {
      commitLsn: 0x2000n,
      changes: [{ op: 'update', relation: accounts, old: row(1, `${RAW} old`, 'odd "\\\n\u0001 é'), row: row(1, `${RAW} new`, 'b') }],
    }); // prettier-ignore
    expect(await holding(RAW)).toHaveLength(6);

    const masked = { history: true, mask: ['email'] };
    const sink = await open(masked, masker);
    expect(await sink.attach(accounts, ANY_MOMENT)).toMatchObject({ live: false, stale: true });
    await snapshot(sink, accounts, 0x3000n, [row(1, `${RAW} new`, 'b')]);
    expect(await holding(RAW)).toEqual([]);
    const trail = await fixture.query<{ op: string; before: string | null; after: string | null }>(
      `select op, before, after from ${fixture.database}_audit.accounts order by commit_lsn, op`,
    );
    expect(trail.map(({ op, before, after }) => [op, ...[before, after].map((image) => JSON.parse(image ?? 'null') as unknown)])).toEqual([
      ['r', null, { id: '1', amount: '1.00', note: 'odd "\\\n\u0001 é' }],
      ['u', { id: '1', amount: '1.00', note: 'odd "\\\n\u0001 é' }, { id: '1', amount: '1.00', note: 'b' }],
      ['g', null, null],
      ['r', null, { id: '1', email: hash(`${RAW} new`), amount: '1.00', note: 'b' }],
    ]); // prettier-ignore
    expect(
      await fixture.query(`select email, note from ${fixture.database}.accounts_history order by commit_lsn, ordinal`),
    ).toEqual([
      { email: null, note: 'odd "\\\n\u0001 é' },
      { email: null, note: 'b' },
      { email: hash(`${RAW} new`), note: 'b' },
    ]); // prettier-ignore
    expect(await (await open(masked, masker)).attach(accounts, ANY_MOMENT)).toMatchObject({ live: true });

    const other = new Masker(`another ${KEY}`);
    const renewed = await open(masked, other);
    expect(await renewed.attach(accounts, ANY_MOMENT)).toMatchObject({ live: false, stale: true });
    await snapshot(renewed, accounts, 0x4000n, [row(1, `${RAW} new`, 'b')]);
    expect(await holding(hash(`${RAW} new`))).toEqual([]);
    expect(await holding(other.hash(`${RAW} new`))).toHaveLength(6);
    expect(await (await open({ history: true }, masker)).attach(accounts, ANY_MOMENT)).toMatchObject({
      live: false,
    });
  });

  it('leaves large values beside it as they are, row after row', async () => {
    const letters = relationOf('public.letters', COLUMNS);
    const sink = await fixture.open(options(letters, { history: false, mask: ['email'] }));
    const row = (id: number, note: string): Row => ({ id: `${id}`, email: `e${id}`, amount: '1.00', note });
    await snapshot(sink, letters, 0x1000n, [row(1, 'x'.repeat(1_500_000)), row(2, 'small')]);
    await apply(sink, {
      commitLsn: 0x2000n,
      changes: ['y', 'z'].flatMap((letter, place) => [
        { op: 'insert' as const, relation: letters, row: row(3 + 2 * place, letter.repeat(1_500_000)) },
        { op: 'insert' as const, relation: letters, row: row(4 + 2 * place, letter) },
      ]),
    });
    const notes = ['x'.repeat(1_500_000), 'small', 'y'.repeat(1_500_000), 'y', 'z'.repeat(1_500_000), 'z'];
    expect(
      await fixture.query(
        `select email, lower(hex(MD5(note))) as note from ${fixture.database}.letters order by id`,
      ),
    ).toEqual(
      notes.map((note, place) => ({
        email: hash(`e${place + 1}`),
        note: createHash('md5').update(note).digest('hex'),
      })),
    );
  });

  it('is taken out of a history that is not kept any more', async () => {
    const former = relationOf('public.former', COLUMNS);
    const row = { id: '1', email: `${RAW} former`, amount: '1.00', note: 'kept' };
    await snapshot(await fixture.open(options(former, { history: true })), former, 0x1000n, [row]);
    expect(await holding(`${RAW} former`)).toHaveLength(6);
    for (const _ of ['masked', 'read anew'])
      await snapshot(
        await fixture.open(options(former, { history: false, mask: ['email'] })),
        former,
        0x2000n,
        [row],
      );
    expect(await holding(`${RAW} former`)).toEqual([]);
    expect(await fixture.query(`select email, note from ${fixture.database}.former_history`)).toEqual([
      { email: null, note: 'kept' },
    ]);
  });

  it('has the hash of the constant that it was added with, in older rows and changes, and the constant is stored nowhere', async () => {
    const stamp = (width: number, missing: Record<string, string>) =>
      JSON.stringify({ file: '1', columns: `${width}`, width, missing, leaves: [] });
    const numbered = (relation: Relation): Relation => ({
      ...relation, oid: 77_001, columns: relation.columns.map((column, index) => ({ ...column, attnum: index + 1 })),
    }); // prettier-ignore
    const before = {
      ...numbered(relationOf('public.grown', { id: 'int8 not null', v: 'text' })),
      stamp: stamp(2, {}),
    };
    const plain = await fixture.open(options(before, { history: false }));
    await snapshot(plain, before, 0x1000n, [{ id: '1', v: 'a' }]);
    const after = {
      ...numbered(relationOf('public.grown', { id: 'int8 not null', v: 'text', phone: 'text not null' })),
      stamp: stamp(3, { phone: `${RAW} constant` }),
    };
    const sink = await fixture.open(options(after, { history: false, mask: ['phone'] }));
    expect(await sink.attach(after, { applied: 0x2000n, seen: 0x3000n })).toMatchObject({ live: true });
    expect(await fixture.query(`select * from ${fixture.database}.grown`)).toEqual([
      { id: '1', v: 'a', phone: hash(`${RAW} constant`) },
    ]);
    expect(await holding(`${RAW} constant`)).toEqual([]);
  });
});

it.each([
  [{ mask: ['id'] }, /mask names "id", which is part of the key/],
  [{ mask: ['mail'] }, /mask names "mail", and public\.refused has no such column.*name one of: id, email/s],
])('%j is refused before anything is made', (table, message) => {
  const relation = relationOf('public.refused', COLUMNS);
  const sink = fixture.unopened(options(relation, { history: false, ...table }));
  expect(() => sink.check([relation])).toThrow(message);
});
