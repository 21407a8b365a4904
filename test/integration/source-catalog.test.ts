import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { silentLog } from '../../src/pipeline/log.js';
import type { Relation } from '../../src/pipeline/relation.js';
import { openSource, type PostgresSource, type SourceOptions } from '../../src/source/source.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';

let databases: TestDatabases;
const sources: PostgresSource[] = [];

beforeAll(async () => {
  databases = await createDatabases('source_catalog');
});

afterAll(() => databases.close());

afterEach(async () => {
  for (const source of sources.splice(0)) {
    await source.dropSlot().catch(() => {});
    await source.close();
  }
  await databases.postgres(
    `drop publication if exists ${databases.name}; drop schema public cascade; create schema public; drop schema if exists "a.b" cascade`,
  );
});

async function open(tables: readonly string[], extra: Partial<SourceOptions> = {}): Promise<PostgresSource> {
  const source = await openSource({
    url: databases.postgresUrl,
    slot: databases.name,
    publication: databases.name,
    decoder: 'pgoutput',
    tables,
    log: silentLog,
    ...extra,
  });
  sources.push(source);
  return source;
}

async function relation(id: string): Promise<Relation> {
  return (await (await open([id])).relations())[0]!;
}

describe('the catalog', () => {
  it('describes columns with domains taken off, labels, elements and comments', async () => {
    await databases.postgres(
      `create type mood as enum ('sad', 'ok'); alter type mood add value 'good' after 'sad';
       create domain money2 as numeric(12,2); create domain price as money2; create type pair as (a int);
       create table t (gone int, id int8 primary key, p price not null, m mood, ps price[], ms mood[], c pair,
                       r int4range, mr int4multirange, v varchar(10)[], g int generated always as (1) stored, tz timestamptz(3));
       alter table t drop column gone;
       comment on table t is 'the table'; comment on column t.p is 'the price'`,
    );
    const { columns, comment, key, replicaIdentity } = await relation('public.t');
    expect({ comment, key, replicaIdentity }).toEqual({
      comment: 'the table',
      key: [0],
      replicaIdentity: 'default',
    });
    const numeric = { name: 'numeric', kind: 'base', modifier: ((12 << 16) | 2) + 4, text: 'numeric(12,2)' };
    const mood = {
      name: 'public.mood',
      kind: 'enum',
      modifier: -1,
      text: 'public.mood',
      labels: ['sad', 'good', 'ok'],
    };
    const types = Object.fromEntries(columns.map(({ name, type }) => [name, type]));
    expect(types).toMatchObject({
      id: { name: 'int8', kind: 'base', modifier: -1, text: 'bigint' },
      p: numeric,
      m: mood,
      ps: { kind: 'array', element: numeric },
      ms: { name: 'public._mood', kind: 'array', text: 'public.mood[]', element: mood },
      c: { name: 'public.pair', kind: 'composite' },
      r: { name: 'int4range', kind: 'range' },
      mr: { name: 'int4multirange', kind: 'multirange' },
      v: {
        name: '_varchar',
        kind: 'array',
        text: 'character varying(10)[]',
        element: { text: 'character varying(10)' },
      },
      tz: { name: 'timestamptz', modifier: 3 },
    });
    expect(
      columns.map(({ name, notNull, generated, comment: about }) => [name, notNull, generated, about]),
    ).toEqual([
      ['id', true, false, null],
      ['p', true, false, 'the price'],
      ...['m', 'ps', 'ms', 'c', 'r', 'mr', 'v'].map((name) => [name, false, false, null]),
      ['g', false, true, null],
      ['tz', false, false, null],
    ]);
  });

  it('takes the key in its own order, from the replica identity index, and under FULL from a unique index', async () => {
    await databases.postgres(
      `create table pk (a int, b int, c int, primary key (c, a));
       create table ix (a int primary key, b int not null, c int not null, unique (c, b) include (a)); alter table ix replica identity using index ix_c_b_a_key;
       create table fl (a int not null, b int not null, c int not null unique, d int unique, unique (b, a));
       alter table fl replica identity full`,
    );
    const relations = await (await open(['public.pk', 'public.ix', 'public.fl'])).relations();
    expect(relations.map(({ key }) => key)).toEqual([[2, 0], [2, 1], [2]]);
    expect(relations.map(({ replicaIdentity }) => replicaIdentity)).toEqual(['default', 'index', 'full']);
  });

  it.each([
    ['create table t (id int)', 'table_no_identity', /alter table "public"."t" add primary key/],
    ['create table t (id int); alter table t replica identity full', 'table_no_identity', /add primary key/],
    [
      'create table t (id int primary key); alter table t replica identity nothing',
      'table_no_identity',
      /alter table "public"."t" replica identity default/,
    ],
    [
      'create table t (id int not null unique)',
      'table_no_identity',
      /replica identity using index "t_id_key"/,
    ],
    ['create table t (id int primary key deferrable)', 'table_no_identity', /add primary key/],
    ['create view t as select 1 as id', 'table_unsupported', /tables it stands on/],
    ['create unlogged table t (id int primary key)', 'table_unsupported', /set logged/],
    ['create table "T" (id int primary key)', 'table_missing', /public\.T$/],
    ['create table payments (id int)', 'table_missing', /correct the name/],
    [
      'create table t (id int primary key) partition by hash (id); create table t0 partition of t for values with (modulus 1, remainder 0); alter table t replica identity full',
      'table_no_identity',
      /alter table "public"."t0" replica identity full/,
    ],
  ])('refuses: %s', async (sql, kind, fix) => {
    await databases.postgres(sql);
    await expect(relation('public.t')).rejects.toMatchObject({
      kind,
      fix: expect.stringMatching(fix) as string,
    });
  });

  it('tells dotted names apart or refuses them', async () => {
    await databases.postgres(
      'create schema "a.b"; create table "a.b".c (id int primary key); create table public."x.y" (id int primary key)',
    );
    expect(await relation('a.b.c')).toMatchObject({ schema: 'a.b', name: 'c' });
    expect(await relation('public.x.y')).toMatchObject({ schema: 'public', name: 'x.y' });
    await databases.postgres('create schema a; create table a."b.c" (id int primary key)');
    await expect(relation('a.b.c')).rejects.toMatchObject({ kind: 'table_unsupported' });
    await databases.postgres('drop schema a cascade');
  });
});

