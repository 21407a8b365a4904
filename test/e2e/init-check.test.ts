import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cli } from '../support/cli.js';
import { Foreign } from '../support/foreign.js';
import { freePort } from '../../src/dev/servers/ports.js';

interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly level: string;
  readonly detail: string;
  readonly fix: string | null;
}

const directory = mkdtempSync(join(tmpdir(), 'walhouse-init-'));
let odd: Foreign;
beforeAll(async () => {
  odd = await Foreign.open('odd');
  await odd.databases.postgres(`
    create table plain (id int primary key, created_at timestamptz default now(), day date, address inet, span int4range);
    create table "Mixed Case" ("Id" int primary key, "select" text);
    create table "with""quote" ("a""b" int primary key, "c.d" text);
    create table "tab.dot" (id int primary key, v text);
    create table "wörld" (id int primary key, v text);
    create table "back\`tick\\slash" (id int primary key, v text);
    create table "null" (id int primary key);
    create schema other;
    create table other.plain (id int primary key, v text);
    create table cut (id int, at timestamptz not null, v text, primary key (id, at)) partition by range (at);
    create table cut_2025 partition of cut for values from ('2025-01-01') to ('2026-01-01');
    create table cut_2026 partition of cut for values from ('2026-01-01') to ('2027-01-01');
    create table parent (id int primary key, v text);
    create table child (primary key (id)) inherits (parent);
    -- From here on, none can be followed as it is.
    create table keyless (id int);
    create table nothing (id int primary key);
    alter table nothing replica identity nothing;
    create unlogged table unlogged (id int primary key);
    create table bare ();
    create table generated (id int primary key, a int, b int generated always as (a * 2) stored);
    create table shadow (id int primary key, _version int);
    create table _walhouse_mine (id int primary key);
    create table other_plain (id int primary key);
    create schema "s.t"; create table "s.t".u (id int primary key);
    create schema s; create table s."t.u" (id int primary key);
    create foreign data wrapper dummy; create server away foreign data wrapper dummy;
    create foreign table far (id int) server away;
    insert into plain values (1, now(), '2026-01-01', '10.0.0.1/8', '[1,5)');
    insert into "Mixed Case" values (1, 'x'); insert into "with""quote" values (1, 'y');
    insert into cut values (1, '2025-05-05', 'a'), (2, '2026-05-05', 'b');
    insert into parent values (1, 'p'); insert into child values (2, 'c');
  `);
});
afterAll(async () => {
  await odd.close();
  rmSync(directory, { recursive: true, force: true });
});

const FOLLOWED = ['Mixed Case', 'back`tick\\slash', 'child', 'cut', 'null', 'parent', 'plain', 'tab.dot', 'with"quote', 'wörld']; // prettier-ignore
const LEFT_OUT = ['_walhouse_mine', 'bare', 'far', 'keyless', 'nothing', 'shadow', 'unlogged'];

