import type { Checkpoint } from '../pipeline/sink.js';
import type { Span } from '../pipeline/tracer.js';
import { qualified } from './identifier.js';
import type { Server } from './server.js';

interface Row {
  readonly epoch: string;
  readonly forgotten: number;
  readonly slot: string;
  readonly system_identifier: string;
  readonly timeline: number;
  readonly source_database: string;
  readonly applied_lsn: string;
  readonly committed_at_us: string | null;
  readonly exact: string[];
  readonly lag_ms: number | null;
  readonly age_ms: number;
}

/** What is read so often is not waited for long. */
export const READ_MS = 2_000;

/** A checkpoint as it was found, by whomever. */
export interface FoundCheckpoint {
  readonly checkpoint: Checkpoint;
  /** The owner that saved it. */
  readonly epoch: number;
  /** How long ago that was, on ClickHouse's clock. */
  readonly ageMs: number;
}

/**
 * Up to where everything is stored, and of which cluster. One small insert a save, several times a second for ever: rows
 * replace each other when they merge, and merged parts leave the disk within seconds (which is safe since merges are synced here, too).
 *
 * One row is kept for each owner, its newest; what counts is the newest owner's. So whatever an earlier one still writes, and however
 * late it arrives, the position never goes back to it.
 */
export class Checkpoints {
  readonly #server: Server;
  readonly #table: string;
  #saves = 0;

  constructor(server: Server, landingDatabase: string) {
    this.#server = server;
    this.#table = qualified(landingDatabase, '_walhouse_checkpoint');
  }

  async open(): Promise<void> {
    await this.#server.define(
      `create table if not exists ${this.#table} (
        epoch UInt64 comment 'The owner that saved it',
        save UInt64 comment 'Its saves, counted',
        forgotten UInt8 comment '1: from here on nothing counts that was stored before',
        slot String comment 'The replication slot',
        system_identifier String comment 'The cluster that positions belong to',
        timeline UInt32 comment 'Its timeline when this was saved',
        source_database String comment 'The database in Postgres',
        applied_lsn UInt64 comment 'Every transaction whose commit starts before this is stored',
        committed_at_us Nullable(Int64) comment 'When the last of them was committed, microseconds since 1970 UTC',
        exact Array(String) comment 'The tables that are, with the marts over them, as the source was at applied_lsn',
        lag_ms Nullable(Int64) comment 'How long ago, when this was saved, applied_lsn was known to be all there was',
        saved_at DateTime64(6, 'UTC') default now64(6, 'UTC')
      ) engine = ReplacingMergeTree(save)
      order by epoch
      settings fsync_after_insert = 1, fsync_part_directory = 1,
        min_rows_to_fsync_after_merge = 1, old_parts_lifetime = 10
      comment 'Up to where Walhouse has applied the source''s WAL'`,
      'creating the checkpoint table',
    );
  }

  /** null where there is none, or it was forgotten. */
  async load(): Promise<Checkpoint | null> {
    return (await this.find())?.checkpoint ?? null;
  }

  async find(): Promise<FoundCheckpoint | null> {
    const [row] = await this.#server.rows<Row>(
      `select toString(c.epoch) as epoch, forgotten, slot, system_identifier, timeline, source_database,
        toString(applied_lsn) as applied_lsn, toString(committed_at_us) as committed_at_us, exact,
        toFloat64(lag_ms) as lag_ms, toFloat64(now64(6, 'UTC') - saved_at) * 1000 as age_ms
      from ${this.#table} as c final order by c.epoch desc limit 1`,
      'reading the checkpoint',
      {},
      READ_MS,
    );
    if (row === undefined || row.forgotten === 1) return null;
    return {
      epoch: Number(row.epoch),
      ageMs: Math.max(0, row.age_ms),
      checkpoint: {
        identity: {
          systemIdentifier: row.system_identifier,
          timeline: row.timeline,
          database: row.source_database,
        },
        slot: row.slot,
        appliedLsn: BigInt(row.applied_lsn),
        committedAtUs: row.committed_at_us === null ? null : BigInt(row.committed_at_us),
        exact: row.exact,
        lagMs: row.lag_ms,
      },
    };
  }

  /** Positions of another cluster or of a slot that is gone mean nothing. */
  async forget(epoch: number): Promise<void> {
    await this.#insert(epoch, { forgotten: 1 });
  }

  async save(epoch: number, checkpoint: Checkpoint, span: Span | null = null): Promise<void> {
    const row = {
      slot: checkpoint.slot,
      system_identifier: checkpoint.identity.systemIdentifier,
      timeline: checkpoint.identity.timeline,
      source_database: checkpoint.identity.database,
      applied_lsn: checkpoint.appliedLsn.toString(),
      committed_at_us: checkpoint.committedAtUs?.toString() ?? null,
      exact: checkpoint.exact,
      lag_ms: checkpoint.lagMs,
    };
    await this.#insert(epoch, row, span);
  }

  async #insert(epoch: number, row: object, span: Span | null = null): Promise<void> {
    this.#saves += 1;
    await this.#server.insertRows(
      this.#table,
      [{ epoch, save: this.#saves, ...row }],
      'saving the checkpoint',
      span,
    );
  }
}
