import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSinkClient } from '../../src/sink/client.js';
import type { Sink } from '../../src/pipeline/sink.js';
import { ANY_MOMENT, apply, sinkFixture, snapshot, type SinkFixture } from '../support/sink-fixture.js';
import { LateNetwork } from '../support/late-network.js';
import { relationOf, tupleOf } from '../support/tuples.js';

const ITEMS = relationOf('public.items', { id: 'int4', v: 'text' });
/** Until then a claim counts. */
const CLAIM_MS = 10_000;
const CHECKPOINT = {
  identity: { systemIdentifier: '7300000000000000001', timeline: 1, database: 'shop' },
  slot: 'walhouse',
  committedAtUs: null,
  exact: [ITEMS.id],
  lagMs: 0,
};
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
  let close: () => Promise<void>;

  beforeEach(async () => {
    fixture = await sinkFixture(`late_${history}`);
    network = await LateNetwork.before(fixture.databases.clickhouseUrl, 'goes');
    const client = createSinkClient({ url: network.url });
    close = () => client.close();
    sink = fixture.unopened({ ...options, client });
    await sink.open();
    await snapshot(sink, ITEMS, 100n, [KEPT]);
  });
  afterEach(async () => {
    await close();
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
    await sink.saveCheckpoint({ ...CHECKPOINT, appliedLsn: 211n });
    const { landing } = fixture;
    for (const table of ['items', ...(history ? ['_walhouse_versions_items', '_walhouse_audit_items'] : [])])
      await fixture.query(
        `delete from ${landing}.${table} where ${table.includes('audit') ? `key like '%2%'` : 'id = 2'}`,
      );
    await sink.saveCheckpoint({ ...CHECKPOINT, appliedLsn: 220n });
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
  it('leaves the epoch alone while rows are deleted in it', async () => {
    let pass = (): void => {};
    const passes = new Promise<void>((resolve) => (pass = resolve));
    const client = createSinkClient({ url: fixture.databases.clickhouseUrl });
    const slow = Object.create(client) as typeof client;
    const other = fixture.unopened({ ...options, client: slow });
    await other.open();
    await fixture.query(
      `insert into ${fixture.landing}._walhouse_erased (id, position) values ('public.items', 1)`,
    );
    slow.command = () => Promise.reject(new Error('socket hang up'));
    await expect(other.openStage(ITEMS, true)).rejects.toMatchObject({ kind: 'sink_unreachable' });
    let waiting = false;
    slow.command = async (params) => {
      const deletes = params.query.includes('delete where');
      if (deletes) waiting = true;
      if (deletes) await passes;
      return client.command(params);
    };
    const forgotten = other.forgetCheckpoint();
    await expect.poll(() => waiting).toBe(true);
    const saved = other.saveCheckpoint({ ...CHECKPOINT, appliedLsn: 190n });
    await sleep(500);
    pass();
    await Promise.all([forgotten, saved]);
    expect(await fixture.query(`select * from ${fixture.landing}._walhouse_erased`)).toEqual([]);
    await client.close();
  });

  it('is sent again where the epoch changed while it was on its way', async () => {
    let pass = (): void => {};
    const passes = new Promise<void>((resolve) => (pass = resolve));
    const client = createSinkClient({ url: fixture.databases.clickhouseUrl });
    const slow = Object.assign(Object.create(client) as typeof client, {
      insert: async (params: Parameters<typeof client.insert>[0]) => {
        if (params.table.endsWith('.`items`')) await passes;
        return client.insert(params);
      },
    });
    const other = fixture.unopened({ ...options, client: slow });
    await other.open();
    await other.attach(ITEMS, ANY_MOMENT);
    const { epoch } = (await other.stored()).owner!;
    const stored = come(other, '2', 200n);
    slow.command = () => Promise.reject(new Error('socket hang up'));
    await expect(other.openStage(ITEMS, true)).rejects.toMatchObject({ kind: 'sink_unreachable' });
    slow.command = client.command.bind(client);
    await other.saveCheckpoint({ ...CHECKPOINT, appliedLsn: 190n });
    expect((await other.stored()).owner!.epoch).toBe(epoch + 1);
    pass();
    await stored;
    await go(other, '2', 210n);
    await expectKeptAlone();
    const versions = await fixture.query(`select _version from ${fixture.landing}.items where id = 2`);
    expect(versions.length).toBeGreaterThan(0);
    await client.close();
  });

  it('is no claim any more, when it was one', async () => {
    const owner = async (): Promise<unknown> => (await sink.stored()).owner;
    const before = await owner();
    await network.claimAgain();
    expect(await owner(), 'a claim that comes in time').not.toEqual(before);
    await beginAnew();
    const now = await owner();
    await sleep(CLAIM_MS + 100);
    await network.claimAgain();
    expect(await owner()).toEqual(now);
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
