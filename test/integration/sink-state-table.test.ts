import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSinkClient } from '../../src/sink/client.js';
import { Server } from '../../src/sink/server.js';
import { StoredTables } from '../../src/sink/stored-tables.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';

describe('the state of tables', () => {
  let databases: TestDatabases;
  let client: ReturnType<typeof createSinkClient>;
  let landing: string;

  beforeAll(async () => {
    databases = await createDatabases('state_table');
    landing = `${databases.clickhouseDatabase}_landing`;
    client = createSinkClient({ url: databases.clickhouseUrl });
    await databases.clickhouse(`create database ${landing}`);
  });
  afterAll(async () => {
    await client?.close();
    await databases?.close();
  });

  /** As the process that owns the tables has it from its start on. */
  async function opened(): Promise<StoredTables> {
    const tables = new StoredTables(new Server(client), landing);
    await tables.open();
    return tables;
  }

  it('is the last that was said, also where a clock has gone back since', async () => {
    await (await opened()).update('public.a', { state: 'streaming', snapshotLsn: 7n });
    await databases.clickhouse(
      `insert into ${landing}._walhouse_tables (id, state, snapshot_lsn, saved_at)
       select id, 'resync', snapshot_lsn, toDateTime64('2199-01-01', 6, 'UTC') from ${landing}._walhouse_tables`,
    );
    const tables = await opened();
    expect(await tables.find('public.a')).toMatchObject({ state: 'resync', snapshotLsn: 7n });
    await tables.update('public.a', { state: 'stopped' });
    await tables.update('public.a', { definition: 'new' });
    for (const one of [tables, await opened()])
      expect(await one.find('public.a')).toMatchObject({
        state: 'stopped',
        snapshotLsn: 7n,
        definition: 'new',
      });
  });

  it('takes changes one after the other, and none takes back another', async () => {
    const tables = await opened();
    await Promise.all([
      tables.update('public.b', { state: 'streaming' }),
      tables.update('public.c', { state: 'streaming' }),
      tables.update('public.b', { stamp: 's' }),
      tables.update('public.b', { snapshotLsn: 2n ** 63n }),
    ]);
    for (const one of [tables, await opened()]) {
      expect(await one.find('public.b')).toEqual({
        id: 'public.b',
        state: 'streaming',
        snapshotLsn: 2n ** 63n,
        definition: '',
        switchingTo: '',
        stamp: 's',
        altered: '',
      });
      expect((await one.find('public.c')).state).toBe('streaming');
    }
  });

  it('is read anew by who does not own it', async () => {
    const [owner, reader] = [await opened(), await opened()];
    const seen = async (): Promise<unknown> =>
      (await reader.load()).find(({ id }) => id === 'public.e')?.state;
    for (const state of ['snapshotting', 'streaming'] as const) {
      await owner.update('public.e', { state });
      expect(await seen()).toBe(state);
    }
  });

  it('is read again where a change failed, since it may have been stored all the same', async () => {
    const tables = await opened();
    await tables.update('public.d', { state: 'streaming' });
    await databases.clickhouse(`rename table ${landing}._walhouse_tables to ${landing}.away`);
    await expect(tables.update('public.d', { state: 'stopped' })).rejects.toThrow();
    await databases.clickhouse(
      `insert into ${landing}.away (id, state) select 'public.d', 'resync' from numbers(1)`,
    );
    await databases.clickhouse(`rename table ${landing}.away to ${landing}._walhouse_tables`);
    expect((await tables.find('public.d')).state).toBe('resync');
  });
});
