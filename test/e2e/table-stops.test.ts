import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { TableStatus } from '../../src/ops/status.js';
import { type Decoder, Scenario } from '../support/scenario.js';

const SCHEMA = `
  create table others (id int8 primary key, note text);
  create table merchants (merchant_id int8 primary key, name text);
  alter table merchants replica identity full;
  create table payments (payment_id int8 primary key, merchant_id int8 not null, payment_date timestamptz not null,
    status text not null, method text not null, amount numeric(12,2) not null);
  alter table payments replica identity full;
  insert into others values (1, 'one');
  insert into merchants select i, 'Merchant ' || i from generate_series(1, 5) i;
  insert into payments select i, 1 + i % 5, now() - i * interval '1 minute', 'Rejected', 'Visa', i / 100.0
    from generate_series(1, 300) i;`;

const MERCHANTS = [1n, 2n, 3n, 4n, 5n];

type Options = Readonly<Record<string, object>>;

interface Stop {
  readonly title: string;
  /** Made for it, of this shape, unless it is there. */
  readonly table: string;
  readonly options?: Options;
  /** What makes it unfit. */
  readonly breaks: string;
  /** Changes of it that nobody can follow. */
  readonly meanwhile?: string;
  readonly kind: string;
  /** Part of the statement or advice that it asks for. */
  readonly fix: string;
  /** The operator's fix. */
  readonly mends: string;
  readonly decoder?: Decoder;
}

/** For each its own table, so that all stop at once, each alone. */
const made = (name: string): string => `
  create table ${name} (id int8 primary key, name text not null, qty int4 not null, at timestamptz not null default now());
  insert into ${name} select i, 'item ' || i, i, now() - i * interval '1 day' from generate_series(1, 300) i;`;

const RETAINED = { retention: { column: 'at', keep: '2 years' } };

