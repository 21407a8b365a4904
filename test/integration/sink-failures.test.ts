import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WalhouseError } from '../../src/pipeline/errors.js';
import { silentLog } from '../../src/pipeline/log.js';
import { createSinkClient } from '../../src/sink/client.js';
import { openSink } from '../../src/sink/sink.js';
import {
  apply,
  checkpointAt,
  fill,
  ANY_MOMENT,
  sinkFixture,
  snapshot,
  type SinkFixture,
} from '../support/sink-fixture.js';
import { relationOf } from '../support/tuples.js';

let fixture: SinkFixture;
beforeAll(async () => {
  fixture = await sinkFixture('sink_failures');
});
afterAll(() => fixture.close());

async function openFails(url: string): Promise<WalhouseError> {
  const client = createSinkClient({ url });
  const sink = openSink({ client, database: 'x', tables: new Map(), marts: [], log: silentLog });
  try {
    await sink.open();
  } catch (error) {
    return error as WalhouseError;
  } finally {
    await sink.close();
    await client.close();
  }
  throw new Error('it opened');
}

async function listening(onSocket: (server: Server) => void): Promise<{ url: string; close: () => void }> {
  const sockets = new Set<{ destroy(): void }>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
  });
  onSocket(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

const ITEMS = { id: 'int4 not null', v: 'text' };

describe('failures', () => {
  it('a port where nobody listens is sink_unreachable', async () => {
    const { url, close } = await listening(() => undefined);
    close();
    expect((await openFails(url)).kind).toBe('sink_unreachable');
  });

  it('a connection that is cut is sink_unreachable', async () => {
    const { url, close } = await listening((server) => server.on('connection', (socket) => socket.destroy()));
    expect((await openFails(url)).kind).toBe('sink_unreachable');
    close();
  });

  it('a wrong password is sink_auth_failed, and the message does not hold it', async () => {
    const url = fixture.databases.clickhouseUrl.replace('//', '//nobody:opensesame@');
    const error = await openFails(url);
    expect(error.kind).toBe('sink_auth_failed');
    expect(error.message).not.toContain('opensesame');
  });

  it('an address that is not ClickHouse is said to be none', async () => {
    const { url, close } = await listening((server) =>
      server.on('connection', (socket) =>
        socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello'),
      ),
    );
    const error = await openFails(url);
    close();
    expect(error.kind).toBe('sink_rejected');
    expect(error.fix).toContain('sink.url');
  });

  it('an insert that nobody answers ends at its deadline, and closing ends it at once', async () => {
    const { url, close } = await listening(() => undefined);
    const client = createSinkClient({ url });
    const late = openSink({
      client,
      database: 'x',
      tables: new Map(),
      marts: [],
      log: silentLog,
      insertTimeoutMs: 50,
    });
    const checkpoint = checkpointAt(1n);
    await expect(late.saveCheckpoint(checkpoint)).rejects.toMatchObject({ kind: 'sink_timeout' });
    const patient = openSink({ client, database: 'x', tables: new Map(), marts: [], log: silentLog });
    const saving = patient.saveCheckpoint(checkpoint);
    await patient.close();
    await expect(saving).rejects.toMatchObject({ kind: 'sink_unreachable' });
    await client.close();
    close();
  });

  it('what ClickHouse refuses is said without the row, and the same batch is stored once it is mended', async () => {
    const relation = relationOf('public.mended', ITEMS);
    const sink = await fixture.open({ tables: new Map([[relation.id, { history: false }]]) });
    await snapshot(sink, relation, 0x1000n, []);
    await fixture.query(`alter table ${fixture.landing}.mended modify column v Nullable(Int32)`);
    const batch = sink.openBatch();
    fill(batch, {
      commitLsn: 0x2000n,
      changes: [{ op: 'insert', relation, row: { id: '1', v: 'a very secret value' } }],
    });
    const error = (await sink.store(batch).catch((cause: unknown) => cause)) as WalhouseError;
    expect(error).toBeInstanceOf(WalhouseError);
    expect(error.kind).toBe('sink_rejected');
    expect(JSON.stringify([error.message, error.stack, String(error.cause)])).not.toContain('secret');
    await fixture.query(`alter table ${fixture.landing}.mended modify column v Nullable(String)`);
    await sink.store(batch);
    expect(await fixture.query(`select * from ${fixture.database}.mended`)).toEqual([
      { id: 1, v: 'a very secret value' },
    ]);
  });

  it('too many parts is sink_overloaded, which passes', async () => {
    const relation = relationOf('public.parts', ITEMS);
    const sink = await fixture.open({ tables: new Map([[relation.id, { history: false }]]) });
    await snapshot(sink, relation, 0x1000n, [{ id: '1', v: null }]);
    const table = `${fixture.landing}.parts`;
    await fixture.query(`system stop merges ${table}`);
    await fixture.query(
      `alter table ${table} modify setting parts_to_throw_insert = 1, parts_to_delay_insert = 1`,
    );
    const store = (): Promise<void> =>
      apply(sink, { commitLsn: 0x2000n, changes: [{ op: 'insert', relation, row: { id: '2', v: null } }] });
    const outcomes = [];
    for (let i = 0; i < 3; i += 1) outcomes.push(await store().catch((error: WalhouseError) => error.kind));
    expect(outcomes.at(-1)).toBe('sink_overloaded');
    await fixture.query(`system start merges ${table}`);
    await fixture.query(
      `alter table ${table} modify setting parts_to_throw_insert = 100, parts_to_delay_insert = 100`,
    );
    await store();
  });

  it('two tables with one name, and columns with names of ours, are refused', async () => {
    const sink = await fixture.open();
    await sink.beginSnapshot(relationOf('public.a_b', ITEMS), 0x1000n);
    await expect(sink.beginSnapshot(relationOf('a.b', ITEMS), 0x1000n)).rejects.toThrow(
      /^table_name_collision: a\.b and public\.a_b would both be called "a_b"/,
    );
    await expect(sink.beginSnapshot(relationOf('public._walhouse_tables', ITEMS), 0x1000n)).rejects.toThrow(
      /^table_name_collision: /,
    );
    await expect(
      sink.beginSnapshot(relationOf('public.v', { ...ITEMS, _version: 'int4' }), 0x1000n),
    ).rejects.toThrow(/^table_name_collision: .*column "_version"/);
    await expect(sink.beginSnapshot(relationOf('public.k', ITEMS, { key: [] }), 0x1000n)).rejects.toThrow(
      /^table_no_identity: .*PRIMARY KEY/,
    );
  });

  it('a table whose columns changed while nobody looked is not attached', async () => {
    const relation = relationOf('public.altered', ITEMS);
    const sink = await fixture.open();
    await snapshot(sink, relation, 0x1000n, []);
    const again = await fixture.open();
    expect(await again.attach({ ...relation, comment: 'comments may change' }, ANY_MOMENT)).toMatchObject({
      live: true,
      stale: false,
    });
    expect(
      await again.attach(relationOf('public.altered', { ...ITEMS, w: 'text' }), ANY_MOMENT),
    ).toMatchObject({
      live: false,
      stale: true,
    });
  });

  it('a table that was not attached is not attached later either, though its columns are the former ones again', async () => {
    const relation = relationOf('public.there_and_back', ITEMS);
    const sink = await fixture.open();
    await snapshot(sink, relation, 0x1000n, []);
    const other = relationOf('public.there_and_back', { ...ITEMS, w: 'text' });
    for (const seen of [other, relation, relation]) {
      const again = await fixture.open();
      // From here on its changes would be passed over, and the process could end at any time.
      expect(await again.attach(seen, ANY_MOMENT)).toMatchObject({ live: false, stale: true });
    }
    const again = await fixture.open();
    await snapshot(again, relation, 0x2000n, []);
    expect(await (await fixture.open()).attach(relation, ANY_MOMENT)).toMatchObject({ live: true });
  });

  it('the checkpoint and the state of the tables outlive the process, and the newest one wins', async () => {
    const sink = await fixture.open();
    const checkpoint = {
      ...checkpointAt(0xffff_ffff_ffff_fff0n),
      committedAtUs: -1n,
      exact: ['public.items'],
      lagMs: 12,
    };
    expect(await sink.loadCheckpoint()).toBeNull();
    await sink.saveCheckpoint({ ...checkpoint, committedAtUs: null });
    await sink.saveCheckpoint({ ...checkpoint, appliedLsn: 5n });
    await sink.saveCheckpoint(checkpoint);
    const again = await fixture.open();
    expect(await again.loadCheckpoint()).toEqual(checkpoint);
    const tables = await again.loadTables();
    expect(tables).toContainEqual(
      expect.objectContaining({ id: 'public.there_and_back', state: 'streaming', snapshotLsn: 0x2000n }),
    );
    expect(tables).toContainEqual(expect.objectContaining({ id: 'public.a_b', state: 'snapshotting' }));
  });
});
