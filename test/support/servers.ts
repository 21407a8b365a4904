import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { inject } from 'vitest';
import { clickhouseQuery } from './clickhouse-query.js';

export { clickhouseQuery };

/** A connection that was closed takes a moment to leave the server's list. */
const LEAVE_MS_MAX = 5_000;

/** A fresh database on each of the run's servers, for one test file. */
export interface TestDatabases {
  /** Of a superuser; names the fresh database. */
  readonly postgresUrl: string;
  readonly clickhouseUrl: string;
  /** For `sink.database`; does not exist yet. */
  readonly clickhouseDatabase: string;
  /** Unique on the server, for a slot or publication, which belong to the cluster and not to the database. */
  readonly name: string;
  readonly hasWal2json: boolean;
  /** One statement, or several without parameters, in the fresh Postgres database. */
  postgres<Row extends pg.QueryResultRow = pg.QueryResultRow>(
    sql: string,
    values?: unknown[],
  ): Promise<Row[]>;
  /** One statement in ClickHouse; the rows as objects where the statement returns any. */
  clickhouse<Row = Record<string, unknown>>(sql: string): Promise<Row[]>;
  /** Drops everything, and then fails when a slot or a connection was left behind. */
  close(): Promise<void>;
}

/**
 * Makes a test file's databases. `name` says whose they are: lower-case letters, digits and underscores. `others` are servers of
 * the test's own.
 */
export async function createDatabases(
  name: string,
  others: { readonly postgres?: string; readonly clickhouse?: string } = {},
): Promise<TestDatabases> {
  const servers = { ...inject('servers'), ...others };
  const unique = `${name}_${randomBytes(4).toString('hex')}`;
  await withClient(servers.postgres, (admin) => admin.query(`create database ${unique}`));
  const postgresUrl = servers.postgres.replace(/\/postgres$/, `/${unique}`);
  const pool = new pg.Pool({ connectionString: postgresUrl, max: 2, idleTimeoutMillis: 1_000 });
  pool.on('error', () => undefined);
  return {
    postgresUrl,
    clickhouseUrl: servers.clickhouse,
    clickhouseDatabase: unique,
    name: unique,
    hasWal2json: servers.hasWal2json,
    postgres: async <Row extends pg.QueryResultRow>(sql: string, values?: unknown[]) =>
      (await pool.query<Row>(sql, values)).rows,
    clickhouse: (sql) => clickhouseQuery(servers.clickhouse, sql),
    close: async () => {
      await pool.end();
      const leaks = await withClient(servers.postgres, (admin) => dropPostgres(admin, unique));
      await dropClickHouse(servers.clickhouse, unique);
      if (leaks.length > 0) throw new Error(`left behind in ${unique}: ${leaks.join('; ')}`);
    },
  };
}

async function dropPostgres(admin: pg.Client, database: string): Promise<string[]> {
  const leaks = [...(await leftConnections(admin, database))];
  const slots = await admin.query<{ slot_name: string; active_pid: number | null }>(
    'select slot_name, active_pid from pg_replication_slots where database = $1',
    [database],
  );
  for (const { slot_name: slot, active_pid: pid } of slots.rows) {
    leaks.push(`slot ${slot}`);
    if (pid !== null) await admin.query('select pg_terminate_backend($1, 5000)', [pid]);
    await admin.query('select pg_drop_replication_slot($1)', [slot]);
  }
  await admin.query(`drop database if exists ${database} with (force)`);
  return leaks;
}

/** Connections to the database that do not go away by themselves, the senders of replication slots among them. */
async function leftConnections(admin: pg.Client, database: string): Promise<string[]> {
  const deadline = Date.now() + LEAVE_MS_MAX;
  for (;;) {
    const { rows } = await admin.query<{ what: string }>(
      `select format('%s of application "%s", %s', backend_type, application_name, state) as what
         from pg_stat_activity
        where datname = $1 and backend_type in ('client backend', 'walsender')`,
      [database],
    );
    if (rows.length === 0 || Date.now() > deadline) return rows.map(({ what }) => what);
    await sleep(20);
  }
}

/** Walhouse makes databases beside the one it is given, with its name and a suffix; all of them go. */
async function dropClickHouse(url: string, database: string): Promise<void> {
  const found = await clickhouseQuery<{ name: string }>(
    url,
    `select name from system.databases where startsWith(name, '${database}')`,
  );
  for (const { name } of found) await clickhouseQuery(url, `drop database if exists \`${name}\` sync`);
}

async function withClient<Result>(
  url: string,
  work: (client: pg.Client) => Promise<Result>,
): Promise<Result> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
