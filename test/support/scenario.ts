import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@clickhouse/client';
import pg from 'pg';
import { expect } from 'vitest';
import { compareTable } from '../../src/ops/compare/compare-table.js';
import { readComparedRelation } from '../../src/ops/compare/relation.js';
import { compareRisk } from '../../src/ops/compare/risk.js';
import { Masker } from '../../src/sink/mask.js';
import type { Proxy } from './proxy.js';
import { createDatabases, type TestDatabases } from './servers.js';
import { Walhouse } from './walhouse.js';

export type Decoder = 'wal2json' | 'pgoutput';

interface TableOptions {
  readonly retention?: { readonly column: string; readonly keep: string };
  readonly history?: boolean;
  readonly erase?: { readonly follow: readonly string[] };
  readonly columns?: Readonly<Record<string, { readonly type: string }>>;
  readonly exclude?: readonly string[];
  readonly only?: readonly string[];
  readonly where?: string;
  readonly mask?: readonly string[];
}

type Tables = Readonly<Record<string, TableOptions | null>>;

/** A source with tables, the service over it, and the question whether both sides are equal. */
export class Scenario {
  readonly databases: TestDatabases;
  readonly walhouse: Walhouse;

  private constructor(databases: TestDatabases, walhouse: Walhouse) {
    this.databases = databases;
    this.walhouse = walhouse;
  }

  /** Makes the source with `schema`; starts nothing. */
  static async open(
    name: string,
    options: {
      readonly schema: string;
      readonly tables: Tables;
      readonly marts?: readonly string[];
      readonly decoder?: Decoder;
      readonly maskKey?: string;
      /** A Postgres of the test's own. */
      readonly postgres?: string;
      /** A ClickHouse of the test's own. */
      readonly clickhouse?: string;
      /** What stands between the service and its servers; the test itself goes past it. */
      readonly through?: { readonly postgres: Proxy; readonly clickhouse: Proxy };
    },
  ): Promise<Scenario> {
    const { postgres, clickhouse, through } = options;
    const databases = await createDatabases(name, {
      ...(postgres === undefined ? {} : { postgres }),
      ...(clickhouse === undefined ? {} : { clickhouse }),
    });
    await databases.postgres(options.schema);
    return new Scenario(
      databases,
      new Walhouse({
        postgresUrl: through?.postgres.through(databases.postgresUrl) ?? databases.postgresUrl,
        clickhouseUrl: through?.clickhouse.through(databases.clickhouseUrl) ?? databases.clickhouseUrl,
        database: databases.clickhouseDatabase,
        slot: databases.name,
        tables: options.tables,
        ...(options.marts === undefined ? {} : { marts: options.marts }),
        ...(options.decoder === undefined ? {} : { decoder: options.decoder }),
        ...(options.maskKey === undefined ? {} : { maskKey: options.maskKey }),
      }),
    );
  }

  /** The same, asked of another instance. What it stops and starts is that one. */
  as(walhouse: Walhouse): Scenario {
    return new Scenario(this.databases, walhouse);
  }

  sql(text: string): Promise<Record<string, unknown>[]> {
    return this.databases.postgres(text);
  }

  /** Waits until all that is committed now has been applied. */
  async applied(): Promise<string> {
    const rows = await this.databases.postgres<{ lsn: string }>(
      'select pg_current_wal_insert_lsn()::text lsn',
    );
    await this.walhouse.applied(rows[0]!.lsn);
    return rows[0]!.lsn;
  }

  /** As `applied`, for these tables alone: others may be stopped. */
  async streams(...tables: readonly string[]): Promise<void> {
    const rows = await this.databases.postgres<{ lsn: string }>(
      'select pg_current_wal_flush_lsn()::text lsn',
    );
    await this.walhouse.streams(rows[0]!.lsn, tables);
  }

