import { createServer, connect as connectTcp, type Server, type Socket } from 'node:net';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { lsnFrom, type Lsn } from '../../src/pipeline/lsn.js';
import type { Plugin } from '../../src/source/slot.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';
import { prepare, readUntil, Recorder, type Call, type Prepared } from './source-recorder.js';

let databases: TestDatabases;
let one: Prepared | null = null;
const PLUGINS: Plugin[] = ['pgoutput', 'wal2json'];

beforeAll(async () => {
  databases = await createDatabases('source_stream');
});

afterAll(() => databases.close());

afterEach(async () => {
  await one?.dispose();
  one = null;
  await databases.postgres('drop table if exists a');
});

async function begin(plugin: Plugin, extra = {}): Promise<Prepared> {
  await databases.postgres('create table a (id int primary key, v text)');
  one = await prepare(databases, plugin, ['public.a'], extra);
  await one.snapshot.close();
  return one;
}

async function slotLsn(plugin: Plugin): Promise<Lsn> {
  const [row] = await databases.postgres<{ lsn: string }>(
    'select confirmed_flush_lsn::text as lsn from pg_replication_slots where slot_name = $1',
    [`${databases.name}_${plugin}`],
  );
  return lsnFrom(row!.lsn);
}

class KeepaliveCounter extends Recorder {
  keepalives = 0;
  sentAtMs = 0;

  override caughtUp(lsn: Lsn, sentAtMs: number): void {
    this.keepalives += 1;
    this.sentAtMs = sentAtMs;
    super.caughtUp(lsn, sentAtMs);
  }
}

class FullHandler extends Recorder {
  override insert(): void {
    throw new Error('no more room');
  }
}

const ids = (calls: readonly Call[]): string[] =>
  calls.flatMap((call) => (call.call === 'insert' ? [String(call.row['id'])] : []));

describe.each(PLUGINS)('a stream through %s', (plugin) => {
  it('delivers the second of two transactions that touch in the WAL after the first was confirmed', async ({
    skip,
  }) => {
    if (plugin === 'wal2json' && !databases.hasWal2json) skip();
    const { source, relations } = await begin(plugin);
    await touchingCommits();
    const first = await readUntil(source.openStream(relations), await source.currentLsn());
    const commits = first.recorder.calls.filter((call) => call.call === 'commit');
    const index = commits.findIndex((commit, at) => commits[at + 1]?.commitLsn === commit.endLsn);
    expect(index, 'two commits that touch').toBeGreaterThanOrEqual(0);
    await first.stop();

    const stream = source.openStream(relations);
    const again = await readUntil(stream, commits.at(-1)!.endLsn);
    stream.confirm(commits[index]!.endLsn);
    await expect.poll(() => slotLsn(plugin)).toBeGreaterThanOrEqual(commits[index]!.endLsn);
    await again.stop();

    const second = await readUntil(source.openStream(relations), await source.currentLsn());
    await second.stop();
    expect(second.recorder.calls.find(({ call }) => call === 'begin')).toMatchObject({
      commitLsn: commits[index + 1]!.commitLsn,
    });
    expect(ids(second.recorder.calls)).toEqual(ids(first.recorder.calls).slice(index + 1));
  });

  it('confirms nothing by itself while it receives and answers keepalives', async ({ skip }) => {
    if (plugin === 'wal2json' && !databases.hasWal2json) skip();
    await databases.postgres(`alter database ${databases.name} set wal_sender_timeout = '800ms'`);
    try {
      const { source, relations } = await begin(plugin);
      const before = await slotLsn(plugin);
      const recorder = new KeepaliveCounter();
      const stream = source.openStream(relations);
      const running = stream.run(recorder);
      await databases.postgres(`insert into a select generate_series(1, 100)`);
      await expect.poll(() => ids(recorder.calls).length).toBe(100);
      await expect.poll(() => recorder.keepalives, { timeout: 15_000 }).toBeGreaterThan(5);
      expect(await slotLsn(plugin)).toBe(before);
      await stream.close();
      await running;
    } finally {
      await databases.postgres(`alter database ${databases.name} reset wal_sender_timeout`);
    }
  }, 30_000);

  it('puts exactly the confirmed position on the wire', async ({ skip }) => {
    if (plugin === 'wal2json' && !databases.hasWal2json) skip();
    const { source, relations } = await begin(plugin);
    await databases.postgres('insert into a values (1)');
    const stream = source.openStream(relations);
    const { recorder, stop } = await readUntil(stream, await source.currentLsn());
    const commit = recorder.calls.find((call) => call.call === 'commit')!;
    stream.confirm(commit.endLsn);
    await expect.poll(() => slotLsn(plugin)).toBe(commit.endLsn);
    stream.confirm(commit.endLsn - 8n);
    stream.ping(0n);
    await databases.postgres('insert into a values (2)');
    await expect.poll(() => ids(recorder.calls)).toContain('2');
    expect(await slotLsn(plugin)).toBe(commit.endLsn);
    await stop();
  });

  it('delivers what was not confirmed again, the same', async ({ skip }) => {
    if (plugin === 'wal2json' && !databases.hasWal2json) skip();
    const prepared = await begin(plugin);
    await databases.postgres(`insert into a values (1, 'x'); update a set id = 2; delete from a`);
    expect((await prepared.read()).calls).toEqual((await prepared.read()).calls);
  });
});

