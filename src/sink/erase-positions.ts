import type { Lsn } from '../pipeline/lsn.js';
import { DURABLE } from './durability.js';
import { qualified } from './identifier.js';
import type { Ownership } from './ownership.js';
import type { Server } from './server.js';

/**
 * From which WAL position on the changes of a table count, because rows of it were erased once everything before was applied. A slot may
 * fall back behind what it was told, when Postgres crashes, and would bring what was erased again.
 */
export class ErasePositions {
  readonly #server: Server;
  readonly #table: string;

  constructor(server: Server, landingDatabase: string) {
    this.#server = server;
    this.#table = qualified(landingDatabase, '_walhouse_erased');
  }

  async open(): Promise<void> {
    await this.#server.define(
      `create table if not exists ${this.#table} (
        id String comment 'The source table',
        position UInt64 comment 'Changes of before are passed over',
        saved_at DateTime64(6, 'UTC') default now64(6, 'UTC')
      ) engine = ReplacingMergeTree(position)
      order by id
      settings ${DURABLE}
      comment 'Up to where each table was applied when rows of it were erased'`,
      'creating the table of erasures',
    );
  }

  /** Forgets them all, where every table is about to be copied anew: positions of another cluster would pass over its changes. */
  async forget(ownership: Ownership): Promise<void> {
    await ownership.deleting((still) =>
      this.#server.command(
        `alter table ${this.#table} delete where ${still}`,
        'forgetting the positions of erasures',
        { mutations_sync: '1' },
      ),
    );
  }

  async save(ids: readonly string[], position: Lsn): Promise<void> {
    const rows = ids.map((id) => ({ id, position: position.toString() }));
    await this.#server.insertRows(this.#table, rows, 'saving the position of an erasure');
  }

  /** Zero where nothing was ever erased. */
  async find(id: string): Promise<Lsn> {
    const [row] = await this.#server.rows<{ position: string }>(
      `select toString(max(position)) as position from ${this.#table} where id = {id:String}`,
      'reading the positions of erasures',
      { id },
    );
    return BigInt(row?.position ?? '0');
  }
}
