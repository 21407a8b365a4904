import type { ClickHouseClient } from '@clickhouse/client';
import { qualified } from './identifier.js';
import { databasesFor } from './names.js';
import { IN_RETENTION, QUARANTINE_TABLE } from './quarantine.js';
import { Server } from './server.js';

/** A row in quarantine, as an operator looks at it. */
export interface ListedRow {
  readonly table: string;
  /** The key's columns as a JSON object of Postgres's texts. */
  readonly key: string;
  /** Where its transaction committed. */
  readonly position: string;
  readonly column: string;
  readonly reason: string;
  /** ISO 8601, UTC. */
  readonly committed_at: string;
  readonly quarantined_at: string;
  /** The whole row as a JSON object of Postgres's texts; only where it was asked for. */
  readonly row?: string;
}

export interface QuarantineList {
  /** How many there are, listed or not. */
  readonly total: number;
  /** The oldest first, at most `limit`. */
  readonly rows: readonly ListedRow[];
}

/** Lists what is in quarantine, of one table or of all; nothing where Walhouse has never run. */
export async function listQuarantined(options: {
  readonly client: ClickHouseClient;
  readonly database: string;
  readonly table: string | null;
  readonly limit: number;
  /** Other columns' values as well; logs and terminals must not get them by accident. */
  readonly showValues: boolean;
}): Promise<QuarantineList> {
  const { landing } = databasesFor(options.database);
  const server = new Server(options.client);
  if (!(await hasQuarantine(server, landing))) return { total: 0, rows: [] };
  const from = `from ${qualified(landing, QUARANTINE_TABLE)} final
    where ${IN_RETENTION} and ({table:String} = '' or table = {table:String})`;
  const params = { table: options.table ?? '', limit: options.limit };
  const doing = 'listing the quarantine';
  const [count] = await server.rows<{ total: string }>(
    `select toString(count()) as total ${from}`,
    doing,
    params,
  );
  const iso = (column: string): string =>
    `concat(replaceOne(toString(${column}), ' ', 'T'), 'Z') as ${column}`;
  const rows = await server.rows<ListedRow>(
    `select table, key, commit_lsn as position, column, reason, ${iso('committed_at')}, ${iso('quarantined_at')}
       ${options.showValues ? ', row' : ''} ${from} order by table, version, key limit {limit:UInt32}`,
    doing,
    params,
  );
  return { total: Number(count?.total ?? 0), rows };
}

export async function hasQuarantine(server: Server, landing: string): Promise<boolean> {
  const found = await server.rows<object>(
    'select 1 from system.tables where database = {landing:String} and name = {name:String}',
    'looking for the quarantine',
    { landing, name: QUARANTINE_TABLE },
  );
  return found.length > 0;
}
