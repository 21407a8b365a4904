import type { TransactionStart } from './change.js';
import type { Lsn } from './lsn.js';
import type { Relation } from './relation.js';
import type { SourceIdentity } from './source.js';
import type { Tuple } from './tuple.js';

/** What one round of inserts carries. Filled synchronously, stored once, then discarded. */
export interface Batch {
  readonly rows: number;
  readonly bytes: number;
  /** A truncate came: nothing may be added after it, the batch must be stored first. */
  readonly sealed: boolean;
  /** Rows that follow belong to this transaction. */
  begin(transaction: TransactionStart): void;
  insert(relation: Relation, row: Tuple, ordinal: number): void;
  update(relation: Relation, old: Tuple | null, row: Tuple, ordinal: number): void;
  delete(relation: Relation, old: Tuple, ordinal: number): void;
  truncate(relation: Relation, ordinal: number): void;
}

/** Rows of one table's snapshot on their way. All of them bear the version of the snapshot's consistent point. */
export interface SnapshotWriter {
  readonly rows: number;
  add(row: Tuple): void;
  /** Inserts what was added when it is much, or `force`; memory stays bounded when it is awaited after every chunk. */
  flush(force: boolean): Promise<void>;
}

export type TableState = 'snapshotting' | 'streaming' | 'stopped';

export interface StoredTable {
  readonly id: string;
  readonly state: TableState;
  /** The consistent point its snapshot was taken at. */
  readonly snapshotLsn: Lsn;
}

/** What ClickHouse remembers between runs. */
export interface Checkpoint {
  readonly identity: SourceIdentity;
  readonly slot: string;
  /** Every transaction whose commit starts before this is stored in every table. */
  readonly appliedLsn: Lsn;
  /** When the last of them was committed; null before the first. Microseconds since 1970 UTC. */
  readonly committedAtUs: bigint | null;
}

/** The ClickHouse side, as the pipeline sees it. Every method is safe to call again after a failure. */
export interface Sink {
  /** Creates databases and Walhouse's own tables; refuses a server it cannot work with. */
  open(): Promise<void>;
  loadCheckpoint(): Promise<Checkpoint | null>;
  saveCheckpoint(checkpoint: Checkpoint): Promise<void>;
  loadTables(): Promise<readonly StoredTable[]>;
  /** Refuses, before anything is made on either side, tables that it could not keep as they are configured. */
  check(relations: readonly Relation[]): void;
  /** Makes a fresh, empty landing table, without its view, and remembers that its snapshot has begun. */
  beginSnapshot(relation: Relation, consistentPoint: Lsn): Promise<SnapshotWriter>;
  /** Shows the table to readers and remembers that its snapshot is complete. */
  endSnapshot(relation: Relation, consistentPoint: Lsn): Promise<void>;
  /** Brings a table that was snapshotted in an earlier run up to today's definition (views, marts, comments). */
  attach(relation: Relation): Promise<void>;
  openBatch(): Batch;
  /** Resolves once every row of the batch is durable. */
  store(batch: Batch): Promise<void>;
  /** Rows quarantined so far, by table id. */
  quarantined(): ReadonlyMap<string, number>;
  close(): Promise<void>;
}
