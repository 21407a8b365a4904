import type { StoredState, StoredTable } from '../pipeline/sink.js';
import { DURABLE } from './durability.js';
import { qualified } from './identifier.js';
import type { Server } from './server.js';
import { StateTable } from './state-table.js';

type Row = Readonly<
  Record<'id' | 'state' | 'snapshot_lsn' | 'definition' | 'switching_to' | 'stamp' | 'altered', string>
>;

/** Which tables are complete, and which snapshot each came from. */
export class StoredTables {
  readonly #server: Server;
  readonly #table: string;
  readonly #rows: StateTable<Row>;

  constructor(server: Server, landingDatabase: string) {
    this.#server = server;
    this.#table = qualified(landingDatabase, '_walhouse_tables');
    this.#rows = new StateTable({
      server,
      table: this.#table,
      key: 'id',
      columns: 'id, state, toString(snapshot_lsn) as snapshot_lsn, definition, switching_to, stamp, altered',
      of: 'the tables',
    });
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
    const added = ['switching_to', 'stamp', 'altered'].map(
      (column) => `add column if not exists ${column} String after definition`,
    );
    await this.#server.define(
      `alter table ${this.#table} ${added.join(', ')}`,
      'adding to the table of tables',
    );
    await this.#rows.forget();
  }

  /** All of them, for whoever asks. */
  async load(): Promise<KnownTable[]> {
    return (await this.#rows.load()).map(known);
  }

  /** What its owner remembers of a table; of one that never was here, nothing but its name. */
  async find(id: string): Promise<KnownTable> {
    return known((await this.#rows.find(id)) ?? { ...UNKNOWN, id });
  }

  /** Changes what is said and leaves the rest. */
  async update(id: string, change: Partial<Omit<KnownTable, 'id'>>): Promise<KnownTable> {
    return known(
      await this.#rows.update(id, (before = { ...UNKNOWN, id }) => {
        const table = { ...known(before), ...change };
        return {
          id,
          state: table.state,
          snapshot_lsn: table.snapshotLsn.toString(),
          definition: table.definition,
          switching_to: table.switchingTo,
          stamp: table.stamp,
          altered: table.altered,
        };
      }),
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

const UNKNOWN: Omit<Row, 'id'> = {
  state: 'snapshotting',
  snapshot_lsn: '0',
  definition: '',
  switching_to: '',
  stamp: '',
  altered: '',
};

function known(row: Row): KnownTable {
  return {
    id: row.id,
    state: row.state as StoredState,
    snapshotLsn: BigInt(row.snapshot_lsn),
    definition: row.definition,
    switchingTo: row.switching_to,
    stamp: row.stamp,
    altered: row.altered,
  };
}