describe('the publication', () => {
  const published = async (): Promise<string[]> =>
    (
      await databases.postgres<{ name: string }>(
        `select schemaname || '.' || tablename as name from pg_publication_tables where pubname = $1 order by 1`,
        [databases.name],
      )
    ).map(({ name }) => name);

  it('is made, and its tables follow the configuration', async () => {
    await databases.postgres(
      'create table a (id int primary key); create table b (id int primary key); create table "C d" (id int primary key)',
    );
    await (await open(['public.a', 'public.b'])).ensurePublication();
    expect(await published()).toEqual(['public.a', 'public.b']);
    await (await open(['public.b', 'public.C d'])).ensurePublication();
    expect(await published()).toEqual(['public.C d', 'public.b']);
  });

  it('gets every kind of change and loses its filters', async () => {
    await databases.postgres(
      `create table a (id int primary key, v int);
       create publication ${databases.name} for table a where (id > 5) with (publish = 'insert')`,
    );
    await (await open(['public.a'])).ensurePublication();
    const [row] = await databases.postgres(
      `select pubupdate, pubdelete, pubtruncate, pubviaroot, prqual is null as whole
         from pg_publication p join pg_publication_rel r on r.prpubid = p.oid where pubname = $1`,
      [databases.name],
    );
    expect(row).toEqual({
      pubupdate: true,
      pubdelete: true,
      pubtruncate: true,
      pubviaroot: true,
      whole: true,
    });
  });

  it.each(['for all tables', 'for tables in schema public'])('%s is refused, not narrowed', async (scope) => {
    await databases.postgres(
      `create table a (id int primary key); create publication ${databases.name} ${scope}`,
    );
    await expect((await open(['public.a'])).ensurePublication()).rejects.toMatchObject({
      kind: 'publication_conflict',
    });
  });
});

