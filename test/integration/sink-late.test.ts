import { setTimeout as sleep } from 'node:timers/promises';
import type { ClickHouseClient } from '@clickhouse/client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSinkClient } from '../../src/sink/client.js';
import type { Relation } from '../../src/pipeline/relation.js';
import type { Sink } from '../../src/pipeline/sink.js';
import {
  ANY_MOMENT,
  apply,
  checkpointAt,
  sinkFixture,
  snapshot,
  type SinkFixture,
} from '../support/sink-fixture.js';
import { LateNetwork } from '../support/late-network.js';
import { relationOf, tupleOf } from '../support/tuples.js';

const ITEMS = asInCatalog(relationOf('public.items', { id: 'int4', v: 'text' }));
/** The same table, to which a column was added. */
const WIDER = {
  ...asInCatalog(relationOf('public.items', { id: 'int4', v: 'text', w: 'text' })),
  oid: ITEMS.oid,
};
/** Until then a claim counts. */
const CLAIM_MS = 10_000;
const KEPT = { id: '1', v: 'kept' };

/** A row that comes and goes, in two transactions. */
const come = (sink: Sink, id: string, commitLsn: bigint): Promise<void> =>
  apply(sink, { commitLsn, changes: [{ op: 'insert', relation: ITEMS, row: { id, v: 'goes' } }] });
const go = (sink: Sink, id: string, commitLsn: bigint): Promise<void> =>
  apply(sink, { commitLsn, changes: [{ op: 'delete', relation: ITEMS, old: { id, v: null } }] });