const STOPS: readonly Stop[] = [
  {
    title: 'replica identity NOTHING',
    table: 'nothing',
    breaks: 'alter table nothing replica identity nothing',
    meanwhile: `insert into nothing values (1001, 'blind', 1); update nothing set qty = 5 where id % 10 = 0;
      delete from nothing where id % 10 = 1`,
    kind: 'table_no_identity',
    fix: 'alter table "public"."nothing" replica identity default',
    mends: 'alter table nothing replica identity default',
  },
  {
    title: 'a primary key that is dropped',
    table: 'keyless',
    breaks: 'alter table keyless drop constraint keyless_pkey',
    meanwhile: `insert into keyless values (1002, 'blind', 1)`,
    kind: 'table_no_identity',
    fix: 'alter table "public"."keyless" add primary key',
    mends: 'alter table keyless add primary key (id)',
  },
  {
    title: 'a replica identity too narrow for a retention',
    table: 'narrow',
    options: RETAINED,
    breaks: 'alter table narrow replica identity default',
    meanwhile: `update narrow set at = at - interval '1 day' where id % 10 = 0; delete from narrow where id % 10 = 1`,
    kind: 'table_no_identity',
    fix: 'ALTER TABLE public.narrow REPLICA IDENTITY FULL',
    mends: 'alter table narrow replica identity full',
  },
  {
    title: 'a retention column that becomes text',
    table: 'undated',
    options: RETAINED,
    breaks: 'alter table undated alter column at drop default, alter column at type text using at::text',
    meanwhile: `update undated set name = 'text' where id % 10 = 2; delete from undated where id % 10 = 3`,
    kind: 'config_invalid',
    fix: 'date, timestamp or timestamptz',
    mends: 'alter table undated alter column at type timestamptz using at::timestamptz',
  },
  {
    title: 'a retention column that is dropped',
    table: 'dateless',
    options: RETAINED,
    breaks: 'alter table dateless drop column at',
    meanwhile: `update dateless set name = 'dateless' where id % 10 = 4; delete from dateless where id % 10 = 5`,
    kind: 'config_invalid',
    fix: 'name one of',
    mends: `alter table dateless add column at timestamptz not null default now()`,
  },
  {
    title: 'a chosen type that the column does not fit any more',
    table: 'typed',
    options: { columns: { qty: { type: 'UInt32' } } },
    breaks: 'alter table typed alter column qty type text',
    meanwhile: `update typed set qty = 'x' || id where id % 10 = 6`,
    kind: 'config_invalid',
    fix: 'leave it out for String',
    mends: `update typed set qty = id where qty like 'x%'; alter table typed alter column qty type int4 using qty::int4`,
  },
  {
    title: 'a column that a mart needs and that becomes another type',
    table: 'payments',
    breaks: 'alter table payments alter column amount type text',
    meanwhile: `update payments set merchant_id = 1 where payment_id % 10 = 7; delete from payments where payment_id % 10 = 8`,
    kind: 'mart_invalid',
    fix: "change the column's type in Postgres",
    mends: 'alter table payments alter column amount type numeric(12,2) using amount::numeric',
  },
  {
    title: 'a column that a mart tracks and that is renamed',
    table: 'merchants',
    breaks: 'alter table merchants rename column merchant_id to id',
    meanwhile: `insert into merchants values (6, 'Merchant 6')`,
    kind: 'mart_invalid',
    fix: 'marts in walhouse.yaml',
    mends: 'alter table merchants rename column id to merchant_id',
  },
  {
    title: 'a column with the name of one of ours',
    table: 'ours',
    breaks: 'alter table ours add column _version int4',
    meanwhile: `update ours set _version = 1 where id % 10 = 0`,
    kind: 'table_name_collision',
    fix: 'rename column "_version"',
    mends: 'alter table ours drop column _version',
  },
  {
    title: 'a generated column under pgoutput',
    decoder: 'pgoutput',
    table: 'generated',
    breaks: 'alter table generated add column twice int4 generated always as (qty * 2) stored',
    meanwhile: `update generated set qty = 7 where id % 10 = 1`,
    kind: 'table_unsupported',
    fix: 'drop expression',
    mends: 'alter table generated drop column twice',
  },
  {
    title: 'a number under wal2json whose NaN could not be told from null',
    decoder: 'wal2json',
    table: 'scored',
    breaks: 'alter table scored add column score float8',
    meanwhile: `update scored set score = 'NaN' where id % 10 = 1`,
    kind: 'table_unsupported',
    fix: 'set not null',
    mends: 'alter table scored drop column score',
  },
  {
    // Postgres itself refuses it while the table is in a publication.
    title: 'a table that is not logged any more',
    decoder: 'wal2json',
    table: 'unlogged',
    breaks: 'alter table unlogged set unlogged',
    meanwhile: `update unlogged set qty = 8 where id % 10 = 2; delete from unlogged where id % 10 = 3`,
    kind: 'table_unsupported',
    fix: 'set logged',
    mends: 'alter table unlogged set logged',
  },
  {
    title: 'a table that is dropped',
    table: 'dropped',
    breaks: 'drop table dropped',
    kind: 'table_missing',
    fix: 'create the table',
    mends: `create table dropped (id int8 primary key, qty text, name text not null, extra int4);
      insert into dropped select i, 'q' || i, 'new ' || i, i from generate_series(200, 400) i`,
  },
  {
    title: 'a table that is renamed',
    table: 'renamed',
    breaks: 'alter table renamed rename to renamed_2',
    meanwhile: `delete from renamed_2 where id % 10 = 4; insert into renamed_2 values (2001, 'under another name', 1)`,
    kind: 'table_missing',
    fix: 'similar ones: public.renamed_2',
    mends: 'alter table renamed_2 rename to renamed',
  },
  {
    title: 'a table that moves to another schema',
    table: 'moved',
    breaks: 'create schema attic; alter table moved set schema attic',
    meanwhile: `delete from attic.moved where id % 10 = 5`,
    kind: 'table_missing',
    fix: 'similar ones: attic.moved',
    mends: 'alter table attic.moved set schema public',
  },
  {
    title: 'a table that becomes a partition of another one',
    decoder: 'pgoutput',
    table: 'leaf',
    breaks: 'alter table root attach partition leaf for values from (minvalue) to (maxvalue)',
    meanwhile: `update root set qty = 9 where id % 10 = 6`,
    kind: 'table_unsupported',
    fix: 'keep one of them',
    mends: 'alter table root detach partition leaf',
  },
];

interface Moment {
  readonly table: string;
  readonly decoder?: Decoder;
  /** Each a transaction of its own. */
  readonly statements: readonly string[];
}

/** What unsettles a table and is over before anybody could look; each may come again. */
const MOMENTS: readonly Moment[] = [
  {
    // Under pgoutput Postgres itself refuses such updates.
    table: 'blinded',
    decoder: 'wal2json',
    statements: [
      'alter table blinded replica identity nothing',
      `update blinded set name = 'unseen' where id % 3 = 0`,
      'delete from blinded where id % 7 = 0',
      'alter table blinded replica identity default',
    ],
  },
  {
    table: 'renamed',
    statements: [
      'alter table renamed rename to stranger',
      `update stranger set name = 'as a stranger' where id % 3 = 1`,
      'delete from stranger where id % 7 = 1',
      'alter table stranger rename to renamed',
    ],
  },
  {
    table: 'remade',
    statements: [
      `insert into remade (id, name, qty) values (900001, 'of the former', 1)`,
      'create table remade_2 (like remade including all)',
      'drop table remade',
      'alter table remade_2 rename to remade',
      `insert into remade (id, name, qty) select i, 'anew ' || i, i from generate_series(1, 50) i`,
    ],
  },
  {
    table: 'reformed',
    statements: [
      `insert into reformed (id, name, qty) values (900002, 'of the former', 1)`,
      'drop table reformed',
      'create table reformed (name text, size int4 not null default 3, qty int8, id int8 primary key)',
      `insert into reformed (id, name, qty) select i, 'new form ' || i, i from generate_series(1, 50) i`,
    ],
  },
  {
    table: 'rekeyed',
    statements: [
      `insert into rekeyed (id, name, qty) values (900003, 'of before', 1)`,
      'alter table rekeyed alter column id type int8 using id + 1000',
    ],
  },
];

