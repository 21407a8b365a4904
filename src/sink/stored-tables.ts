import type { StoredState, StoredTable } from '../pipeline/sink.js';
import { DURABLE } from './durability.js';
import { qualified } from './identifier.js';
import type { Server } from './server.js';

/** Which tables are complete, and which snapshot each came from. */
export class StoredTables {
  readonly #server: Server;
  readonly #table: string;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(server: Server, landingDatabase: string) {
    this.#server = server;
    this.#table = qualified(landingDatabase, '_walhouse_tables');
  }

  async open(): Promise<void> {
    await this.#server.define(
      `create table if not exists ${this.#table} (
        id String comment 'The source table',
        state LowCardinality(String) comment 'streaming, resync, switching, snapshotting or stopped',
        snapshot_lsn UInt64 comment 'The consistent point of its snapshot',
        definition String comment 'How its landing table was made, as JSON',
        switching_to String comment 'The identity of the copy that is about to take its place, and how it was made',
        altered String comment 'How its columns changed since its snapshot, as JSON',
        stamp String comment 'Tells whether the source has replaced its rows',
        saved_at DateTime64(6, 'UTC') default now64(6, 'UTC')
      ) engine = ReplacingMergeTree(saved_at)
      order by id
      settings ${DURABLE}
      comment 'How far each table has come'`,
      'creating the table of tables',
    );
    for (const column of ['switching_to', 'stamp', 'altered']) {
      await this.#server.define(
        `alter table ${this.#table} add column if not exists ${column} String after definition`,
        'adding to the table of tables',
      );
    }
  }

  async load(): Promise<KnownTable[]> {
    const rows = await this.#server.rows<{
      id: string;
      state: StoredState;
      snapshot_lsn: string;
      definition: string;
      switching_to: string;
      stamp: string;
      altered: string;
    }>(
      `select id, state, toString(snapshot_lsn) as snapshot_lsn, definition, switching_to, stamp, altered from ${this.#table} final`,
      'reading the state of the tables',
    );
    return rows.map((row) => ({
      id: row.id,
      state: row.state,
      snapshotLsn: BigInt(row.snapshot_lsn),
      definition: row.definition,
      switchingTo: row.switching_to,
      stamp: row.stamp,
      altered: row.altered,
    }));
  }

  /** What is remembered of a table; of one that never was here, nothing but its name. */
  async find(id: string): Promise<KnownTable> {
    const known = (await this.load()).find((table) => table.id === id);
    return known ?? { ...UNKNOWN, id };
  }

  /** Changes what is said and leaves the rest; one after the other, so that none takes back what another wrote. */
  async update(id: string, change: Partial<Omit<KnownTable, 'id'>>): Promise<KnownTable> {
    const turn = this.#turn.then(async () => {
      const table = { ...(await this.find(id)), ...change };
      await this.#save(table);
      return table;
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #save(table: KnownTable): Promise<void> {
    const { id, state, snapshotLsn, definition, switchingTo, stamp, altered } = table;
    await this.#server.insertRows(
      this.#table,
      [
        {
          id,
          state,
          snapshot_lsn: snapshotLsn.toString(),
          definition,
          switching_to: switchingTo,
          stamp,
          altered,
        },
      ],
      `saving the state of ${id}`,
    );
  }
}

/** A row of the table of tables. */
export interface KnownTable extends StoredTable {
  /** How its landing table was made, a `Definition` as JSON; empty while there is none. */
  readonly definition: string;
  /** While `switching`: which copy (its UUID) takes the place, and the copy's definition behind a blank. */
  readonly switchingTo: string;
  /** The relation's stamp when its rows were last known to be these, or when its new copy was begun; empty when it had none. */
  readonly stamp: string;
  /** How its landing table was altered, see `prepareAlteration`; empty where it is as its snapshot made it. */
  readonly altered: string;
}

const UNKNOWN: Omit<KnownTable, 'id'> = {
  state: 'snapshotting',
  snapshotLsn: 0n,
  definition: '',
  switchingTo: '',
  stamp: '',
  altered: '',
};
