import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { silentLog } from '../../src/pipeline/log.js';
import type { Relation } from '../../src/pipeline/relation.js';
import type { RetentionCut, Snapshot } from '../../src/pipeline/source.js';
import { openSource } from '../../src/source/source.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';
import { prepare, rowOf, type Prepared, type Row } from './source-recorder.js';

let databases: TestDatabases;
let one: Prepared | null = null;

beforeAll(async () => {
  databases = await createDatabases('source_snapshot');
});

afterAll(() => databases.close());

afterEach(async () => {
  await one?.dispose();
  one = null;
  await databases.postgres('drop schema public cascade; create schema public');
});

async function rowsOf(snapshot: Snapshot, relation: Relation): Promise<Row[]> {
  const rows: Row[] = [];
  await snapshot.read(relation, { onRow: (row) => void rows.push(rowOf(relation, row)), onChunk() {} });
  return rows.sort((a, b) => Number(a['id']) - Number(b['id']));
}

describe('a snapshot', () => {
  it('holds what was committed before its point, and the stream the rest', async () => {
    await databases.postgres(
      `create table a (id int primary key, v text); insert into a values (1, 'before')`,
    );
    const open = new pg.Client({ connectionString: databases.postgresUrl });
    await open.connect();
    await open.query(`begin; insert into a values (2, 'open')`);
    const preparing = prepare(databases, 'pgoutput', ['public.a']);
    // The slot waits for the open transaction, which then belongs to the snapshot.
    await expect
      .poll(() =>
        databases.postgres(
          `select from pg_stat_activity where query like 'CREATE_REPLICATION_SLOT%' and wait_event_type = 'Lock'
              and datname = current_database()`,
        ),
      )
      .toHaveLength(1);
    await open.query('commit');
    await open.end();
    one = await preparing;
    await databases.postgres(`insert into a values (3, 'after'); update a set v = 'changed' where id = 1`);
    expect(await rowsOf(one.snapshot, one.relations[0]!)).toEqual([
      { id: '1', v: 'before' },
      { id: '2', v: 'open' },
    ]);
    expect((await one.read()).changes).toMatchObject([
      { call: 'insert', row: { id: '3' } },
      { call: 'update', row: { id: '1', v: 'changed' } },
    ]);
  });

  it('gives the same text of values as the stream does', async () => {
    const insert = `insert into a values (%, E'tab\\t nl\\n bs\\\\ \\x01 \\x0b \\x7f 😀', '\\x00ff', 0.1, '2026-11-21 09:00+05:30', '1 mon', null, '', true, '\\N')`;
    await databases.postgres(
      `create table a (id int primary key, t text, b bytea, f float8, tz timestamptz, iv interval, n int, e text, ok bool, s text);
       ${insert.replace('%', '1')}`,
    );
    one = await prepare(databases, 'pgoutput', ['public.a']);
    await databases.postgres(insert.replace('%', '2'));
    const [fromSnapshot] = await rowsOf(one.snapshot, one.relations[0]!);
    const [change] = (await one.read()).changes;
    if (change?.call !== 'insert') throw new Error('no insert');
    expect({ ...fromSnapshot, id: '2' }).toEqual(change.row);
  });

  it('reads partitions, and parents without their children', async () => {
    await databases.postgres(
      `create table p (id int primary key) partition by range (id);
       create table p1 partition of p for values from (0) to (10); create table p2 partition of p for values from (10) to (20);
       insert into p values (1), (11);
       create table parent (id int primary key); create table child () inherits (parent);
       insert into parent values (1); insert into child values (2)`,
    );
    one = await prepare(databases, 'pgoutput', ['public.p', 'public.parent']);
    const [p, parent] = one.relations;
    expect(await rowsOf(one.snapshot, p!)).toEqual([{ id: '1' }, { id: '11' }]);
    expect(await rowsOf(one.snapshot, parent!)).toEqual([{ id: '1' }]);
  });

  it('reads generated columns', async ({ skip }) => {
    if (!databases.hasWal2json) skip();
    await databases.postgres(
      `create table a (id int primary key, g int generated always as (id * 2) stored); insert into a values (1)`,
    );
    one = await prepare(databases, 'wal2json', ['public.a']);
    expect(await rowsOf(one.snapshot, one.relations[0]!)).toEqual([{ id: '1', g: '2' }]);
  });

  it('reads a large table in ranges, each row once, with one piece at a time', async () => {
    await databases.postgres(
      `create table a (id int primary key, v text); alter table a alter v set storage plain;
       insert into a select g, repeat('x', 3900) from generate_series(1, 40000) g`,
    );
    await databases.postgres('analyze a');
    one = await prepare(databases, 'pgoutput', ['public.a']);
    const seen = new Set<string>();
    let rows = 0;
    let inChunk = 0;
    let overlaps = 0;
    await one.snapshot.read(one.relations[0]!, {
      onRow: (row) => {
        if (inChunk > 0) overlaps += 1;
        rows += 1;
        seen.add(row.text(0)!);
        if (row.end[1]! - row.start[1]! !== 3900) throw new Error('a value was cut');
      },
      onChunk: async () => {
        inChunk += 1;
        await new Promise((resolve) => setImmediate(resolve));
        inChunk -= 1;
      },
    });
    expect({ rows, distinct: seen.size, overlaps }).toEqual({ rows: 40_000, distinct: 40_000, overlaps: 0 });
    expect(await one.snapshot.estimateRows(one.relations[0]!)).toBeGreaterThan(35_000);
  }, 30_000);

  it('refuses rows that a policy would hide', async () => {
    await databases.postgres(
      `create table a (id int primary key); insert into a values (1);
       alter table a enable row level security;
       create role ${databases.name}_reader login replication password 'x'; grant select on a to ${databases.name}_reader;
       grant create on database ${databases.name} to ${databases.name}_reader`,
    );
    const url = new URL(databases.postgresUrl);
    url.username = `${databases.name}_reader`;
    url.password = 'x';
    try {
      const source = await openSource({
        url: url.href,
        slot: `${databases.name}_x`,
        publication: 'x',
        decoder: 'pgoutput',
        tables: ['public.a'],
        log: silentLog,
      });
      const [relation] = await source.relations();
      const snapshot = await source.openSnapshot();
      await expect(rowsOf(snapshot, relation!)).rejects.toMatchObject({ kind: 'source_permission' });
      await source.close();
    } finally {
      await databases.postgres(`drop owned by ${databases.name}_reader; drop role ${databases.name}_reader`);
    }
  });

  it('fails with what the reader throws, and leaves no connection', async () => {
    await databases.postgres(
      'create table a (id int primary key); insert into a select generate_series(1, 100000)',
    );
    one = await prepare(databases, 'pgoutput', ['public.a']);
    await expect(
      one.snapshot.read(one.relations[0]!, {
        onRow() {},
        onChunk: () => {
          throw new Error('closing');
        },
      }),
    ).rejects.toThrow('closing');
    // The snapshot is as good as before.
    expect(await rowsOf(one.snapshot, one.relations[0]!)).toHaveLength(100_000);
  });

  it('of a temporary slot leaves no slot behind', async () => {
    await databases.postgres('create table a (id int primary key); insert into a values (1)');
    one = await prepare(databases, 'pgoutput', ['public.a']);
    const later = await one.source.openSnapshot();
    expect(later.consistentPoint).toBeGreaterThanOrEqual(one.snapshot.consistentPoint);
    expect(await rowsOf(later, one.relations[0]!)).toHaveLength(1);
    await later.close();
    await expect
      .poll(() =>
        databases.postgres(
          'select from pg_replication_slots where temporary and database = current_database()',
        ),
      )
      .toHaveLength(0);
  });

  it('whose connection was cut says so', async () => {
    await databases.postgres('create table a (id int primary key); insert into a values (1)');
    one = await prepare(databases, 'pgoutput', ['public.a']);
    await databases.postgres(
      `select pg_terminate_backend(pid, 5000) from pg_stat_activity where query like 'CREATE_REPLICATION_SLOT%' and datname = current_database()`,
    );
    await expect(rowsOf(one.snapshot, one.relations[0]!)).rejects.toMatchObject({
      kind: 'source_disconnected',
    });
  });

  it('reads the rows of some keys, of any type and however they are written', async () => {
    await databases.postgres(
      `create domain "Odd Domain" as text;
       create table k ("At" timestamptz, "Raw" bytea, "Fixed" char(4), "Dom" "Odd Domain", v text, primary key ("At", "Raw", "Fixed", "Dom"));
       insert into k values ('2026-01-01 00:00:00.000001', '\\x00ff', 'ab', E'it''s {"a\\\\b",\\t}', 'one'), ('2026-01-02', '\\x', '', '', E'\\x01 NULL'),
         ('2026-01-03', '\\x', 'c', '', 'not asked for')`,
    );
    one = await prepare(databases, 'pgoutput', ['public.k']);
    await databases.postgres(`update k set v = 'later'`);
    const rows: Row[] = [];
    const relation = one.relations[0]!;
    const keys = await one.snapshot.readKeys(
      relation,
      [
        ['2026-01-01 01:00:00.000001+01', '\\x00FF', 'ab  ', `it's {"a\\b",\t}`],
        ['2026-01-02', '\\x', '', ''],
        ['2026-01-02 00:00:00', '\\x', '', ''],
        ['2030-01-01', '\\x', '', 'nowhere'],
      ],
      { onRow: (row) => void rows.push(rowOf(relation, row)) },
    );
    expect(rows.map(({ v }) => v).sort()).toEqual(['\x01 NULL', 'one']);
    // As Postgres prints them, once each.
    expect([...keys].sort()).toEqual([
      ['2026-01-01 00:00:00.000001+00', '\\x00ff', 'ab  ', `it's {"a\\b",\t}`],
      ['2026-01-02 00:00:00+00', '\\x', '    ', ''],
      ['2030-01-01 00:00:00+00', '\\x', '    ', 'nowhere'],
    ]);
  });

  it('reads keys of partitioned tables, leaves out children and what is past the cut, and refuses what is no key', async () => {
    await databases.postgres(
      `create table p (id int primary key, at date) partition by range (id);
       create table p1 partition of p for values from (0) to (10); insert into p values (1, '2026-01-01'), (2, '2000-01-01'), (3, null);
       create table a (id int primary key); create table child () inherits (a); insert into a values (1); insert into child values (2)`,
    );
    one = await prepare(databases, 'pgoutput', ['public.p', 'public.a']);
    const { snapshot, relations } = one;
    const idsOf = async (name: string, cut?: RetentionCut): Promise<(string | null | undefined)[]> => {
      const ids: (string | null | undefined)[] = [];
      const relation = relations.find((found) => found.name === name)!;
      await snapshot.readKeys(relation, [['1'], ['2'], ['3']], {
        cut,
        onRow: (row) => void ids.push(row.text(0)),
      });
      return ids.sort();
    };
    expect(await idsOf('p')).toEqual(['1', '2', '3']);
    expect(await idsOf('a')).toEqual(['1']);
    const keep = { count: 2, unit: 'year' } as const;
    expect(await idsOf('p', { column: 'at', keep, moment: '2026-11-21 00:00:00' })).toEqual(['1', '3']);
    for (const wrong of ['x', '', '99999999999', "1'; drop table a; --"]) {
      const reading = snapshot.readKeys(relations[0]!, [[wrong]], { onRow() {} });
      await expect(reading, wrong).rejects.toMatchObject({ kind: 'source_rejected' });
    }
    expect(await idsOf('a')).toEqual(['1']);
  });
});