  /** Compares every table (or those named) with its view, value for value. Nothing may write meanwhile. */
  async expectEqual(...only: readonly string[]): Promise<void> {
    const { tables, maskKey } = this.walhouse.options;
    for (const id of only) if (!Object.hasOwn(tables, id)) throw new Error(`no such table: ${id}`);
    if (only.length === 0) await this.applied();
    else await this.streams(...only);
    const client = new pg.Client({ connectionString: this.databases.postgresUrl });
    const clickhouse = createClient({ url: this.databases.clickhouseUrl });
    await client.connect();
    try {
      for (const [id, options] of Object.entries(tables as Tables)) {
        if (only.length > 0 && !only.includes(id)) continue;
        const [schema, table] = split(id);
        const found = await compareTable({
          postgres: client,
          clickhouse,
          relation: await readComparedRelation(client, schema, table, options ?? {}),
          view: {
            database: this.databases.clickhouseDatabase,
            name: schema === 'public' ? table : `${schema}_${table}`,
          },
          ...(options?.mask === undefined
            ? {}
            : { masked: { names: options.mask, masker: new Masker(maskKey!) } }),
          ...(options?.retention === undefined
            ? {}
            : { retention: { column: options.retention.column, keep: keepOf(options.retention.keep) } }),
        });
        expect(found, `${id}: ${JSON.stringify(found)}`).toMatchObject({ equal: true });
      }
    } finally {
      await client.end();
      await clickhouse.close();
    }
  }

  /** Compares the seven-day numbers of these merchants with SQL on Postgres. */
  async expectRiskEqual(merchantIds: readonly bigint[]): Promise<void> {
    const minLsn = await this.applied();
    const client = new pg.Client({ connectionString: this.databases.postgresUrl });
    await client.connect();
    try {
      const found = await compareRisk({
        apiUrl: this.walhouse.url,
        postgres: client,
        merchantIds,
        at: new Date().toISOString(),
        minLsn,
      });
      expect(found.differences).toEqual([]);
    } finally {
      await client.end();
    }
  }

  /** Keeps the slot's present place, for `deliverAgain`. */
  async rememberPlace(): Promise<void> {
    const { name } = this.databases;
    await this.sql(`select pg_copy_logical_replication_slot('${name}', '${name}_place')`);
  }

  /**
   * Stops the service, puts the slot back to where it stood at `rememberPlace`, and starts the service again: all that was
   * committed since is delivered once more. Resolves when it has been applied.
   */
  async deliverAgain(): Promise<void> {
    const { name } = this.databases;
    expect(await this.walhouse.stop()).toBe(0);
    await this.sql(`select pg_drop_replication_slot('${name}')`);
    await this.sql(`select pg_copy_logical_replication_slot('${name}_place', '${name}')`);
    await this.sql(`select pg_drop_replication_slot('${name}_place')`);
    await this.walhouse.start();
    // Its position is beyond all of that already, so only what comes after it tells.
    await this.sql(`select pg_logical_emit_message(true, 'test', '')`);
    await this.applied();
  }

  async close(): Promise<void> {
    await this.walhouse.close();
    const { postgresUrl, name } = this.databases;
    const client = new pg.Client({ connectionString: postgresUrl });
    await client.connect();
    // A process that was killed leaves its slot, as it should; its walsender may not have noticed yet.
    const slots = [[name, `${name}_place`]];
    const active = `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = any($1) and active`;
    try {
      while ((await client.query(active, slots)).rows.length > 0) await sleep(20);
      await client.query(
        'select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = any($1)',
        slots,
      );
    } finally {
      await client.end();
    }
    await this.databases.close();
  }
}

function split(id: string): [string, string] {
  const dot = id.indexOf('.');
  return [id.slice(0, dot), id.slice(dot + 1)];
}

function keepOf(text: string): { count: number; unit: 'day' | 'month' | 'year' } {
  const [count, unit] = text.split(' ');
  return { count: Number(count), unit: unit!.replace(/s$/, '') as 'day' | 'month' | 'year' };
}
