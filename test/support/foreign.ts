import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@clickhouse/client';
import pg from 'pg';
import { expect } from 'vitest';
import { parse } from 'yaml';
import { compareTable } from '../../src/ops/compare/compare-table.js';
import { readComparedRelation } from '../../src/ops/compare/relation.js';
import { tableName } from '../../src/sink/names.js';
import { cli } from './cli.js';
import { createDatabases, type TestDatabases } from './servers.js';
import { Walhouse } from './walhouse.js';

/** A database that is pointed at as a stranger would: init, the fixes it names, check, run. */
export class Foreign {
  readonly databases: TestDatabases;
  readonly environment: Record<string, string>;
  walhouse: Walhouse | null = null;
  readonly #directory = mkdtempSync(join(tmpdir(), 'walhouse-foreign-'));
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
    const path = join(this.#directory, `${this.databases.name}-${(this.#configs += 1)}.yaml`);
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
    rmSync(this.#directory, { recursive: true, force: true });
    await this.databases.close();
  }
}