/**
 * Makes commits whose records touch: each transaction has written its row before the first of them commits. Other tests
 * write into the same WAL, so there are many pairs, of which one is enough.
 */
async function touchingCommits(): Promise<void> {
  const sessions = Array.from(
    { length: 10 },
    () => new pg.Client({ connectionString: databases.postgresUrl }),
  );
  await Promise.all(sessions.map((session) => session.connect()));
  for (let round = 0; round < 3; round += 1) {
    for (const [index, session] of sessions.entries()) {
      await session.query(`begin; insert into a values (${round * 100 + index})`);
    }
    await Promise.all(sessions.map((session) => session.query('commit')));
  }
  await Promise.all(sessions.map((session) => session.end()));
}

describe('a stream', () => {
  it('hands nothing over while it is paused, survives the server timeout meanwhile, and goes on', async () => {
    await databases.postgres(`alter database ${databases.name} set wal_sender_timeout = '1s'`);
    try {
      const { source, relations } = await begin('pgoutput');
      const stream = source.openStream(relations);
      const { recorder, stop } = await readUntil(stream, await source.currentLsn());
      stream.pause();
      await databases.postgres(`insert into a select g, repeat('x', 1000) from generate_series(1, 30000) g`);
      // The server hears of us again and again, for longer than its timeout, while we read nothing.
      const replies = new Set<string>();
      const heardOf = async (): Promise<number> => {
        const [row] = await databases.postgres<{ at: string }>(
          `select r.reply_time::text as at from pg_stat_replication r
             join pg_replication_slots s on s.active_pid = r.pid where s.slot_name = $1`,
          [`${databases.name}_pgoutput`],
        );
        if (row === undefined) throw new Error('the server has ended the stream');
        return replies.add(row.at).size;
      };
      await expect.poll(heardOf, { timeout: 15_000 }).toBeGreaterThan(12);
      expect(ids(recorder.calls)).toEqual([]);
      stream.resume();
      await expect.poll(() => ids(recorder.calls).length, { timeout: 15_000 }).toBe(30_000);
      await stop();
    } finally {
      await databases.postgres(`alter database ${databases.name} reset wal_sender_timeout`);
    }
  }, 40_000);

  it("leaves the library's timer off, which confirms what was merely received", async () => {
    // Without a timeout of the server's nothing else is sent, so the timer (10 s, looked at each second) would show.
    await databases.postgres(`alter database ${databases.name} set wal_sender_timeout = 0`);
    try {
      const { source, relations } = await begin('pgoutput');
      const before = await slotLsn('pgoutput');
      await databases.postgres('insert into a values (1)');
      const { stop } = await readUntil(source.openStream(relations), await source.currentLsn());
      const startedAt = performance.now();
      await expect
        .poll(() => performance.now() - startedAt, { timeout: 20_000, interval: 500 })
        .toBeGreaterThan(12_500);
      expect(await slotLsn('pgoutput')).toBe(before);
      await stop();
    } finally {
      await databases.postgres(`alter database ${databases.name} reset wal_sender_timeout`);
    }
  }, 30_000);

  it('says when the server sent a keepalive, by its clock', async () => {
    const { source, relations } = await begin('pgoutput');
    const recorder = new KeepaliveCounter();
    const { stop } = await readUntil(source.openStream(relations), await source.currentLsn(), recorder);
    await stop();
    expect(Math.abs(Date.now() - recorder.sentAtMs)).toBeLessThan(60_000);
  });

  it('says who holds a slot that is in use', async () => {
    const { source, relations } = await begin('pgoutput');
    const { stop } = await readUntil(source.openStream(relations), await source.currentLsn());
    const second = source.openStream(relations);
    await expect(second.run(new Recorder())).rejects.toMatchObject({
      kind: 'slot_in_use',
      what: expect.stringMatching(/process \d+ \("walhouse"\)/) as string,
    });
    await stop();
  });

  it('fails with slot_missing where there is no slot', async () => {
    const { source, relations } = await begin('pgoutput');
    await source.dropSlot();
    await expect(source.openStream(relations).run(new Recorder())).rejects.toMatchObject({
      kind: 'slot_missing',
    });
  });

  it('passes on what the handler throws, and lets go of the slot', async () => {
    const { source, relations } = await begin('pgoutput');
    await databases.postgres('insert into a values (1), (2)');
    await expect(source.openStream(relations).run(new FullHandler())).rejects.toThrow('no more room');
    await expect.poll(async () => (await source.slot())?.active).toBe(false);
  });

  it('has let go of the slot when close resolves, even while it is paused before a backlog', async () => {
    const { source, relations } = await begin('pgoutput');
    const stream = source.openStream(relations);
    const { stop } = await readUntil(stream, await source.currentLsn());
    stream.pause();
    await databases.postgres(`insert into a select g, repeat('x', 1000) from generate_series(1, 20000) g`);
    await stop();
    expect(await source.slot()).toMatchObject({ active: false });
  });

  it('ends at once on close, whether it was connected or not', async () => {
    const { source, relations } = await begin('pgoutput');
    const early = source.openStream(relations);
    const running = early.run(new Recorder());
    await early.close();
    await running;
    const never = source.openStream(relations);
    await never.close();
    await never.run(new Recorder());
  });

  it('reports a session that the server ended', async () => {
    const { source, relations } = await begin('pgoutput');
    const { running } = await readUntil(source.openStream(relations), await source.currentLsn());
    const ended = expect(running).rejects.toMatchObject({ policy: 'retry' });
    await databases.postgres(
      'select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1',
      [`${databases.name}_pgoutput`],
    );
    await ended;
  });

  it('gives up a connection that went silent', async () => {
    const proxy = await openProxy(databases.postgresUrl);
    try {
      const { source, relations } = await begin('pgoutput', { url: proxy.url, silentAfterMs: 1_500 });
      const { running } = await readUntil(source.openStream(relations), await source.currentLsn());
      const ended = expect(running).rejects.toMatchObject({ kind: 'source_disconnected' });
      proxy.silence();
      await ended;
    } finally {
      proxy.release();
      await one?.dispose();
      one = null;
      await proxy.close();
    }
  }, 20_000);
});

interface Proxy {
  readonly url: string;
  /** From now on nothing passes, and nobody is told. */
  silence(): void;
  release(): void;
  close(): Promise<void>;
}

async function openProxy(url: string): Promise<Proxy> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  let silent = false;
  const server: Server = createServer((near) => {
    const far = connectTcp(Number(target.port), target.hostname);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('data', (bytes) => void (silent || to.write(bytes)));
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const via = new URL(url);
  via.hostname = '127.0.0.1';
  via.port = String(typeof address === 'object' && address !== null ? address.port : 0);
  return {
    url: via.href,
    silence: () => (silent = true),
    release: () => {
      silent = false;
      for (const socket of sockets) socket.destroy();
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
