import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startClickHouse, type LocalClickHouse } from '../../src/dev/servers/clickhouse.js';
import { startPostgres, type LocalPostgres } from '../../src/dev/servers/postgres.js';
import { Scenario } from '../support/scenario.js';

/** Fits an idle ClickHouse with these few rows, and little more. */
const DISK_MB = 96;

/**
 * A disk of our own that can be filled and made read-only. Only who may mount can have one; elsewhere the server's own threshold
 * of free space stands in for a full disk.
 */
class SmallDisk {
  readonly directory = mkdtempSync(join(tmpdir(), 'walhouse-small-disk-'));
  readonly mounted: boolean;

  constructor() {
    this.mounted = this.#mount('-t', 'tmpfs', '-o', `size=${DISK_MB}m,mode=755`, 'tmpfs');
  }

  get #filler(): string {
    return join(this.directory, 'filler');
  }

  fill(): void {
    try {
      execFileSync('dd', ['if=/dev/zero', `of=${this.#filler}`, 'bs=64k', 'count=100000'], {
        stdio: 'ignore',
      });
    } catch {
      // It ends when the disk is full.
    }
  }

  empty(): void {
    rmSync(this.#filler, { force: true });
  }

  close(): void {
    if (this.mounted) execFileSync('umount', ['-l', this.directory], { stdio: 'ignore' });
    rmSync(this.directory, { recursive: true, force: true });
  }

  #mount(...options: string[]): boolean {
    try {
      execFileSync('mount', [...options, this.directory], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  }
}

describe('while ClickHouse cannot take rows', () => {
  const disk = new SmallDisk();
  let server: LocalClickHouse;
  /** Nobody else writes to it, so that positions in its WAL are ours. */
  let source: LocalPostgres;
  let scenario: Scenario;
  let next = 1_000;

  beforeAll(async () => {
    source = await startPostgres({ log: () => undefined, settings: { fsync: 'off' } });
    server = await start();
    scenario = await Scenario.open('sink_limits', {
      schema: `create table kept (id int primary key, v text); alter table kept replica identity full;
        create table plain (id int primary key, v text);
        create table places (x numeric);
        insert into kept select i, 'v' || i from generate_series(1, 100) i;
        insert into plain select i, 'v' || i from generate_series(1, 100) i;`,
      tables: { 'public.kept': { history: true }, 'public.plain': {} },
      postgres: source.url,
      clickhouse: server.url,
    });
    await scenario.walhouse.start();
    await scenario.expectEqual();
  });
  afterAll(async () => {
    await scenario?.close();
    await server?.close();
    await source?.close();
    disk.close();
  });

  function start(more: { httpPort?: number; configFile?: string } = {}): Promise<LocalClickHouse> {
    return startClickHouse({ dir: join(disk.directory, 'clickhouse'), log: () => undefined, ...more });
  }

  /** A transaction over both tables: each kind of change. `bytes` is the size of one of its rows. Gives a position in its midst. */
  async function write(bytes = 10): Promise<bigint> {
    next += 10;
    await scenario.sql(`begin;
      insert into kept select i, 'new' from generate_series(${next}, ${next} + 9) i;
      insert into plain select i, case i when ${next} + 9 then repeat('x', ${bytes}) else 'new' end
        from generate_series(${next}, ${next} + 9) i;
      update kept set v = v || '+' where id in (${next}, 5); update plain set v = v || '+' where id in (${next}, 5);
      delete from kept where id = ${next} + 1; delete from plain where id = ${next} + 1;
      insert into places select pg_current_wal_insert_lsn() - '0/0'; commit`);
    const [row] = await scenario.databases.postgres<{ x: string }>('select max(x)::text as x from places');
    return BigInt(row!.x);
  }

  const confirmed = async (): Promise<bigint> => {
    const [row] = await scenario.databases.postgres<{ x: string }>(
      `select (confirmed_flush_lsn - '0/0')::text as x from pg_replication_slots where slot_name = $1`,
      [scenario.databases.name],
    );
    return BigInt(row!.x);
  };
  const landing = (table: string): string => `${scenario.databases.clickhouseDatabase}_landing.${table}`;

  /** What it does while one kind of limit lasts: nothing is confirmed, the wait is to be seen, and it goes on by itself. */
  async function outlasts(
    kinds: RegExp,
    limit: () => Promise<void>,
    lift: () => Promise<void>,
    bytes?: number,
  ): Promise<void> {
    await scenario.applied();
    await limit();
    try {
      const inFirst = await write(bytes);
      await expect
        // Attempts may be half a minute apart by then.
        .poll(async () => (await scenario.walhouse.status()).error?.kind ?? null, { timeout: 70_000 })
        .toMatch(kinds);
      await write();
      const status = await scenario.walhouse.status();
      expect(status.state).toBe('retrying');
      expect(status.error?.fix).not.toBe('');
      expect(status.retry_at).not.toBeNull();
      // As long as its commit is not stored, nothing behind that is; what lies between the two is next to nothing.
      expect(await confirmed()).toBeLessThan(inFirst + 1_000n);
    } finally {
      await lift();
    }
    await write();
    await scenario.expectEqual();
    expect((await scenario.walhouse.status()).error).toBeNull();
    const [row] = await scenario.databases.clickhouse<{ twice: string }>(
      `select count() - uniqExact(lsn, ordinal) as twice from ${scenario.databases.clickhouseDatabase}_audit.kept where op != 'r'`,
    );
    expect(row!.twice).toBe('0');
  }

  it('because its disk is full, nothing is confirmed, and it goes on when there is room', async () => {
    if (disk.mounted) {
      await outlasts(
        /^sink_(disk_full|unreachable)$/,
        async () => disk.fill(),
        async () => disk.empty(),
      );
      return;
    }
    const setting = 'min_free_disk_bytes_to_perform_insert';
    await outlasts(
      /^sink_disk_full$/,
      () => statement(`alter table ${landing('plain')} modify setting ${setting} = 1000000000000000`),
      () => statement(`alter table ${landing('plain')} reset setting ${setting}`),
    );
  });

  it('because a table is read-only, nothing is confirmed, and it goes on when it may be written again', async () => {
    await outlasts(
      /^sink_read_only$/,
      () => statement(`alter table ${landing('plain')} modify setting table_readonly = 1`),
      () => statement(`alter table ${landing('plain')} reset setting table_readonly`),
    );
  });

  it('because its memory limit is reached, nothing is confirmed, and it goes on when there is memory', async () => {
    const configFile = join(disk.directory, 'limit.xml');
    writeFileSync(
      configFile,
      '<clickhouse><max_server_memory_usage>80000000</max_server_memory_usage></clickhouse>',
    );
    const { httpPort } = server;
    await outlasts(
      // It may refuse a row before it has read all of it, and then the answer is lost with the connection.
      /^sink_(overloaded|unreachable)$/,
      async () => {
        await server.close();
        server = await start({ httpPort, configFile });
      },
      async () => {
        await server.close();
        server = await start({ httpPort });
      },
      30_000_000,
    );
  });

  async function statement(sql: string): Promise<void> {
    await scenario.databases.clickhouse(sql);
  }
});
