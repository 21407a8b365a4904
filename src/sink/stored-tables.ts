import type { Lsn } from '../pipeline/lsn.js';
import type { StoredTable, TableState } from '../pipeline/sink.js';
import { DURABLE } from './durability.js';
import { qualified } from './identifier.js';
import type { Server } from './server.js';

/** Which tables are complete, and which snapshot each came from. */
export class StoredTables {
  readonly #server: Server;
  readonly #table: string;

  constructor(server: Server, landingDatabase: string) {
    this.#server = server;
    this.#table = qualified(landingDatabase, '_walhouse_tables');
  }

  async open(): Promise<void> {
    await this.#server.define(
      `create table if not exists ${this.#table} (
        id String comment 'The source table',
        state LowCardinality(String) comment 'snapshotting, streaming or stopped',
        snapshot_lsn UInt64 comment 'The consistent point of its snapshot',
        definition String comment 'Hash of how its landing table was made',
        saved_at DateTime64(6, 'UTC') default now64(6, 'UTC')
      ) engine = ReplacingMergeTree(saved_at)
      order by id
      settings ${DURABLE}
      comment 'How far each table has come'`,
      'creating the table of tables',
    );
  }

  async load(): Promise<StoredTable[]> {
    const rows = await this.#server.rows<{ id: string; state: TableState; snapshot_lsn: string }>(
      `select id, state, toString(snapshot_lsn) as snapshot_lsn from ${this.#table} final`,
      'reading the state of the tables',
    );
    return rows.map((row) => ({ id: row.id, state: row.state, snapshotLsn: BigInt(row.snapshot_lsn) }));
  }

  /** The hash that was saved with the table's newest state; null when nothing was. */
  async definition(id: string): Promise<string | null> {
    const [row] = await this.#server.rows<{ definition: string }>(
      `select definition from ${this.#table} final where id = {id:String}`,
      `reading the state of ${id}`,
      { id },
    );
    return row?.definition ?? null;
  }

  async save(id: string, state: TableState, snapshotLsn: Lsn, definition = ''): Promise<void> {
    await this.#server.insertRows(
      this.#table,
      [{ id, state, snapshot_lsn: snapshotLsn.toString(), definition }],
      `saving the state of ${id}`,
    );
  }
}
