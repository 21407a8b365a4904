import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../../src/dev/random.js';
import type { Relation } from '../../src/pipeline/relation.js';
import type { Sink } from '../../src/pipeline/sink.js';
import { isProven, purge } from '../../src/sink/purge.js';
import { expiresAt, expiryOf, type Keep } from '../../src/sink/retention.js';
import {
  ANY_MOMENT,
  apply,
  checkpointAt,
  sinkFixture,
  snapshot,
  type Change,
  type Row,
  type SinkFixture,
  type TestTransaction,
} from '../support/sink-fixture.js';
import { relationOf } from '../support/tuples.js';

let fixture: SinkFixture;
beforeAll(async () => {
  fixture = await sinkFixture('sink_retention');
});
afterAll(() => fixture.close());

const DAY = 24 * 3_600_000;

/** A moment as Postgres writes it. */
function at(ms: number): string {
  return new Date(ms).toISOString().replace('T', ' ').replace('Z', '+00');
}

async function opened(relation: Relation, keep: Keep, rows: readonly Row[]): Promise<Sink> {
  const sink = await fixture.open({
    tables: new Map([[relation.id, { history: false, retention: { column: 'd', keep } }]]),
  });
  await snapshot(sink, relation, 0x1000n, rows);
  return sink;
}

async function visible(relation: Relation, settings = ''): Promise<string[]> {
  const rows = await fixture.query<{ text: string }>(
    `select toString(id) as text from ${fixture.database}.${relation.name} order by id ${settings}`,
  );
  return rows.map(({ text }) => text);
}

/** How many versions lie in active and inactive parts that still count, by id. */
async function stored(relation: Relation): Promise<Record<string, number>> {
  const rows = await fixture.query<{ id: string; n: string }>(
    `select toString(id) as id, count() as n from ${fixture.landing}.${relation.name} group by id order by id`,
  );
  return Object.fromEntries(rows.map(({ id, n }) => [id, Number(n)]));
}

async function merge(relation: Relation): Promise<void> {
  await fixture.query(`optimize table ${fixture.landing}.${relation.name} final`);
}