const decoders: Decoder[] = ['pgoutput', 'wal2json'];

async function open(
  decoder: Decoder,
  schema: string,
  tables: Record<string, object>,
  marts: readonly string[] = [],
): Promise<Scenario> {
  const scenario = await Scenario.open('stops', { schema, tables, marts, decoder });
  await scenario.walhouse.start();
  await scenario.applied();
  const [slot] = await scenario.sql(
    `select plugin from pg_replication_slots where slot_name = '${scenario.databases.name}'`,
  );
  expect(slot).toEqual({ plugin: decoder });
  await scenario.rememberPlace();
  return scenario;
}

async function stopped({ walhouse }: Scenario, id: string): Promise<TableStatus> {
  const deadline = performance.now() + 20_000;
  let last: TableStatus | undefined;
  while (performance.now() < deadline) {
    last = (await walhouse.status()).tables[id];
    if (last?.state === 'stopped') return last;
    await sleep(50);
  }
  throw new Error(`${id} did not stop: ${JSON.stringify(last)}\n${walhouse.output.slice(-5000)}`);
}

let next = 10_000;

async function write(scenario: Scenario): Promise<void> {
  next += 10;
  await scenario.sql(
    `insert into others (id, note) values (${next}, 'x'); update others set note = note || '!' where id = 1`,
  );
}