describe('walhouse init', () => {
  it('writes every table, those that cannot be followed with their reason, and run works with the rest', async () => {
    const { path, text, tables } = await odd.init();
    const expected = FOLLOWED.map((name) => `public.${name}`);
    expect(tables.filter((id) => id.startsWith('public.') && id !== 'public.other_plain').sort()).toEqual(
      expected.sort(),
    );
    // Two tables, one name in ClickHouse: the first keeps it.
    expect(tables.filter((id) => id.endsWith('other.plain') || id.endsWith('other_plain'))).toHaveLength(1);
    // `cut` is partitioned, so pgoutput decodes, which leaves generated columns out.
    for (const name of [...LEFT_OUT, 'generated']) {
      expect(text).toMatch(
        new RegExp(`^  # LEFT OUT: .+\\n  # Fix: .+\\n  # "?public\\.${name}"?: \\{\\}$`, 'm'),
      );
    }
    expect(text.match(/# s\.t\.u: \{\}/g), 'two tables that one id would name').toHaveLength(2);
    expect(text).toMatch(
      /key \(id\); replica identity DEFAULT\n(.*\n)*? {2}# .*column: created_at, keep: 2 years}} \(or by day\)\n.*ALTER TABLE public\.plain REPLICA IDENTITY FULL;\n {2}public\.plain: \{\}/,
    );
    expect(text).toContain('# Personal, by their names; to copy hashes alone: {mask: ["address"]}');
    expect(text).toMatch(/child inherit from it/);
    expect(text).toContain('${SOURCE_URL}');
    expect(text).not.toContain(odd.databases.postgresUrl);

    expect(await odd.check(path)).toMatchObject({ code: 0 });
    await odd.run(path);
    await odd.databases.postgres(
      `insert into "tab.dot" select n, 'v' || n from generate_series(1, 100) n;
       update "Mixed Case" set "select" = 'z'; delete from "with""quote"; insert into cut values (3, '2026-06-06', 'c');
       insert into "back\`tick\\slash" values (1, E'\\\\'); insert into "wörld" values (1, 'ö'); insert into "null" values (1)`,
    );
    // A select on the parent shows its child's rows, which is what check warns of.
    await odd.expectEqual(tables.filter((id) => id !== 'public.parent'));
    expect(
      await odd.databases.clickhouse(`select v from ${odd.databases.clickhouseDatabase}.parent`),
    ).toEqual([{ v: 'p' }]);
  });

  it('never writes over a file, and never a secret into one', async () => {
    const path = join(directory, 'walhouse.yaml');
    writeFileSync(path, 'mine');
    const again = await cli(['init', '--config', path], odd.environment);
    expect(again).toMatchObject({ code: 2 });
    expect(again.stderr).toMatch(/is there already.*Fix: /);
    expect(readFileSync(path, 'utf8')).toBe('mine');
  });

  it('says what is missing: a source, a table, a database', async () => {
    const path = join(directory, 'none.yaml');
    const noSource = await cli(['init', '--config', path], { SOURCE_URL: '' });
    expect(noSource).toMatchObject({ code: 2 });
    expect(noSource.stderr).toContain('set SOURCE_URL');
    const noTable = await cli(['init', '--config', path, '--schema', 'nowhere'], odd.environment);
    expect(noTable).toMatchObject({ code: 2 });
    expect(noTable.stderr).toMatch(/no table.*Fix: /);
    const url = odd.databases.postgresUrl.replace(/\/[^/]*$/, '/nowhere');
    const noDatabase = await cli(['init', '--config', path, '--url', url]);
    expect(noDatabase).toMatchObject({ code: 2 });
    expect(noDatabase.stderr).toContain('source_database_missing');
    expect(existsSync(path)).toBe(false);
  });
});

describe('walhouse check', () => {
  const config = (parts: { url?: string; sinkUrl?: string; database?: string; tables: object }): string => {
    const path = join(directory, 'check.yaml');
    const { postgresUrl, clickhouseUrl, clickhouseDatabase, name } = odd.databases;
    writeFileSync(
      path,
      JSON.stringify({
        source: {
          url: parts.url ?? postgresUrl,
          slot: `${name}_c`,
          publication: `${name}_c`,
          decoder: 'pgoutput',
        },
        sink: { url: parts.sinkUrl ?? clickhouseUrl, database: parts.database ?? `${clickhouseDatabase}_c` },
        tables: parts.tables,
      }),
    );
    return path;
  };
  const check = async (
    parts: Parameters<typeof config>[0],
  ): Promise<{ code: number; checks: Map<string, Check> }> => {
    const { code, stdout, stderr } = await cli(['check', '--json', '--config', config(parts)]);
    expect(stderr).toBe('');
    const { ok, checks } = JSON.parse(stdout) as { ok: boolean; checks: Check[] };
    expect(ok).toBe(code === 0);
    for (const { ok: well, fix } of checks) expect(well).toBe(fix === null);
    return { code, checks: new Map(checks.map((found) => [found.name, found])) };
  };

  it('names every table that run would refuse, warns of inheritance, and changes nothing', async () => {
    const before = await everything();
    const tables = Object.fromEntries(
      [...LEFT_OUT, 'plain', 'parent', 'missing'].map((name) => [`public.${name}`, {}]),
    );
    const { code, checks } = await check({ tables });
    expect(code).toBe(1);
    for (const name of [...LEFT_OUT, 'missing']) {
      expect(checks.get(`table public.${name}`), name).toMatchObject({ ok: false, level: 'error' });
    }
    expect(checks.get('table public.plain')).toMatchObject({ ok: true });
    expect(checks.get('inheritance of public.parent')).toMatchObject({ ok: false, level: 'warning' });
    expect(await everything()).toEqual(before);
  });

  it('tells a role what it lacks', async () => {
    const { name, postgresUrl } = odd.databases;
    await odd.databases.postgres(`create role ${name} login password 'planted-secret';
      grant usage on schema public to ${name}; grant select on plain, "null" to ${name};
      alter table "null" enable row level security`);
    try {
      const url = new URL(postgresUrl);
      url.username = name;
      url.password = 'planted-secret';
      const { code, checks } = await check({
        url: url.href,
        tables: { 'public.plain': {}, 'public.null': {}, 'public.cut': {}, 'other.plain': {} },
      });
      expect(code).toBe(1);
      const fix = (title: string): string => checks.get(title)?.fix ?? '';
      expect(fix('replication right')).toContain('with replication');
      expect(fix('table public.null')).toContain('bypassrls');
      expect(fix('table public.cut')).toContain('grant select on "public"."cut"');
      expect(fix('schema of other.plain')).toContain('grant usage on schema "other"');
      expect(fix('publication right')).toContain('grant create on database');
      expect(JSON.stringify([...checks.values()])).not.toContain('planted-secret');
    } finally {
      await odd.databases.postgres(
        `alter table "null" disable row level security; drop owned by ${name}; drop role ${name}`,
      );
    }
  });

  it('finds names in ClickHouse that somebody else has', async () => {
    const { clickhouseDatabase } = odd.databases;
    const database = `${clickhouseDatabase}_taken`;
    await odd.databases.clickhouse(`create database ${database}`);
    await odd.databases.clickhouse(`create table ${database}.plain (x Int8) engine = MergeTree order by x`);
    const { code, checks } = await check({ database, tables: { 'public.plain': {}, 'other.plain': {} } });
    expect(code).toBe(1);
    expect(checks.get('name of public.plain')).toMatchObject({ ok: false });
    expect(checks.has('name of other.plain')).toBe(false);
  });

  it('goes on where one side does not answer', async () => {
    const port = await freePort();
    const noSink = await check({ sinkUrl: `http://127.0.0.1:${port}`, tables: { 'public.plain': {} } });
    expect(noSink.code).toBe(1);
    expect(noSink.checks.get('clickhouse')?.detail).toContain('sink_unreachable');
    expect(noSink.checks.get('table public.plain')).toMatchObject({ ok: true });
    const noSource = await check({
      url: `postgres://nobody@127.0.0.1:${port}/none`,
      tables: { 'public.plain': {} },
    });
    expect(noSource.code).toBe(1);
    expect(noSource.checks.get('source')?.detail).toContain('source_unreachable');
    expect(noSource.checks.get('clickhouse version')).toMatchObject({ ok: true });
  });

  it('prints words, one line a check with its fix below, and ends with 2 for a bad configuration', async () => {
    const path = config({ tables: { 'public.plain': {}, 'public.keyless': {} } });
    const { code, stdout } = await cli(['check', '--config', path]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^ok {7}wal_level +logical$/m);
    expect(stdout).toMatch(/^FAIL {5}table public\.keyless .*\n {9}fix: alter table/m);
    expect(stdout).toMatch(/1 failed.* walhouse run would stop\.$/m);
    writeFileSync(path, 'tables: 1');
    expect(await cli(['check', '--config', path])).toMatchObject({ code: 2 });
  });

  /** What both servers hold that it could have made; other tests' things come and go beside it. */
  async function everything(): Promise<unknown> {
    const { databases } = odd;
    return [
      await databases.postgres(
        'select slot_name from pg_replication_slots where database = current_database() order by 1',
      ),
      await databases.postgres('select pubname from pg_publication order by 1'),
      await databases.clickhouse(
        `select name from system.databases where startsWith(name, '${databases.clickhouseDatabase}') order by 1`,
      ),
    ];
  }
});