describe('retention', () => {
  it.each(['timestamptz', 'timestamptz not null', 'timestamp', 'date'])(
    'rows of 1900 to 2299 and without a date keep one rule over %s, in the view and in the parts',
    async (type) => {
      const relation = relationOf(`public.dates_${type.replaceAll(' ', '_')}`, {
        id: 'int4 not null',
        d: type,
      });
      const isDate = type === 'date';
      const value = (text: string): string =>
        isDate ? text.slice(0, 10) : type === 'timestamp' ? text : `${text}+00`;
      const old = [
        '1900-01-01 00:00:00',
        '1967-12-31 23:59:59',
        '1968-01-01 00:00:00',
        '1970-01-01 00:00:00',
        '2001-01-01 00:00:00',
      ];
      const kept = [
        '2099-12-31 00:00:00',
        '2105-01-01 00:00:00',
        '2106-02-07 06:28:16',
        '2120-01-01 00:00:00',
        '2290-01-01 00:00:00',
        '2299-12-31 23:59:59.999999',
      ];
      const rows: Row[] = [...old, ...kept].map((text, id) => ({ id: `${id}`, d: value(text) }));
      if (!type.includes('not null')) rows.push({ id: '99', d: null });
      await opened(relation, { count: 2, unit: 'year' }, rows);
      const ids = rows.slice(old.length).map((row) => row['id']!);
      expect(await visible(relation)).toEqual(ids);
      expect(await visible(relation, "settings session_timezone = 'Pacific/Auckland'")).toEqual(ids);
      await merge(relation);
      expect(await visible(relation)).toEqual(ids);
      expect(Object.keys(await stored(relation)).sort()).toEqual([...ids].sort());
    },
  );

  it('a row whose time ends exactly at the epoch is gone as well, though ClickHouse takes a TTL of zero for none', async () => {
    const relation = relationOf('public.epoch', { id: 'int4 not null', d: 'timestamptz' });
    const sink = await opened(relation, { count: 2, unit: 'year' }, []);
    await fixture.query(`system stop ttl merges ${fixture.landing}.epoch`);
    await apply(sink, {
      commitLsn: 0x2000n,
      changes: [{ op: 'insert', relation, row: { id: '1', d: '1968-01-01 00:00:00+00' } }],
    });
    await fixture.query(`system start ttl merges ${fixture.landing}.epoch`);
    await merge(relation);
    expect(await stored(relation)).toEqual({});
  });

  it('a row leaves by the second, whatever the unit', async () => {
    for (const unit of ['day', 'month', 'year'] as const) {
      const relation = relationOf(`public.edge_${unit}`, { id: 'int4 not null', d: 'timestamptz' });
      const [edge] = await fixture.query<{ us: string }>(
        `select toUnixTimestamp64Milli(subtract${unit[0]!.toUpperCase()}${unit.slice(1)}s(now64(6, 'UTC'), 2)) as us`,
      );
      const ms = Number(edge!.us);
      await opened(relation, { count: 2, unit }, [
        { id: '1', d: at(ms - 4 * DAY) },
        { id: '2', d: at(ms + 4 * DAY) },
        { id: '3', d: at(ms + 60_000 + (unit === 'day' ? 0 : 4 * DAY)) },
        { id: '4', d: at(ms - (unit === 'day' ? 1 : 4 * DAY)) },
      ]);
      expect(await visible(relation), unit).toEqual(['2', '3']);
    }
  });

  it('once gone by the clock a row is gone for good, at the ends of months too', async () => {
    const relation = relationOf('public.ends', { id: 'int4 not null', d: 'timestamptz' });
    await opened(relation, { count: 1, unit: 'month' }, []);
    const [view] = await fixture.query<{ as_select: string }>(
      `select as_select from system.tables where database = '${fixture.database}' and name = 'ends'`,
    );
    const kept = /AND \((.* > now64\(6, 'UTC'\))\)/.exec(view!.as_select)![1]!;
    const condition = kept.replaceAll("now64(6, 'UTC')", 'now_').replace(/toDateTime64\(d, 6, 'UTC'\)/, 'd');
    // Every six hours from the end of January on, does a row that was hidden ever show again?
    const rows = await fixture.query<{ back: string }>(
      `select countIf(shown and not was) as back from (
        select d, now_, (${condition}) as shown,
          lagInFrame(shown, 1, 1) over (partition by d order by now_) as was
        from (select toDateTime64('2024-01-26 00:00:00', 6, 'UTC') + toIntervalHour(6 * number) as d from numbers(60)) as dates
        cross join (select toDateTime64('2024-02-20 00:00:00', 6, 'UTC') + toIntervalHour(6 * number) as now_ from numbers(120)) as moments)`,
    );
    expect(Number(rows[0]!.back)).toBe(0);
  });

  const NOW = Date.now();
  const FRESH = at(NOW - 10 * DAY);
  const OLD = at(NOW - 1000 * DAY);
  const NEAR = at(NOW - 700 * DAY);
  /** On both sides of the edge, and most often in one partition. */
  const EDGE = new Date(NOW).setUTCFullYear(new Date(NOW).getUTCFullYear() - 2);
  const JUST_OLD = at(EDGE - 3_600_000);
  const JUST_KEPT = at(EDGE + 12 * 3_600_000);

  it('a tombstone and what it hides are never parted, whichever merges first', async () => {
    for (const order of ['row first', 'tombstone first'] as const) {
      const relation = relationOf(`public.parted_${order.replace(' ', '_')}`, {
        id: 'int4 not null',
        d: 'timestamptz',
      });
      const sink = await opened(relation, { count: 2, unit: 'year' }, [{ id: '1', d: FRESH }, { id: '2', d: NEAR }]); // prettier-ignore
      if (order === 'row first') await merge(relation);
      await apply(sink, {
        commitLsn: 0x2000n,
        changes: [
          { op: 'delete', relation, old: { id: '1', d: FRESH } },
          { op: 'delete', relation, old: { id: '2', d: NEAR } },
        ],
      });
      expect(await visible(relation)).toEqual([]);
      await merge(relation);
      expect(await visible(relation)).toEqual([]);
      // What was deleted comes again with a lower version: replay from before the snapshot.
      await apply(sink, {
        commitLsn: 0x0f00n,
        changes: [{ op: 'insert', relation, row: { id: '1', d: FRESH } }],
      });
      expect(await visible(relation)).toEqual([]);
      await merge(relation);
      expect(await visible(relation), order).toEqual([]);
    }
  });

  it('a date moved beyond retention hides the row at once, no older version comes back, and moved back it is there', async () => {
    const relation = relationOf('public.moved', { id: 'int4 not null', d: 'timestamptz', v: 'text' });
    const sink = await opened(relation, { count: 2, unit: 'year' }, [{ id: '1', d: FRESH, v: 'a' }]);
    const steps = [OLD, FRESH, NEAR, OLD, null, OLD, FRESH];
    let old: Row = { id: '1', d: FRESH, v: 'a' };
    let lsn = 0x2000n;
    for (const mergeAfter of [false, true]) {
      for (const d of steps) {
        const row = { id: '1', d, v: `${lsn}` };
        await apply(sink, { commitLsn: (lsn += 64n), changes: [{ op: 'update', relation, old, row }] });
        old = row;
        const rows = (): Promise<unknown> => fixture.query(`select v from ${fixture.database}.moved`);
        const expected = d === OLD ? [] : [{ v: row.v }];
        expect(await rows(), `to ${d}`).toEqual(expected);
        if (mergeAfter) await merge(relation);
        expect(await rows(), `to ${d}, merged`).toEqual(expected);
      }
    }
  });

  it.each([
    ['ttl first', ['ttl', 'versions']],
    ['versions first', ['versions', 'ttl']],
  ] as const)('a date moved just beyond the edge brings no older version back, %s', async (name, order) => {
    const relation = relationOf(`public.edge_${name.replace(' ', '_')}`, {
      id: 'int4 not null',
      d: 'timestamptz',
    });
    const sink = await opened(relation, { count: 2, unit: 'year' }, [{ id: '1', d: JUST_KEPT }]);
    const table = `${fixture.landing}.${relation.name}`;
    await fixture.query(`system stop merges ${table}`);
    await apply(sink, {
      commitLsn: 0x2000n,
      changes: [{ op: 'update', relation, old: { id: '1', d: JUST_KEPT }, row: { id: '1', d: JUST_OLD } }],
    });
    await fixture.query(`system start merges ${table}`);
    for (const what of order) {
      // Each part by itself loses what has expired in it; or all versions meet.
      if (what === 'ttl')
        await fixture.query(`alter table ${table} materialize ttl settings mutations_sync = 1`);
      else await merge(relation);
      expect(await visible(relation), what).toEqual([]);
    }
  });

  it('a row that changes its date often shows once, with every way of reading FINAL', async () => {
    const relation = relationOf('public.wandering', { id: 'int4 not null', d: 'timestamptz' });
    const sink = await opened(relation, { count: 2, unit: 'year' }, [{ id: '1', d: FRESH }]);
    let old: Row = { id: '1', d: FRESH };
    for (let i = 1; i <= 20; i += 1) {
      const row = { id: '1', d: at(NOW - ((i * 37) % 600) * DAY) };
      await apply(sink, {
        commitLsn: 0x2000n + 64n * BigInt(i),
        changes: [{ op: 'update', relation, old, row }],
      });
      old = row;
    }
    for (const settings of [
      '',
      'settings do_not_merge_across_partitions_select_final = 1',
      'settings optimize_move_to_prewhere_if_final = 1',
      'settings final = 0',
      'settings enable_vertical_final = 0',
      'settings split_parts_ranges_into_intersecting_and_non_intersecting_final = 0',
    ]) {
      expect(await visible(relation, settings), settings).toEqual(['1']);
    }
  });

  it.each(['full', 'default'] as const)(
    'whatever merges first and whatever is delivered again, people see each row once or not at all, replica identity %s',
    async (replicaIdentity) => {
      const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
      const source = new Random(seed);
      const random = (): number => source.next();
      const pick = <T>(list: readonly T[]): T => list[source.below(list.length)]!;
      const relation = relationOf(
        `public.orders_of_${replicaIdentity}`,
        {
          id: 'int4 not null',
          d: replicaIdentity === 'default' ? 'timestamptz not null' : 'timestamptz',
          v: 'text',
        },
        // Without the whole old row the date must be part of the key, which always comes.
        { replicaIdentity, key: replicaIdentity === 'default' ? ['id', 'd'] : ['id'] },
      );
      const dates = [
        OLD,
        JUST_OLD,
        JUST_KEPT,
        FRESH,
        NEAR,
        '1900-01-01 00:00:00+00',
        '2105-01-01 00:00:00+00',
        '2290-01-01 00:00:00+00',
      ];
      const kept = (d: unknown): boolean => d !== OLD && d !== JUST_OLD && d !== '1900-01-01 00:00:00+00';
      const oldOf = (row: Row): Row => (replicaIdentity === 'full' ? row : { id: row['id'], d: row['d'] });
      const sink = await opened(relation, { count: 2, unit: 'year' }, []);
      const table = `${fixture.landing}.${relation.name}`;
      const ways: Record<string, () => Promise<unknown>> = {
        'versions first': async () => {
          await fixture.query(`system stop ttl merges ${table}`);
          await merge(relation);
          await fixture.query(`system start ttl merges ${table}`);
        },
        'ttl first, part by part': () =>
          fixture.query(`alter table ${table} materialize ttl settings mutations_sync = 1`),
        'one partition': async () => {
          const parts = await fixture.query<{ p: string }>(
            `select distinct partition_id as p from system.parts where active and database = '${fixture.landing}' and table = '${relation.name}' order by p`,
          );
          if (parts.length > 0)
            await fixture.query(`optimize table ${table} partition id '${pick(parts).p}' final`);
        },
        'what it likes': () => fixture.query(`optimize table ${table}`),
        everything: () => merge(relation),
        purge: () =>
          purge({
            client: fixture.client,
            database: fixture.database,
            tables: new Map([[relation.id, { column: 'd', keep: { count: 2, unit: 'year' } }]]),
          }),
      };
      const rows = new Map<string, Row>();
      const log: TestTransaction[] = [];
      const steps: string[] = [];
      const check = async (): Promise<void> => {
        const found = await fixture.query<{ id: number; v: string }>(
          `select id, v from ${fixture.database}.${relation.name} order by id`,
        );
        const expected = [...rows.values()].filter((row) => kept(row['d']));
        expect(found, `SEED=${seed}: ${steps.join('; ')}`).toEqual(
          expected.map((row) => ({ id: Number(row['id']), v: row['v'] })).sort((a, b) => a.id - b.id),
        );
      };
      for (let step = 1; step <= 40; step += 1) {
        const id = `${1 + Math.floor(random() * 4)}`;
        const old = rows.get(id);
        const way = random();
        if (way < 0.55) {
          const row: Row = {
            id,
            d: pick(replicaIdentity === 'full' ? [...dates, null] : dates),
            v: `${step}`,
          };
          const change: Change =
            old === undefined
              ? { op: 'insert', relation, row }
              : random() < 0.3
                ? { op: 'delete', relation, old: oldOf(old) }
                : // Without FULL the old key comes where the key has changed, and nothing else.
                  {
                    op: 'update',
                    relation,
                    old: replicaIdentity === 'default' && old['d'] === row['d'] ? null : oldOf(old),
                    row,
                  };
          if (change.op === 'delete') rows.delete(id);
          else rows.set(id, row);
          const transaction = { commitLsn: BigInt(0x2000 + 64 * step), changes: [change] };
          log.push(transaction);
          await apply(sink, transaction);
          steps.push(`${change.op} ${id}`);
        } else if (way < 0.7 && log.length > 0) {
          const from = Math.floor(random() * log.length);
          for (const transaction of log.slice(from)) await apply(sink, transaction);
          steps.push(`again from ${from}`);
        } else {
          const name = pick(Object.keys(ways));
          await ways[name]!();
          steps.push(name);
        }
        await check();
      }
    },
  );

  it('what is past its retention leaves by itself, without any command', async () => {
    const relation = relationOf('public.by_itself', { id: 'int4 not null', d: 'timestamptz' });
    const sink = await opened(relation, { count: 2, unit: 'year' }, []);
    const table = `${fixture.landing}.${relation.name}`;
    const [settings] = await fixture.query<{ engine: string }>(
      `select engine_full as engine from system.tables where database = '${fixture.landing}' and name = '${relation.name}'`,
    );
    // In seconds: together with what old parts and a busy pool take, less than a day.
    expect(Number(/merge_with_ttl_timeout = (\d+)/.exec(settings!.engine)![1])).toBeLessThanOrEqual(
      20 * 3600,
    );
    await fixture.query(`alter table ${table} modify setting merge_with_ttl_timeout = 0`);
    await apply(sink, {
      commitLsn: 0x2000n,
      changes: [OLD, FRESH].map((d, id) => ({ op: 'insert', relation, row: { id: `${id}`, d } })),
    });
    await expect.poll(() => stored(relation), { timeout: 30_000 }).toEqual({ 1: 1 });
  });

  it('nothing is removed that can still be seen: the cut-off comes to the microsecond, and the TTL after it', async () => {
    const relation = relationOf('public.fraction', { id: 'int4 not null', d: 'timestamptz' });
    await opened(relation, { count: 2, unit: 'year' }, [{ id: '1', d: '2030-01-01 00:00:00.999999+00' }]);
    const [part] = await fixture.query<{ ttl: string }>(
      `select toString(toTimeZone(delete_ttl_info_min, 'UTC')) as ttl from system.parts
        where active and database = '${fixture.landing}' and table = 'fraction'`,
    );
    expect(part!.ttl > '2032-01-01 00:00:00').toBe(true);
  });

  it('quarantine expires by the same rule as the view, whatever date cannot be held', async () => {
    const texts = [
      '2001-02-28 10:11:12.5+00',
      '2024-02-29',
      '1900-01-01 00:00:00',
      '2024-08-31 23:59:59.999999+00',
      '2104-12-31',
      '2298-12-31',
    ];
    for (const keep of [
      { count: 2, unit: 'year' },
      { count: 6, unit: 'month' },
      { count: 40, unit: 'day' },
    ] as Keep[]) {
      for (const text of texts) {
        const [row] = await fixture.query<{ at: string }>(
          `select toString(${expiresAt({ column: 'd', keep })}) as at from (select toDateTime64('${text.replace('+00', '')}', 6, 'UTC') as d)`,
        );
        expect(expiryOf(keep, text), `${text} + ${keep.count} ${keep.unit}`).toBe(row!.at);
      }
    }
    const keep = { count: 2, unit: 'year' } as const;
    for (const never of [null, undefined, 'infinity', '294276-12-31 00:00:00+00'])
      expect(expiryOf(keep, never)).toMatch(/^2299/);
    for (const past of ['-infinity', '4713-01-01 00:00:00+00 BC', '0044-03-15'])
      expect(expiryOf(keep, past)).toMatch(/^1970-01-02/);
  });

  it('a purge finds what only a lightweight delete hides, and what a stage or a mart without dates holds', async () => {
    const relation = relationOf('public.held', { id: 'int4 not null', d: 'timestamptz' });
    const sink = await opened(relation, { count: 2, unit: 'year' }, []);
    const { landing, database } = fixture;
    await fixture.query(`system stop ttl merges ${landing}.held`);
    await fixture.query(
      `create table ${database}.held_keys (id Int32, _version UInt128) engine = ReplacingMergeTree order by (id, _version)`,
    );
    await fixture.query(
      `create materialized view ${database}.held_feed to ${database}.held_keys as select id, _version from ${landing}.held`,
    );
    await fixture.query(
      `create materialized view ${database}.held_days_feed engine = MergeTree order by tuple() as select toDate(d) as day from ${landing}.held where d is not null`,
    );
    await apply(sink, {
      commitLsn: 0x2000n,
      changes: [OLD, OLD, FRESH].map((d, id) => ({ op: 'insert', relation, row: { id: `${id}`, d } })),
    });
    await sink.saveCheckpoint(checkpointAt(0x3000n));
    await fixture.query(`create table ${landing}._walhouse_next_held as ${landing}.held`);
    await fixture.query(`system stop ttl merges ${landing}._walhouse_next_held`);
    await fixture.query(`insert into ${landing}._walhouse_next_held select * from ${landing}.held`);
    await fixture.query(`delete from ${landing}.held where id = 0`);
    // As a process has left it that died after a new copy had taken its place.
    await fixture.query(`create table ${landing}._walhouse_gone_held as ${landing}.held`);
    const { holders } = await purge({
      client: fixture.client,
      database,
      tables: new Map([[relation.id, { column: 'd', keep: { count: 2, unit: 'year' } }]]),
    });
    const found = holders.map(({ name, before, after, unproven }) => [name.replace(database, ''), before.versions, after.versions, unproven !== null]); // prettier-ignore
    expect(found).toEqual(
      expect.arrayContaining([
        ['_landing.held', 2, 0, false],
        ['_landing._walhouse_next_held', 2, 0, false],
        ['.held_keys', 2, 0, false],
        [expect.stringContaining('.inner'), 0, 0, true],
      ]),
    );
    expect(isProven(holders)).toBe(false);
    expect(await stored(relation)).toEqual({ 2: 1 });
    expect(
      await fixture.query(
        `select name from system.tables where database = '${landing}' and startsWith(name, '_walhouse_gone_')`,
      ),
    ).toEqual([]);
  });

  it('a purge finds a table in a schema that has a dot in its name', async () => {
    const held = relationOf('odd.schema.held', { id: 'int4 not null', d: 'timestamptz' });
    const relation = { ...held, schema: 'odd.schema', name: 'held' };
    const keep: Keep = { count: 2, unit: 'year' };
    const sink = await opened(relation, keep, []);
    await fixture.query(`system stop ttl merges ${fixture.landing}.\`odd.schema_held\``);
    await apply(sink, {
      commitLsn: 0x4000n,
      changes: [OLD, FRESH].map((d, id) => ({ op: 'insert', relation, row: { id: `${id}`, d } })),
    });
    const { holders } = await purge({
      client: fixture.client,
      database: fixture.database,
      tables: new Map([[relation.id, { column: 'd', keep }]]),
    });
    expect(holders).toContainEqual(
      expect.objectContaining({
        name: `${fixture.landing}.odd.schema_held`,
        before: expect.objectContaining({ versions: 1 }) as unknown,
        after: expect.objectContaining({ versions: 0 }) as unknown,
      }),
    );
  });

  it('needs replica identity FULL and a date', async () => {
    const columns = { id: 'int4 not null', d: 'timestamptz', v: 'text' };
    const tables = (column: string): Map<string, never> =>
      new Map([
        ['public.r', { history: false, retention: { column, keep: { count: 2, unit: 'year' } } } as never],
      ]);
    const weak = relationOf('public.r', columns, { replicaIdentity: 'default' });
    const full = relationOf('public.r', columns);
    const begin = async (relation: Relation, column: string): Promise<unknown> =>
      (await fixture.open({ tables: tables(column) })).beginSnapshot(relation, 0x1000n);
    await expect(begin(weak, 'd')).rejects.toThrow(
      /^table_no_identity: .*Fix: ALTER TABLE public\.r REPLICA IDENTITY FULL;$/,
    );
    await expect(begin(full, 'v')).rejects.toThrow(/^config_invalid: .*which is text/);
    await expect(begin(full, 'nope')).rejects.toThrow(/^config_invalid: .*no such column.*name one of: d$/);
  });

  it('a change of retention is not passed over', async () => {
    const relation = relationOf('public.reconfigured', { id: 'int4 not null', d: 'timestamptz' });
    await opened(relation, { count: 2, unit: 'year' }, []);
    const attach = async (count: number) => {
      const keep = { count, unit: 'year' } as const;
      const sink = await fixture.open({
        tables: new Map([[relation.id, { history: false, retention: { column: 'd', keep } }]]),
      });
      return sink.attach(relation, ANY_MOMENT);
    };
    expect(await attach(2)).toMatchObject({ live: true, stale: false });
    expect(await attach(1)).toMatchObject({ live: false, stale: true });
  });
});