describe.each(decoders)('with %s', (decoder) => {
  let scenario: Scenario;
  const skipped = decoder === 'wal2json' && !inject('servers').hasWal2json;
  // Most of it is seen in the catalog, whatever decodes: wal2json gets what is its own, what marts need, and two others.
  const few = ['nothing', 'keyless', 'payments', 'merchants'];
  const stops = STOPS.filter(
    (stop) =>
      stop.decoder === decoder ||
      (stop.decoder === undefined && (decoder === 'pgoutput' || few.includes(stop.table))),
  );
  const broken = stops.map(({ table }) => `public.${table}`);
  const tables: Record<string, object> = { 'public.others': {} };
  for (const { table, options = {} } of stops) tables[`public.${table}`] = options;
  if (decoder === 'pgoutput') tables['public.root'] = {};
  const ids = Object.keys(tables);

  beforeAll(async () => {
    if (skipped) return;
    const own = stops.filter(({ table }) => !SCHEMA.includes(`table ${table} (`));
    const schema = [
      SCHEMA,
      ...own.map(({ table }) => made(table)),
      ...own
        .filter(({ options }) => options === RETAINED)
        .map(({ table }) => `alter table ${table} replica identity full;`),
      ...(decoder === 'pgoutput'
        ? ['create table root (like leaf including all) partition by range (id)']
        : []),
    ].join('\n');
    scenario = await open(decoder, schema, tables, ['payments']);
  });
  afterAll(() => scenario?.close());

  async function equal(): Promise<void> {
    await scenario.streams(...ids);
    await scenario.expectEqual();
    await scenario.expectRiskEqual(MERCHANTS);
  }

  it('tables that cannot be followed any more stop, each alone', async (context) => {
    if (skipped) context.skip();
    const { walhouse } = scenario;
    await write(scenario);
    for (const { breaks } of stops) await scenario.sql(breaks);
    for (const id of broken) await stopped(scenario, id);
    for (const { meanwhile } of stops) if (meanwhile !== undefined) await scenario.sql(meanwhile);
    await write(scenario);
    await scenario.expectEqual(...ids.filter((id) => !broken.includes(id)));
    const { state, error } = await walhouse.status();
    expect({ state, error }).toEqual({ state: 'streaming', error: null });
    const health = await fetch(`${walhouse.url}/healthz`);
    expect(health.status).toBe(503);
    expect(await health.json()).toMatchObject({ status: 'failing', state: 'streaming' });
    // Questions are answered from payments and merchants.
    const ready = await fetch(`${walhouse.url}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({ kind: 'mart_invalid' });
    const risk = await fetch(`${walhouse.url}/v1/merchants/1/risk`);
    expect(risk.status).toBe(503);
    expect(await risk.json()).toMatchObject({ kind: 'mart_invalid' });
  });

  it.for(stops)('$title: status, log and fix', async (stop, context) => {
    if (skipped) context.skip();
    const { error, state } = (await scenario.walhouse.status()).tables[`public.${stop.table}`]!;
    expect(state).toBe('stopped');
    expect(error).toMatchObject({ kind: stop.kind });
    expect(error!.fix).toContain(stop.fix);
    expect(`${error!.what} ${error!.fix}`).toContain(stop.table);
    const said = scenario.walhouse.output
      .split('\n')
      .filter((line) => line.includes(JSON.stringify(error!.what).slice(1, -1)));
    expect(said.filter((line) => line.includes('"level":50'))).toHaveLength(1);
  });

  it('what they were is followed again once the fix is applied, without a word to Walhouse', async (context) => {
    if (skipped) context.skip();
    for (const { mends } of stops) await scenario.sql(mends);
    await write(scenario);
    await equal();
    expect((await fetch(`${scenario.walhouse.url}/healthz`)).status).toBe(200);
    expect((await fetch(`${scenario.walhouse.url}/readyz`)).status).toBe(200);
  });

  it('all of it delivered again changes nothing', async (context) => {
    if (skipped) context.skip();
    await scenario.deliverAgain();
    await equal();
  });
});

describe.each(decoders)('with %s, a few tables', (decoder) => {
  let scenario: Scenario;
  /** For what is known from the catalog, whatever decodes. */
  const once = it.skipIf(decoder !== decoders[0]);
  const skipped = decoder === 'wal2json' && !inject('servers').hasWal2json;
  // What happens to `renamed` goes on below.
  const moments = MOMENTS.filter(
    (moment) => (moment.decoder ?? 'pgoutput') === decoder || moment.table === 'renamed',
  );
  const names = moments.map(({ table }) => table);
  const tables = Object.fromEntries(['others', ...names].map((name) => [`public.${name}`, {}]));
  const ids = Object.keys(tables);

  beforeAll(async () => {
    if (skipped) return;
    const others = 'create table others (id int8 primary key, note text);';
    scenario = await open(decoder, [others, ...names.map(made)].join('\n'), tables);
  });
  afterAll(() => scenario?.close());

  async function unsettle(): Promise<void> {
    for (const { statements } of moments) for (const statement of statements) await scenario.sql(statement);
  }

  /** Nothing says when what nobody saw has been noticed, but that it is equal. */
  async function settled(): Promise<void> {
    const deadline = performance.now() + 30_000;
    for (;;) {
      try {
        await scenario.streams(...ids);
        await scenario.expectEqual();
        return;
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await sleep(200);
      }
    }
  }

  it(`${names.join(', ')}: what is over before anybody could look leaves no gap`, async (context) => {
    if (skipped) context.skip();
    await unsettle();
    await settled();
  });

  once('neither does what happened while the service was away', async () => {
    expect(await scenario.walhouse.stop()).toBe(0);
    await unsettle();
    await scenario.walhouse.start();
    await settled();
  });

  once('a restart goes on with the others while one is unfit, and says so', async () => {
    const { walhouse } = scenario;
    await scenario.sql('alter table renamed replica identity nothing');
    await stopped(scenario, 'public.renamed');
    expect(await walhouse.stop()).toBe(0);
    await write(scenario);
    const from = walhouse.output.length;
    await walhouse.start();
    await scenario.expectEqual(...ids.filter((id) => id !== 'public.renamed'));
    expect((await stopped(scenario, 'public.renamed')).error!.fix).toContain('replica identity default');
    await expect.poll(() => walhouse.output.slice(from)).toContain('table_no_identity');
    await scenario.sql('alter table renamed replica identity default');
    await scenario.expectEqual('public.renamed');
  });

  once('a service all of whose tables have stopped notices the fix, running and restarted', async () => {
    const { walhouse } = scenario;
    const each = (identity: string): string =>
      ids.map((id) => `alter table ${id} replica identity ${identity}`).join(';');
    for (const restarted of [false, true]) {
      await write(scenario);
      await scenario.sql(each('nothing'));
      for (const id of ids) await stopped(scenario, id);
      if (restarted) {
        expect(await walhouse.stop()).toBe(0);
        await walhouse.start();
        await scenario.streams();
        for (const id of ids) await stopped(scenario, id);
      }
      await scenario.sql(`select pg_logical_emit_message(true, 'test', 'the slot moves on')`);
      await scenario.streams();
      const ready = await fetch(`${walhouse.url}/readyz`);
      expect(ready.status).toBe(503);
      expect(await ready.json()).toMatchObject({ kind: 'table_no_identity' });
      await scenario.sql(each('full'));
      await scenario.streams(...ids);
      await scenario.expectEqual();
    }
  });

  it('all of it delivered again changes nothing', async (context) => {
    if (skipped) context.skip();
    await scenario.deliverAgain();
    await scenario.expectEqual();
  });
});
