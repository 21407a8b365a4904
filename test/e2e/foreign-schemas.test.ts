import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createClient } from '@clickhouse/client';
import pg from 'pg';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { compareTable } from '../../src/ops/compare/compare-table.js';
import { readComparedRelation } from '../../src/ops/compare/relation.js';
import { tableName } from '../../src/sink/names.js';
import { cli } from '../support/cli.js';
import { RandomLoad } from '../support/random-load.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';
import { Walhouse } from '../support/walhouse.js';

const execute = promisify(execFile);
const DATA = new URL('../data/', import.meta.url).pathname;
const directory = mkdtempSync(join(tmpdir(), 'walhouse-foreign-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** A database that is pointed at as a stranger would: init, the fixes it names, check, run. */
class Foreign {
  readonly databases: TestDatabases;
  readonly environment: Record<string, string>;
  walhouse: Walhouse | null = null;
  #configs = 0;

  private constructor(databases: TestDatabases) {
    this.databases = databases;
    this.environment = { SOURCE_URL: databases.postgresUrl, CLICKHOUSE_URL: databases.clickhouseUrl };
  }

  static async open(name: string): Promise<Foreign> {
    return new Foreign(await createDatabases(name));
  }

  /** `walhouse init` into a new file; the slot is renamed, since it belongs to the whole test server. */
  async init(): Promise<{ path: string; text: string; tables: string[] }> {
    const path = join(directory, `${this.databases.name}-${(this.#configs += 1)}.yaml`);
    const done = await cli(['init', '--config', path], this.environment);
    expect(done, done.stderr).toMatchObject({ code: 0 });
    const text = readFileSync(path, 'utf8').replace(
      /^ {2}(slot|publication): \w+/gm,
      `  $1: ${this.databases.name}`,
    );
    writeFileSync(path, text);
    const { tables } = parse(text) as { tables: Record<string, object> };
    return { path, text, tables: Object.keys(tables) };
  }

  check(path: string): ReturnType<typeof cli> {
    return cli(['check', '--config', path], this.environment);
  }

  async run(path: string): Promise<Walhouse> {
    const { postgresUrl, clickhouseUrl, clickhouseDatabase: database, name: slot } = this.databases;
    this.walhouse = new Walhouse({ postgresUrl, clickhouseUrl, database, slot, tables: {}, config: path });
    await this.walhouse.start(this.environment);
    return this.walhouse;
  }

  /** Waits for all that is committed, then compares every table value for value; returns the rows compared. */
  async expectEqual(ids: readonly string[]): Promise<number> {
    const [row] = await this.databases.postgres<{ lsn: string }>(
      'select pg_current_wal_insert_lsn()::text lsn',
    );
    await this.walhouse!.applied(row!.lsn);
    const client = new pg.Client({ connectionString: this.databases.postgresUrl });
    const clickhouse = createClient({ url: this.databases.clickhouseUrl });
    await client.connect();
    let rows = 0;
    try {
      for (const id of ids) {
        const [schema, table] = [id.slice(0, id.indexOf('.')), id.slice(id.indexOf('.') + 1)];
        const found = await compareTable({
          postgres: client,
          clickhouse,
          relation: await readComparedRelation(client, schema, table),
          view: { database: this.databases.clickhouseDatabase, name: tableName(schema, table) },
        });
        expect(found, `${id}: ${JSON.stringify(found)}`).toMatchObject({ equal: true });
        rows += found.rowsPostgres;
      }
    } finally {
      await client.end();
      await clickhouse.close();
    }
    const { tables } = await this.walhouse!.status();
    for (const [id, table] of Object.entries(tables))
      expect({ id, n: table.quarantined }).toEqual({ id, n: 0 });
    return rows;
  }

  async close(): Promise<void> {
    await this.walhouse?.close();
    await this.databases.postgres(
      'select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1',
      [this.databases.name],
    );
    await this.databases.close();
  }
}

/** The fixes as the file names them; of two ways the one that can be typed as it stands. */
function fixesIn(text: string): string[] {
  return [...text.matchAll(/^ {2}# Fix: (.*)$/gm)].map(([, fix]) =>
    fix!.replace(/^.*without a natural one: /, ''),
  );
}

let foreign: Foreign | null = null;
afterEach(async () => {
  await foreign?.close();
  foreign = null;
});

/** Where distributions put it; null when there is none. */
function findPgbench(): string | null {
  const versions = '/usr/lib/postgresql';
  const installed = existsSync(versions)
    ? readdirSync(versions).map((v) => join(versions, v, 'bin/pgbench'))
    : [];
  return (
    [...installed, '/usr/bin/pgbench', '/usr/local/bin/pgbench'].find((path) => existsSync(path)) ?? null
  );
}

describe('a database that was not made for Walhouse', () => {
  const pgbench = findPgbench();
  if (pgbench === null) process.stderr.write('pgbench is not installed, so its schema is not tested\n');

  it.skipIf(pgbench === null)(
    'pgbench under load: its table without a key is left out with a fix, and followed once that is applied',
    async () => {
      foreign = await Foreign.open('pgbench');
      const { postgresUrl } = foreign.databases;
      await execute(pgbench!, ['-i', '-q', '-s', '1', postgresUrl]);

      const first = await foreign.init();
      expect(first.tables).toEqual([
        'public.pgbench_accounts',
        'public.pgbench_branches',
        'public.pgbench_tellers',
      ]);
      expect(first.text).toMatch(/LEFT OUT: .*pgbench_history/);
      expect(await foreign.check(first.path)).toMatchObject({ code: 0 });

      // Who puts it in all the same is told by check, before run would refuse it.
      writeFileSync(
        `${first.path}.all`,
        first.text.replace('# public.pgbench_history: {}', 'public.pgbench_history: {}'),
      );
      const refused = await foreign.check(`${first.path}.all`);
      expect(refused.stdout).toMatch(/FAIL +table public\.pgbench_history .*\n +fix: alter table/);
      expect(refused.code).toBe(1);

      for (const fix of fixesIn(first.text)) await foreign.databases.postgres(fix);
      const second = await foreign.init();
      expect(second.tables).toHaveLength(4);
      expect(await foreign.check(second.path)).toMatchObject({ code: 0 });

      const load = execute(pgbench!, ['-n', '-c', '2', '-T', '5', postgresUrl]);
      const walhouse = await foreign.run(second.path);
      const { stdout } = await load;
      expect(await walhouse.status()).toMatchObject({ state: 'streaming' });
      const rows = await foreign.expectEqual(second.tables);
      process.stdout.write(
        `pgbench: ${/transactions actually processed: \d+/.exec(stdout)?.[0]}; ${rows} rows equal\n`,
      );
    },
  );

  it('the 138 tables of a Matrix server, 110 of them without a primary key, once the fixes that init names are typed', async () => {
    foreign = await Foreign.open('synapse');
    for (const part of ['common', 'main', 'state']) {
      // `psql` would read them; the settings that they open with are for one session.
      await foreign.databases.postgres(readFileSync(join(DATA, 'synapse', `${part}.sql`), 'utf8'));
    }
    const first = await foreign.init();
    const left = first.text.match(/^ {2}# LEFT OUT/gm)?.length ?? 0;
    expect({ followed: first.tables.length, left }).toEqual({ followed: 28, left: 110 });
    for (const fix of fixesIn(first.text)) await foreign.databases.postgres(fix);
    const second = await foreign.init();
    expect(second.tables).toHaveLength(138);
    expect(await foreign.check(second.path)).toMatchObject({ code: 0 });

    const load = await RandomLoad.open(foreign.databases.postgresUrl, 7);
    try {
      await load.fill(20);
      const before = performance.now();
      await foreign.run(second.path);
      await load.run(1_000);
      const rows = await foreign.expectEqual(second.tables);
      const seconds = ((performance.now() - before) / 1000).toFixed(1);
      console.log(
        `synapse: ${JSON.stringify(load.report)}; ${rows} rows of 138 tables equal after ${seconds} s`,
      );
    } finally {
      await load.close();
    }
  });
});