describe.each([false, true])('what arrives long after it was sent (history: %s)', (history) => {
  const options = { tables: new Map([[ITEMS.id, { history }]]) };
  let fixture: SinkFixture;
  let network: LateNetwork;
  let sink: Sink;
  let way: ClickHouseClient;

  beforeEach(async () => {
    fixture = await sinkFixture(`late_${history}`);
    network = await LateNetwork.before(fixture.databases.clickhouseUrl, 'goes');
    way = createSinkClient({ url: network.url });
    sink = fixture.unopened({ ...options, client: way });
    await sink.open();
    await snapshot(sink, ITEMS, 100n, [KEPT]);
  });
  afterEach(async () => {
    await way.close();
    await network.close();
    await fixture.close();
  });

  /** As people read it, and all that lies under it. */
  const expectKeptAlone = async (): Promise<void> => {
    const { database, landing } = fixture;
    const kept = [{ id: 1, v: 'kept' }];
    expect(await fixture.query(`select id, v from ${database}.items order by id`)).toEqual(kept);
    const stored = `select id, v from ${landing}.items final where _is_deleted = 0 order by id`;
    expect(await fixture.query(stored)).toEqual(kept);
    if (!history) return;
    const then = `select id, v from ${database}.items_at(ts = '2100-01-01 00:00:00') order by id`;
    expect(await fixture.query(then)).toEqual(kept);
  };
  const copyAnew = async (live: boolean, consistentPoint: bigint): Promise<void> => {
    await sink.openStage(ITEMS, live);
    await snapshot(sink, ITEMS, consistentPoint, [KEPT]);
  };
  /** As after a failure. Definitions that arrive until it has opened came in time. */
  const beginAnew = async (): Promise<void> => {
    network.loseAnswer();
    await expect(sink.markStale([ITEMS.id], 'fit')).rejects.toMatchObject({ kind: 'sink_unreachable' });
    await sink.open();
    network.beginAnew();
    await sink.attach(ITEMS, ANY_MOMENT);
  };

  it.each([true, false])('is kept out of a copy that was made since (live: %s)', async (live) => {
    await come(sink, '2', 200n);
    await go(sink, '2', 210n);
    await copyAnew(live, 300n);
    await expectKeptAlone();
    expect(network.again.refused).toBeGreaterThan(0);
    // And it goes on.
    await come(sink, '3', 400n);
    await go(sink, '3', 410n);
    await expectKeptAlone();
  });

  it('is kept out of another copy than the one it was meant for, of the same beginning or not', async () => {
    await sink.openStage(ITEMS, true);
    await come(sink, '2', 200n);
    await go(sink, '2', 210n);
    await copyAnew(true, 300n);
    await expectKeptAlone();
    await sink.openStage(ITEMS, true);
    await come(sink, '3', 400n);
    await beginAnew();
    await go(sink, '3', 410n);
    await copyAnew(true, 500n);
    await expectKeptAlone();
  });

  it('is void once a position was stored: what was erased since does not come back', async () => {
    network.loseAnswer();
    await expect(come(sink, '2', 200n)).rejects.toMatchObject({ kind: 'sink_unreachable' });
    await come(sink, '2', 200n);
    await go(sink, '2', 210n);
    await sink.saveCheckpoint(checkpointAt(211n));
    const { landing } = fixture;
    for (const table of ['items', ...(history ? ['_walhouse_versions_items', '_walhouse_audit_items'] : [])])
      await fixture.query(
        `delete from ${landing}.${table} where ${table.includes('audit') ? `key like '%2%'` : 'id = 2'}`,
      );
    await sink.saveCheckpoint(checkpointAt(220n));
    expect(network.again.refused).toBeGreaterThan(0);
    expect(await fixture.query(`select id from ${landing}.items`)).toEqual([{ id: 1 }]);
    if (history) {
      expect(await fixture.query(`select id from ${landing}._walhouse_versions_items`)).toEqual([{ id: 1 }]);
      expect(
        await fixture.query(`select key from ${landing}._walhouse_audit_items where key like '%2%'`),
      ).toEqual([]);
    }
    // And it goes on.
    await come(sink, '3', 300n);
    await go(sink, '3', 310n);
    await expectKeptAlone();
  });

  it('exchanges nothing once it has begun anew', async () => {
    await copyAnew(true, 200n);
    await beginAnew();
    await expectKeptAlone();
    await sink.openStage(ITEMS, true);
    await expectKeptAlone();
    const writer = await sink.beginSnapshot(ITEMS, 300n);
    await expectKeptAlone();
    writer.add(tupleOf(ITEMS, KEPT));
    await writer.flush(true);
    await expectKeptAlone();
    await sink.endSnapshot(ITEMS, 300n);
    await expectKeptAlone();
  });

  // The same with either.
  if (history) return;
  describe('from a process that others do not wait for', () => {
    let other: Sink;
    let client: ClickHouseClient;
    /** What `other` speaks through. */
    let slow: ClickHouseClient;
    let pass: () => void;
    let passes: Promise<void>;

    beforeEach(async () => {
      passes = new Promise((resolve) => (pass = resolve));
      client = createSinkClient({ url: fixture.databases.clickhouseUrl });
      slow = Object.create(client) as ClickHouseClient;
      other = fixture.unopened({ ...options, client: slow });
      await other.open();
      await other.attach(ITEMS, ANY_MOMENT);
    });
    afterEach(() => client.close());

    /** The next position that is stored begins a new epoch. */
    const giveUp = async (): Promise<void> => {
      slow.command = () => Promise.reject(new Error('socket hang up'));
      await expect(other.openStage(ITEMS, true)).rejects.toMatchObject({ kind: 'sink_unreachable' });
      slow.command = client.command.bind(client);
    };
    const epoch = async (): Promise<number> => (await other.stored()).owner!.epoch;

    it.each([
      ['deleted', 'delete where', () => other.forgetCheckpoint(), 'select * from $._walhouse_erased'],
      [
        'altered',
        'add column',
        () => other.attach(WIDER, ANY_MOMENT),
        `select count() as n from system.columns where database = '$' and table = 'items' and name = 'w' having n = 0`,
      ],
    ] as const)('leaves the epoch alone while rows or tables are %s in it', async (_, part, change, left) => {
      await fixture.query(
        `insert into ${fixture.landing}._walhouse_erased (id, position) values ('public.items', 1)`,
      );
      await giveUp();
      const before = await epoch();
      let waiting = false;
      slow.command = async (params) => {
        if (params.query.includes(part)) {
          waiting = true;
          await passes;
        }
        return client.command(params);
      };
      const changed = change();
      await expect.poll(() => waiting).toBe(true);
      const saved = other.saveCheckpoint(checkpointAt(190n));
      await sleep(500);
      pass();
      await Promise.all([changed, saved]);
      expect(await fixture.query(left.replace('$', fixture.landing))).toEqual([]);
      expect(await epoch()).toBe(before + 1);
    });

    it('finds the copy that it was meant for, though another is to take its place', async () => {
      await other.openStage(ITEMS, true);
      let waiting = false;
      slow.insert = async (params) => {
        if (params.table.includes('_walhouse_next_items')) {
          waiting = true;
          await passes;
        }
        return client.insert(params);
      };
      const stored = come(other, '2', 200n);
      await expect.poll(() => waiting).toBe(true);
      const opened = other.openStage(ITEMS, true);
      await sleep(300);
      pass();
      await Promise.all([stored, opened]);
      await go(other, '2', 210n);
      await snapshot(other, ITEMS, 300n, [KEPT]);
      await expectKeptAlone();
    });

    const comeAndGo = async (): Promise<void> => {
      await come(other, '2', 200n);
      await go(other, '2', 210n);
    };
    const attachAnew = async (): Promise<void> => {
      await other.open();
      await other.attach(ITEMS, ANY_MOMENT);
      await comeAndGo();
    };
    it.each([
      ['a deletion', 'claimed', () => other.forgetCheckpoint()],
      ['whoever attaches anew', 'claimed', attachAnew],
      ['rows', 'shutting out', comeAndGo],
      ['a copy', 'shutting out', () => other.openStage(ITEMS, true)],
      ['whoever attaches anew', 'shutting out', attachAnew],
    ] as const)('begins for %s the epoch that was no more than begun: %s', async (what, last, write) => {
      const erased = `${fixture.landing}._walhouse_erased`;
      await fixture.query(`insert into ${erased} (id, position) values ('public.items', 1)`);
      await giveUp();
      const before = await epoch();
      const query = client.query.bind(client);
      if (last === 'claimed')
        slow.command = async (params) => {
          const result = await client.command(params);
          if (params.query.includes('_walhouse_owner')) throw new Error('socket hang up');
          return result;
        };
      else
        slow.query = (params) =>
          params.query.includes('system.processes')
            ? Promise.reject(new Error('socket hang up'))
            : query(params);
      const kind = 'sink_unreachable';
      await expect(other.saveCheckpoint(checkpointAt(190n))).rejects.toMatchObject({ kind });
      expect(await epoch()).toBe(before + 1);
      slow.command = client.command.bind(client);
      slow.query = query;
      await write();
      expect(await epoch()).toBe(before + 2);
      await expectKeptAlone();
      expect(await fixture.query(`select * from ${erased}`)).toHaveLength(what === 'a deletion' ? 0 : 1);
    });

    it('is sent again where the epoch changed while it was on its way', async () => {
      slow.insert = async (params) => {
        if (params.table.endsWith('.`items`')) await passes;
        return client.insert(params);
      };
      const before = await epoch();
      const stored = come(other, '2', 200n);
      await giveUp();
      await other.saveCheckpoint(checkpointAt(190n));
      expect(await epoch()).toBe(before + 1);
      pass();
      await stored;
      await go(other, '2', 210n);
      await expectKeptAlone();
      const versions = await fixture.query(`select _version from ${fixture.landing}.items where id = 2`);
      expect(versions.length).toBeGreaterThan(0);
    });
  });

  it('is no claim any more, when it was one', async () => {
    const owner = async (): Promise<unknown> => (await sink.stored()).owner;
    const before = await owner();
    await network.claimAgain();
    expect(await owner(), 'one that has counted').toEqual(before);
    const claimLate = async (afterMs: number): Promise<void> => {
      network.holdsClaims = true;
      await expect(fixture.unopened({ client: way }).open()).rejects.toMatchObject({
        kind: 'sink_unreachable',
      });
      network.holdsClaims = false;
      await sleep(afterMs);
      await network.claimAgain();
    };
    await claimLate(CLAIM_MS + 100);
    expect(await owner()).toEqual(before);
    await claimLate(0);
    expect(await owner(), 'one that comes in time').not.toEqual(before);
  });

  it('leaves the epoch as it is where all that was sent was answered', async () => {
    const { owner } = await sink.stored();
    await come(sink, '2', 200n);
    await sink.open();
    expect((await sink.stored()).owner).toEqual(owner);
    await beginAnew();
    expect((await sink.stored()).owner).toEqual({ ...owner, epoch: owner!.epoch + 1 });
  });
});

/** With what the catalog says of a table whose rows nothing has rewritten. */
function asInCatalog(relation: Relation): Relation {
  const columns = relation.columns.map((column, index) => ({ ...column, attnum: index + 1 }));
  const stamp = { file: '1', columns: `${columns.length}`, width: columns.length, missing: {}, leaves: [] };
  return { ...relation, columns, stamp: JSON.stringify(stamp) };
}
