import type { Checkpoint } from '../pipeline/sink.js';
import { qualified } from './identifier.js';
import type { Server } from './server.js';

interface Row {
  readonly slot: string;
  readonly system_identifier: string;
  readonly timeline: number;
  readonly source_database: string;
  readonly applied_lsn: string;
  readonly committed_at_us: string | null;
}

/**
 * Up to where everything is stored, and of which cluster. One small insert a save, several times a second for ever: rows
 * replace each other when they merge, the highest position wins, and merged parts leave the disk within seconds (which is safe since merges are synced here, too).
 */
export class Checkpoints {
  readonly #server: Server;
  readonly #table: string;

  constructor(server: Server, landingDatabase: string) {
    this.#server = server;
    this.#table = qualified(landingDatabase, '_walhouse_checkpoint');
  }

  async open(): Promise<void> {
    await this.#server.define(
      `create table if not exists ${this.#table} (
        slot String comment 'The replication slot',
        system_identifier String comment 'The cluster that positions belong to',
        timeline UInt32 comment 'Its timeline when this was saved',
        source_database String comment 'The database in Postgres',
        applied_lsn UInt64 comment 'Every transaction whose commit starts before this is stored',
        committed_at_us Nullable(Int64) comment 'When the last of them was committed, microseconds since 1970 UTC',
        saved_at DateTime64(6, 'UTC') default now64(6, 'UTC')
      ) engine = ReplacingMergeTree(applied_lsn)
      order by (system_identifier, source_database, slot)
      settings fsync_after_insert = 1, fsync_part_directory = 1,
        min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 10
      comment 'Up to where Walhouse has applied the source''s WAL'`,
      'creating the checkpoint table',
    );
  }

  async load(): Promise<Checkpoint | null> {
    const [row] = await this.#server.rows<Row>(
      `select slot, system_identifier, timeline, source_database,
        toString(applied_lsn) as applied_lsn, toString(committed_at_us) as committed_at_us
      from ${this.#table} final order by saved_at desc limit 1`,
      'reading the checkpoint',
    );
    if (row === undefined) return null;
    return {
      identity: {
        systemIdentifier: row.system_identifier,
        timeline: row.timeline,
        database: row.source_database,
      },
      slot: row.slot,
      appliedLsn: BigInt(row.applied_lsn),
      committedAtUs: row.committed_at_us === null ? null : BigInt(row.committed_at_us),
    };
  }

  /** All of it: positions of another cluster or of a slot that is gone mean nothing. */
  async forget(): Promise<void> {
    await this.#server.define(`truncate table ${this.#table} sync`, 'forgetting the checkpoint');
  }

  async save(checkpoint: Checkpoint): Promise<void> {
    await this.#server.insertRows(
      this.#table,
      [
        {
          slot: checkpoint.slot,
          system_identifier: checkpoint.identity.systemIdentifier,
          timeline: checkpoint.identity.timeline,
          source_database: checkpoint.identity.database,
          applied_lsn: checkpoint.appliedLsn.toString(),
          committed_at_us: checkpoint.committedAtUs?.toString() ?? null,
        },
      ],
      'saving the checkpoint',
    );
  }
}
