import { connect, type Socket } from 'node:net';
import type { ClickHouseClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WalhouseError } from '../../src/pipeline/errors.js';
import { createSinkClient } from '../../src/sink/client.js';
import {
  ANY_MOMENT,
  apply,
  checkpointAt,
  sinkFixture,
  snapshot,
  type SinkFixture,
} from '../support/sink-fixture.js';
import { relationOf } from '../support/tuples.js';

const ITEMS = relationOf('public.items', { id: 'int4', v: 'text' });
const OPTIONS = { tables: new Map([[ITEMS.id, { history: false }]]) };

/** ClickHouse begins a statement once it has read a buffer full. */
const HALF = '7\tlate\t1\t0\t2026-11-21 09:00:00\n'.repeat(30_000);

/** Two owners of one database in one process, where each call of the first comes after the second has begun. */
describe('once another instance has begun to write', () => {
  let fixture: SinkFixture;

  beforeAll(async () => {
    fixture = await sinkFixture('ownership');
  });
  afterAll(() => fixture?.close());

  const rows = (): Promise<unknown[]> =>
    fixture.query(`select id, v from ${fixture.database}.items order by id`);
  const names = (): Promise<unknown[]> =>
    fixture.query(
      `select name, toString(uuid) as uuid from system.tables where database in ('${fixture.database}', '${fixture.landing}')
        and not startsWith(name, '_walhouse_gone_') order by name`,
    );

  it('rows, checkpoints, states, switches and deletions of the earlier one are turned away', async () => {
    const first = await fixture.open(OPTIONS);
    await snapshot(first, ITEMS, 100n, [{ id: '1', v: 'a' }]);
    await first.saveCheckpoint(checkpointAt(900n));
    // It has a new copy of the table ready.
    await first.openStage(ITEMS, true);
    const writer = await first.beginSnapshot(ITEMS, 200n);
    await writer.flush(true);

    const second = await fixture.open(OPTIONS);
    expect(await second.attach(ITEMS, ANY_MOMENT)).toMatchObject({ live: true, stale: false });
    await second.saveCheckpoint(checkpointAt(500n));
    const [before, there] = [await rows(), await names()];

    const late = { kind: 'sink_taken_over' };
    await expect(
      apply(first, {
        commitLsn: 300n,
        changes: [{ op: 'insert', relation: ITEMS, row: { id: '2', v: 'late' } }],
      }),
    ).rejects.toMatchObject(late);
    await expect(
      apply(first, { commitLsn: 310n, changes: [{ op: 'truncate', relation: ITEMS }] }),
    ).rejects.toMatchObject(late);
    await expect(first.endSnapshot(ITEMS, 200n)).rejects.toMatchObject(late);
    await expect(first.saveCheckpoint(checkpointAt(950n))).rejects.toMatchObject(late);
    await expect(first.markStale([ITEMS.id], 'unfit')).rejects.toMatchObject(late);
    await expect(first.forgetCheckpoint()).rejects.toMatchObject(late);
    await expect(first.attach({ ...ITEMS, comment: 'by other words' }, ANY_MOMENT)).rejects.toMatchObject(
      late,
    );

    expect(await rows()).toEqual(before);
    expect(await names()).toEqual(there);
    expect(await second.loadCheckpoint()).toMatchObject({ appliedLsn: 500n });
    expect((await second.stored()).owner).toMatchObject({ isUs: true });
    expect((await first.stored()).owner).toMatchObject({ isUs: false });
    // And the one that writes goes on.
    await apply(second, {
      commitLsn: 600n,
      changes: [{ op: 'insert', relation: ITEMS, row: { id: '3', v: 'b' } }],
    });
    expect(await rows()).toEqual([...before, { id: 3, v: 'b' }]);
  });

  it('an insert whose rows were on their way is cancelled, and stores nothing when the rest arrives', async () => {
    const first = await fixture.open(OPTIONS);
    const { epoch } = (await first.stored()).owner!;
    const socket = await halfAnInsert(fixture, epoch);
    await expect
      .poll(() =>
        fixture.query(`select query_id from system.processes where query_id = '${halfId(fixture, epoch)}'`),
      )
      .toHaveLength(1);
    const before = await rows();
    const startedMs = performance.now();
    await fixture.open(OPTIONS);
    // It does not wait until the server itself gives up on the rest.
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    const answer = new Promise<string>((resolve) => {
      socket.once('data', (bytes) => resolve(bytes.toString('latin1')));
      socket.once('close', () => resolve('closed'));
    });
    socket.write(HALF);
    expect(await answer).not.toMatch(/^HTTP\/1\.1 200/);
    socket.destroy();
    expect(await rows()).toEqual(before);
  });

  it('of several that begin at the same moment one writes', async () => {
    const sinks = [1, 2, 3].map(() => fixture.unopened(OPTIONS));
    const results = await Promise.allSettled(sinks.map((sink) => sink.open()));
    // One that the others held up for too long says so, and would try again.
    for (const result of results)
      if (result.status === 'rejected')
        expect(['sink_taken_over', 'sink_timeout']).toContain((result.reason as WalhouseError).kind);
    const stored = await Promise.all(sinks.map((sink) => sink.stored()));
    const newest = stored.flatMap(({ owner }, index) => (owner?.isUs === true ? [index] : []));
    expect(newest).toHaveLength(1);
    if (results[newest[0]!]!.status === 'rejected') await sinks[newest[0]!]!.open();
    const saved = await Promise.allSettled(sinks.map((sink) => sink.saveCheckpoint(checkpointAt(700n))));
    expect(saved.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('one that another has overtaken while it shut out those before it leaves the other’s fence up, and gives way', async () => {
    const sink = fixture.unopened(OPTIONS);
    const { epoch } = (await sink.stored()).owner!;
    const { landing } = fixture;
    const fences = async (): Promise<unknown[]> =>
      fixture.query(
        `select extractAll(create_table_query, 'CONSTRAINT (walhouse_owner_[0-9]+)') as fences from system.tables
          where database = '${landing}' and name = '_walhouse_checkpoint'`,
      );
    // As the next but one does, which claims between our claim and our fences.
    const later = `walhouse_owner_${epoch + 2}`;
    await fixture.query(`alter table ${landing}._walhouse_checkpoint add constraint ${later} check 1`);
    await expect(sink.open()).rejects.toMatchObject({ kind: 'sink_taken_over' });
    expect(JSON.stringify(await fences())).toContain(later);
    await expect(sink.saveCheckpoint(checkpointAt(800n))).rejects.toThrow();
    await fixture.query(`alter table ${landing}._walhouse_checkpoint drop constraint ${later}`);
    await sink.open();
    await sink.saveCheckpoint(checkpointAt(800n));
  });

  it('one that began only half, after another had written, begins again', async () => {
    const client = createSinkClient({ url: fixture.databases.clickhouseUrl });
    const slow = Object.create(client) as ClickHouseClient;
    const sink = fixture.unopened({ ...OPTIONS, client: slow });
    await sink.open();
    await fixture.open(OPTIONS);
    const query = client.query.bind(client);
    slow.query = (params) =>
      params.query.includes('system.processes') ? Promise.reject(new Error('socket hang up')) : query(params);
    await expect(sink.open()).rejects.toMatchObject({ kind: 'sink_unreachable' });
    slow.query = query;
    await sink.open();
    await sink.saveCheckpoint(checkpointAt(900n));
    await client.close();
  });

  it('what nobody has ever written is found to be nothing, and reading it makes nothing', async () => {
    const other = await sinkFixture('ownership_none');
    try {
      const sink = other.unopened();
      expect(await sink.stored()).toEqual({ owner: null, checkpoint: null });
      const made = await other.query(
        `select name from system.databases where startsWith(name, '${other.database}')`,
      );
      expect(made).toEqual([]);
    } finally {
      await other.close();
    }
  });
});

function halfId(fixture: SinkFixture, epoch: number): string {
  return `walhouse-${epoch}-0-${fixture.database}-half`;
}

/** Sends the head and half the rows of an insert, as a process that falls asleep in the middle of one. */
async function halfAnInsert(fixture: SinkFixture, epoch: number): Promise<Socket> {
  const { hostname, port } = new URL(fixture.databases.clickhouseUrl);
  const socket = connect({ host: hostname, port: Number(port) });
  const query = encodeURIComponent(
    `insert into ${fixture.landing}.items (id, v, _version, _is_deleted, _committed_at) format TabSeparated`,
  );
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.write(
      `POST /?query_id=${halfId(fixture, epoch)}&async_insert=0&wait_end_of_query=1&query=${query} HTTP/1.1\r\nHost: x\r\nContent-Length: ${2 * HALF.length}\r\n\r\n${HALF}`,
      () => resolve(),
    );
  });
  return socket;
}
