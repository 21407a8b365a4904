import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { loadConfig } from '../../src/cli/config.js';
import { startPostgres, type LocalPostgres } from '../../src/dev/servers/postgres.js';
import { type Decoder, Scenario } from '../support/scenario.js';
import type { WalhouseOptions } from '../support/walhouse.js';

const SCHEMA = `
  create table stays (id int8 primary key, note text);
  create table leaves (id int8 primary key, note text);
  create table comes (id int8 primary key, at timestamptz not null, qty int4 not null);
  alter table comes replica identity full;
  create table unrelated (id int8 primary key);
  insert into stays select i, 'stays ' || i from generate_series(1, 300) i;
  insert into leaves select i, 'leaves ' || i from generate_series(1, 300) i;
  insert into comes select i, now() - i * interval '10 days', i from generate_series(1, 300) i;`;

const STAYS = { 'public.stays': {} };
const LEAVES = { 'public.leaves': {} };
const COMES = { 'public.comes': {} };

const decoders: Decoder[] = ['pgoutput', 'wal2json'];

// Slots are the server's: who takes them all must be alone on it.
let postgres: LocalPostgres;
beforeAll(async () => {
  postgres = await startPostgres({ log: () => undefined });
});
afterAll(() => postgres?.close());

describe.each(decoders)('with %s', (decoder) => {
  /** For what no decoder has a part in. */
  const once = it.skipIf(decoder !== decoders[0]);
  let scenario: Scenario;
  let next = 1_000;
  const skipped = decoder === 'wal2json' && !inject('servers').hasWal2json;

  beforeAll(async () => {
    if (skipped) return;
    const tables = { ...STAYS, ...LEAVES };
    scenario = await Scenario.open('set', { schema: SCHEMA, tables, decoder, postgres: postgres.url });
    await scenario.walhouse.start();
    await scenario.applied();
    await scenario.rememberPlace();
  });
  afterAll(() => scenario?.close());

  async function write(): Promise<void> {
    next += 10;
    for (const table of ['stays', 'leaves']) {
      await scenario.sql(`insert into ${table} values (${next}, 'new');
        update ${table} set note = note || '!' where id % 7 = 0; delete from ${table} where id = ${next / 10}`);
    }
    await scenario.sql(`insert into comes values (${next}, now(), 1); delete from comes where id = ${next / 10};
      update comes set qty = qty + 1 where id % 7 = 0`);
  }

  async function restart(change: Partial<WalhouseOptions>): Promise<string> {
    const { walhouse } = scenario;
    expect(await walhouse.stop()).toBe(0);
    const from = walhouse.output.length;
    walhouse.configure(change);
    await walhouse.start();
    await until(() => walhouse.output.slice(from).includes('"streaming"'));
    return walhouse.output.slice(from);
  }

  /** SIGHUP; resolves to what the log says of it. */
  async function reload(change: Partial<WalhouseOptions>): Promise<string> {
    scenario.walhouse.configure(change);
    return hangUp();
  }

  async function hangUp(): Promise<string> {
    const { walhouse } = scenario;
    const from = walhouse.output.length;
    walhouse.reload();
    await until(() =>
      /the configuration (is the new one|stays as it was|says what it said before)/.test(
        walhouse.output.slice(from),
      ),
    );
    return walhouse.output.slice(from);
  }

  async function published(): Promise<string[]> {
    const rows = await scenario.sql(
      `select tablename::text as name from pg_publication_tables where pubname = '${scenario.databases.name}' order by 1`,
    );
    return rows.map(({ name }) => name as string);
  }

  async function stored(table: string): Promise<number> {
    const { databases } = scenario;
    const [row] = await databases.clickhouse<{ n: string }>(
      `select toString(count()) as n from ${databases.clickhouseDatabase}.${table}`,
    );
    return Number(row!.n);
  }

  /** Runs `work` while a transaction that did this is open. */
  async function during(sql: string, work: () => Promise<void>): Promise<void> {
    const client = new pg.Client({ connectionString: scenario.databases.postgresUrl });
    await client.connect();
    try {
      await client.query('begin');
      await client.query(sql);
      await work();
      await client.query('commit');
    } finally {
      await client.end();
    }
  }

  const ways = [
    // What a start finds changed is no decoder's business.
    ...(decoder === 'pgoutput' ? [['between two runs', restart] as const] : []),
    ['while it runs', reload],
  ] as const;

  it.for(ways)('a table that is added %s is copied while the others stream', async ([, change], context) => {
    if (skipped) context.skip();
    const { walhouse } = scenario;
    // A slot, and so a new snapshot, waits for every transaction that is open.
    await during(`insert into unrelated values (${next})`, async () => {
      await change({ tables: { ...STAYS, ...LEAVES, ...COMES } });
      await until(async () => (await walhouse.status()).tables['public.comes']?.state === 'snapshotting');
      for (let i = 0; i < 3; i += 1) {
        await write();
        await scenario.expectEqual('public.stays', 'public.leaves');
      }
      expect((await walhouse.status()).tables['public.comes']!.state).toBe('snapshotting');
    });
    await scenario.expectEqual('public.comes');
    await scenario.expectEqual();
    expect((await walhouse.status()).state).toBe('streaming');
    await change({ tables: { ...STAYS, ...LEAVES } });
  });

  it('a table that is added while somebody has it locked holds up no other', async (context) => {
    if (skipped) context.skip();
    const { walhouse } = scenario;
    await during('lock table comes in access exclusive mode', async () => {
      expect(await reload({ tables: { ...STAYS, ...LEAVES, ...COMES } })).toContain('is the new one');
      for (const table of ['stays', 'leaves'])
        await scenario.sql(`insert into ${table} values (${++next}, 'locked')`);
      await scenario.expectEqual('public.stays', 'public.leaves');
      const { state, error } = (await walhouse.status()).tables['public.comes']!;
      // Under wal2json nothing is published, and it is the snapshot that waits.
      if (decoder === 'wal2json') expect(state).toBe('snapshotting');
      else expect({ state, kind: error?.kind }).toEqual({ state: 'waiting', kind: 'source_lock_timeout' });
    });
    await scenario.expectEqual('public.stays', 'public.leaves', 'public.comes');
    await reload({ tables: { ...STAYS, ...LEAVES } });
  });

  it('a table whose copy fails is stopped alone, and tried again by itself', async (context) => {
    if (skipped) context.skip();
    const { walhouse } = scenario;
    // A snapshot needs a slot for a moment.
    const fill = `${scenario.databases.name}_fill_`;
    const free = `select (current_setting('max_replication_slots')::int4 - count(*))::int4 as free from pg_replication_slots`;
    try {
      const [slots] = await scenario.sql(free);
      for (let i = 0; i < (slots!['free'] as number); i += 1)
        await scenario.sql(`select pg_create_physical_replication_slot('${fill}${i}')`);
      await reload({ tables: { ...STAYS, ...LEAVES, ...COMES } });
      await until(async () => (await walhouse.status()).tables['public.comes']?.state === 'stopped');
      const { error } = (await walhouse.status()).tables['public.comes']!;
      expect(error).toMatchObject({ kind: 'source_no_free_slot' });
      await write();
      await scenario.expectEqual('public.stays', 'public.leaves');
      expect((await walhouse.status()).state).toBe('streaming');
      expect((await fetch(`${walhouse.url}/healthz`)).status).toBe(503);
    } finally {
      await scenario.sql(
        `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name like '${fill}%'`,
      );
    }
    await scenario.expectEqual('public.stays', 'public.leaves', 'public.comes');
    expect((await walhouse.status()).tables['public.comes']!.error).toBeNull();
    await reload({ tables: { ...STAYS, ...LEAVES } });
  });

  it.for(ways)(
    'a table that is removed %s keeps its rows, with a notice, and one that is put back is copied anew',
    async ([, change], context) => {
      if (skipped) context.skip();
      const { walhouse } = scenario;
      await scenario.applied();
      const before = await stored('leaves');
      const log = await change({ tables: STAYS });
      expect(log).toMatch(/"public\.leaves".*a table is not configured any more: its rows stay as they are/);
      expect(Object.keys((await walhouse.status()).tables)).toEqual(['public.stays']);
      if (decoder === 'pgoutput') expect(await published()).toEqual(['stays']);
      await scenario.sql('delete from leaves where id % 3 = 0');
      await write();
      await scenario.expectEqual();
      expect(await stored('leaves')).toBe(before);
      // Said once, not at every look.
      const again = await restart({});
      expect(again).not.toContain('not configured any more');
      await write();

      await change({ tables: { ...STAYS, ...LEAVES } });
      await write();
      await scenario.streams('public.leaves');
      await scenario.expectEqual();
    },
  );

  once(
    'a table whose retention, columns or types are configured otherwise while it runs is copied anew',
    async () => {
      const kept = { retention: { column: 'at', keep: '90 days' }, columns: { qty: { type: 'UInt32' } } };
      expect(await reload({ tables: { ...STAYS, 'public.comes': kept } })).toContain('is the new one');
      await scenario.streams('public.stays', 'public.comes');
      await scenario.expectEqual();
      const view = await scenario.databases.clickhouse<{ type: string }>(
        `select type from system.columns where database = '${scenario.databases.clickhouseDatabase}'
         and table = 'comes' and name = 'qty'`,
      );
      expect(view).toEqual([{ type: 'UInt32' }]);
      expect(await stored('comes')).toBeLessThan(100);
      expect(await reload({ tables: { ...STAYS, ...COMES } })).toContain('is the new one');
      await scenario.streams('public.stays', 'public.comes');
      await scenario.expectEqual();
    },
  );

  once('questions are answered all the while, and the slot only moves on', async () => {
    const { walhouse } = scenario;
    const { url } = walhouse;
    const place = async (): Promise<unknown> =>
      (
        await scenario.sql(
          `select confirmed_flush_lsn::text as lsn from pg_replication_slots where slot_name = '${scenario.databases.name}'`,
        )
      )[0]!['lsn'];
    const before = await place();
    let asking = true;
    const answers = new Set<number>();
    const asked = (async () => {
      while (asking) {
        answers.add((await fetch(`${url}/v1/replication?min_lsn=0/1`)).status);
        await sleep(20);
      }
    })();
    await write();
    expect(await reload({ tables: STAYS })).toContain('is the new one');
    await write();
    await scenario.expectEqual();
    asking = false;
    await asked;
    expect([...answers]).toEqual([200]);
    const [moved] = await scenario.sql(
      `select '${String(await place())}'::pg_lsn >= '${String(before)}'::pg_lsn as moved`,
    );
    expect(moved).toEqual({ moved: true });
    expect(await reload({ tables: { ...STAYS, ...LEAVES, ...COMES } })).toContain('is the new one');
    await scenario.expectEqual('public.stays', 'public.leaves', 'public.comes');
  });

  once.for([
    ['a key that is not known', { tables: { ...STAYS, 'public.leaves': { retain: '2 years' } } }],
    ['a mart without its tables', { marts: ['payments'] }],
    ['a table that does not exist', { tables: { ...STAYS, 'public.leavs': {} } }],
    ['a type that does not fit', { tables: { 'public.stays': { columns: { note: { type: 'UInt8' } } } } }],
    [
      'a retention column that is none',
      { tables: { 'public.stays': { retention: { column: 'note', keep: '1 day' } } } },
    ],
  ] as const)('%s is refused as at a start, and everything goes on', async ([, change]) => {
    const { walhouse } = scenario;
    const right = walhouse.options;
    const before = (await walhouse.status()).tables;
    const log = await reload(change);
    expect(log).toContain('the configuration stays as it was');
    const said = messageOf(log);
    try {
      loadConfig(walhouse.configPath, process.env);
    } catch (error) {
      expect(said).toBe(`the configuration stays as it was: ${(error as Error).message}`);
    }
    expect(said).toMatch(/(config_invalid|mart_invalid|table_missing): .* Fix: /s);
    const after = (await walhouse.status()).tables;
    expect(Object.keys(after)).toEqual(Object.keys(before));
    walhouse.configure({ marts: [], ...right });
    await write();
    await scenario.expectEqual();
  });

  once('what a running service cannot change is refused by name', async () => {
    const { walhouse } = scenario;
    const right = walhouse.options;
    const other = 'postgres://somebody:planted-secret@127.0.0.1:1/nowhere';
    const log = await reload({ postgresUrl: other, slot: 'another', database: 'elsewhere', decoder: 'auto' });
    expect(messageOf(log)).toMatch(
      /source\.url, source\.slot, source\.publication, source\.decoder, sink\.database .* Fix: restart walhouse/,
    );
    expect(log).not.toContain('planted-secret');
    walhouse.configure(right);
    writeFileSync(walhouse.configPath, '{ nothing: [');
    expect(await hangUp()).toContain('the file is not YAML');
    walhouse.configure(right);
    expect(await hangUp()).toContain('says what it said before');
    await write();
    await scenario.expectEqual();
  });

  it('all of it delivered again changes nothing', async (context) => {
    if (skipped) context.skip();
    await scenario.deliverAgain();
    await scenario.expectEqual();
  });
});

/** What the last line of a log says that is an error. */
function messageOf(log: string): string {
  const lines = log.split('\n').filter((line) => line.includes('"level":50'));
  return (JSON.parse(lines.at(-1)!) as { msg: string }).msg;
}

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (performance.now() < deadline) {
    if (await what()) return;
    await sleep(20);
  }
  throw new Error('it did not come to pass');
}
