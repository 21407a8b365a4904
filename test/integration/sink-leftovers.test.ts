import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startClickHouse, type LocalClickHouse } from '../../src/dev/servers/clickhouse.js';
import { silentLog } from '../../src/pipeline/log.js';
import { createSinkClient } from '../../src/sink/client.js';
import { Leftovers } from '../../src/sink/leftovers.js';
import { Server } from '../../src/sink/server.js';
import { clickhouseQuery } from '../support/clickhouse-query.js';
import { linger } from '../support/lingering.js';
import { Proxy } from '../support/proxy.js';

describe('what was replaced', () => {
  let server: LocalClickHouse;
  let client: ReturnType<typeof createSinkClient>;
  const query = <T>(sql: string): Promise<T[]> => clickhouseQuery<T>(server.url, sql);

  beforeAll(async () => {
    // Of its own: on a shared one others' queries may have begun earlier.
    server = await startClickHouse({ log: () => {} });
    client = createSinkClient({ url: server.url });
    await query('create database landing');
    for (const name of ['read', 'unread', 'empty']) {
      await query(`create table landing.${name} (id Int32) engine = ReplacingMergeTree order by id`);
      await query(`create view landing.view_of_${name} as select id from landing.${name}`);
    }
    for (const name of ['read', 'unread'])
      await query(`insert into landing.${name} select number from numbers(50)`);
  });
  afterAll(async () => {
    await client?.close();
    await server?.close();
  });

  const left = async (): Promise<string[]> => {
    const rows = await query<{ name: string }>(
      `select name from system.tables where database = 'landing' order by name`,
    );
    return rows.map(({ name }) => name);
  };

  it('goes when nobody reads it any more, and ClickHouse never waits for that itself', async () => {
    const leftovers = new Leftovers(new Server(client), 'landing', silentLog);
    const reading = linger(server.url, 'landing.view_of_read');
    await reading.begun();
    for (const name of await left()) leftovers.remove(name);
    // A view may be what a query reads that began before.
    await expect
      .poll(left, { timeout: 10_000 })
      .toEqual(['read', 'view_of_empty', 'view_of_read', 'view_of_unread']);
    const waitedFor = await query(
      `select table from system.dropped_tables where table_dropped_time <= now()`,
    );
    expect(waitedFor).toEqual([]);
    await reading.cancel();
    await expect.poll(left, { timeout: 20_000 }).toEqual([]);
  });

  it('goes when ClickHouse is back, if that was away', async () => {
    await query(`create table landing.replaced (id Int32) engine = ReplacingMergeTree order by id`);
    const proxy = await Proxy.before(server.url);
    const through = createSinkClient({ url: proxy.through(server.url) });
    try {
      const leftovers = new Leftovers(new Server(through), 'landing', silentLog);
      proxy.become('answers_lost');
      leftovers.remove('replaced');
      await expect.poll(() => proxy.answersLost, { timeout: 10_000 }).toBeGreaterThan(0);
      expect(await left()).toEqual(['replaced']);
      proxy.become('clear');
      await expect.poll(left, { timeout: 20_000 }).toEqual([]);
    } finally {
      await through.close();
      await proxy.close();
    }
  });
});