describe('the slot', () => {
  it('of another plugin or another database is refused, a physical one too', async () => {
    await databases.postgres('create table a (id int primary key)');
    const source = await open(['public.a']);
    expect(await source.slot()).toBeNull();
    await databases.postgres(`select pg_create_logical_replication_slot($1, 'test_decoding')`, [
      databases.name,
    ]);
    await expect(source.slot()).rejects.toMatchObject({ kind: 'slot_wrong_plugin' });
    await source.dropSlot();
    await databases.postgres('select pg_create_physical_replication_slot($1)', [databases.name]);
    await expect(source.slot()).rejects.toMatchObject({ kind: 'slot_wrong_plugin' });
    await source.dropSlot();
    await source.dropSlot();
    await (await source.createSlot()).close();
    expect(await source.slot()).toMatchObject({ active: false });
    const elsewhere = await open(['public.a'], {
      url: databases.postgresUrl.replace(/\/[^/]*$/, '/postgres'),
    });
    await expect(elsewhere.slot()).rejects.toMatchObject({ kind: 'slot_wrong_database' });
  });

  it('that exists decides the decoder when that is left open', async ({ skip }) => {
    if (!databases.hasWal2json) skip();
    await databases.postgres('create table a (id int primary key, n numeric(8,2) not null)');
    const fresh = await open(['public.a'], { decoder: 'auto' });
    await fresh.ensurePublication();
    expect(fresh.decoder).toBe('wal2json');
    await databases.postgres(`select pg_create_logical_replication_slot($1, 'pgoutput')`, [databases.name]);
    const bound = await open(['public.a'], { decoder: 'auto' });
    expect(await bound.slot()).not.toBeNull();
    expect(bound.decoder).toBe('pgoutput');
    // It may have been made so because of a column that is not there any more, and pgoutput loses nothing.
    const wished = await open(['public.a'], { decoder: 'wal2json' });
    expect(await wished.slot()).not.toBeNull();
    expect(wished.decoder).toBe('pgoutput');
  });

  it('that is another decoder’s than the one asked for is refused where that would lose something', async ({
    skip,
  }) => {
    if (!databases.hasWal2json) skip();
    await databases.postgres('create table a (id int primary key)');
    await databases.postgres(`select pg_create_logical_replication_slot($1, 'wal2json')`, [databases.name]);
    const wrong = await open(['public.a'], { decoder: 'pgoutput' });
    await expect(wrong.slot()).rejects.toMatchObject({
      kind: 'slot_wrong_plugin',
      fix: expect.stringContaining('wal2json') as string,
    });
  });

  it('is read by a role that may not read or publish every table; each is a problem of its own, until it may', async () => {
    const role = `${databases.name}_reader`;
    await databases.postgres(`
      create role ${role} login replication password 'x';
      grant create on database ${databases.name} to ${role};
      create table own (id int primary key, note text); alter table own owner to ${role};
      create table secret (id int primary key); create table rowed (id int primary key);
      create table foreign_own (id int primary key);
      grant select on rowed, foreign_own to ${role};
      alter table rowed enable row level security`);
    await databases.postgres(`select pg_create_logical_replication_slot($1, 'pgoutput')`, [databases.name]);
    const url = new URL(databases.postgresUrl);
    url.username = role;
    url.password = 'x';
    const tables = ['public.own', 'public.secret', 'public.rowed', 'public.foreign_own'];
    try {
      const source = await open(tables, { url: url.href, decoder: 'pgoutput' });
      const outside = await source.survey();
      expect(outside.relations).toEqual([]);
      for (const { fix } of outside.problems.values())
        expect(fix).toBe(`grant usage on schema "public" to "${role}"`);
      await databases.postgres(outside.problems.get('public.own')!.fix);
      const { relations, problems } = await source.survey();
      expect(relations.map(({ id }) => id)).toEqual(['public.own']);
      expect([...problems].map(([id, { kind, fix }]) => [id, kind, fix.split(' ')[0]])).toEqual([
        ['public.secret', 'source_permission', 'grant'],
        ['public.rowed', 'source_permission', 'alter'],
        ['public.foreign_own', 'source_permission', 'alter'],
      ]);
      await source.ensurePublication();
      await databases.postgres(problems.get('public.secret')!.fix);
      await databases.postgres(`alter table secret owner to ${role}`);
      await databases.postgres(problems.get('public.rowed')!.fix);
      // The owner of the publication is the one that may add a table of somebody else's.
      await databases.postgres(problems.get('public.foreign_own')!.fix.split(': ')[1]!);
      await databases.postgres(`alter table rowed owner to ${role}`);
      const after = await source.survey();
      expect([...after.problems.keys()]).toEqual([]);
      await databases.postgres(`alter publication ${databases.name} add table secret, rowed`);
      await source.ensurePublication();
    } finally {
      await Promise.all(sources.splice(0).map((source) => source.close()));
      await databases.postgres('select pg_drop_replication_slot($1)', [databases.name]);
      await databases.postgres(
        `drop publication if exists ${databases.name}; drop owned by ${role}; drop role ${role}`,
      );
    }
  });

  it('that exists leaves the tables that its decoder cannot carry as problems of their own', async ({
    skip,
  }) => {
    if (!databases.hasWal2json) skip();
    await databases.postgres(`
      create table plain (id int primary key); create table nan (id int primary key, n float8);
      create table made (id int primary key, twice int generated always as (id * 2) stored);
      create table p (id int primary key) partition by hash (id)`);
    const tables = ['public.plain', 'public.nan', 'public.made', 'public.p'];
    for (const [plugin, wrong] of [
      ['wal2json', ['public.nan', 'public.p']],
      ['pgoutput', ['public.made']],
    ] as const) {
      await databases.postgres(`select pg_create_logical_replication_slot($1, '${plugin}')`, [
        databases.name,
      ]);
      const source = await open(tables, { decoder: 'auto' });
      const { relations, problems } = await source.survey();
      expect([...problems.keys()].sort()).toEqual(wrong);
      for (const error of problems.values()) expect(error).toMatchObject({ kind: 'table_unsupported' });
      expect(relations.map(({ id }) => id)).toEqual(
        tables.filter((id) => !wrong.some((other) => other === id)),
      );
      await source.ensurePublication();
      await source.dropSlot();
    }
  });

  it('is pgoutput where wal2json would lose something', async () => {
    await databases.postgres(
      `create table nan (id int primary key, n float8); create table p (id int primary key) partition by hash (id)`,
    );
    for (const table of ['public.nan', 'public.p']) {
      const source = await open([table], { decoder: 'auto' });
      await source.ensurePublication();
      expect([table, source.decoder]).toEqual([table, 'pgoutput']);
    }
    const forced = await open(['public.p'], { decoder: 'wal2json' });
    await expect(forced.slot()).rejects.toMatchObject({ kind: 'table_unsupported' });
  });
});

describe('a source that cannot be opened', () => {
  const secret = 'S3cret-in-the-url';
  const at = (change: (url: URL) => void): string => {
    const url = new URL(databases.postgresUrl);
    change(url);
    return url.href;
  };

  it.each([
    ['nobody listens', (url: URL) => (url.port = '1'), 'source_unreachable'],
    ['no such host', (url: URL) => (url.hostname = 'nowhere.invalid'), 'source_unreachable'],
    ['no such database', (url: URL) => (url.pathname = '/nothing_here'), 'source_database_missing'],
    ['a wrong password', (url: URL) => (url.password = secret), 'source_auth_failed'],
  ])('says why: %s', async (_, change, kind) => {
    const url = at(change);
    const error = await open([], { url }).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ kind });
    const { password } = new URL(url);
    if (password !== '') expect((error as Error).message).not.toContain(password);
  });

  it('refuses a URL that is none without repeating it', async () => {
    const error = await open([], { url: `mysql://user:${secret}@host` }).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ kind: 'config_invalid' });
    expect((error as Error).message).not.toContain(secret);
  });

  it('says that a role may not replicate, and how to let it', async () => {
    const role = `${databases.name}_plain`;
    await databases.postgres(`create role ${role} login password 'x'; create table a (id int primary key)`);
    try {
      const source = await open(['public.a'], {
        url: at((url) => {
          url.username = role;
          url.password = 'x';
        }),
      });
      await expect(source.createSlot()).rejects.toMatchObject({
        kind: 'source_no_replication',
        fix: `alter role "${role}" with replication`,
      });
    } finally {
      await Promise.all(sources.splice(0).map((source) => source.close()));
      await databases.postgres(`drop role ${role}`);
    }
  });
});
