import type { TransactionStart } from './change.js';
import type { WalhouseError } from './errors.js';
import type { Lsn } from './lsn.js';
import type { Relation } from './relation.js';
import type { Evolution, RetentionCut, SourceIdentity } from './source.js';
import type { Span } from './tracer.js';
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
  /** Rows past it could be seen by nobody; by the sink's clock, taken once for the whole snapshot. */
  readonly cut?: RetentionCut | undefined;
  readonly rows: number;
  add(row: Tuple): void;
  /** Inserts what was added when it is much, or `force`; memory stays bounded when it is awaited after every chunk. */
  flush(force: boolean): Promise<void>;
}

/** The source's rows of some keys, on their way into what people read. */
export interface RepairWriter {
  /** As a snapshot's. */
  readonly cut?: RetentionCut | undefined;
  readonly bytes: number;
  /** A row that the source has. */
  add(row: Tuple): void;
  /**
   * Looks what is stored under these keys, in landing and in the marts over it; for when all before the snapshot is stored. They are texts
   * of the key's columns as Postgres prints them, and those of which the source has no row are among them.
   */
  look(keys: readonly (readonly string[])[]): Promise<void>;
  /**
   * Stores the rows, and tombstones for what was found, as one insert. For a moment in which nothing else is stored. `durable`: versions
   * from there on are nobody's commit.
   */
  store(durable: Lsn): Promise<Repaired>;
}

/** How many rows were stored and hidden, and how many keys have versions above everything that was ever committed. */
export interface Repaired {
  readonly rows: number;
  readonly hidden: number;
  readonly beyond: number;
}

/**
 * What is remembered of a table: `streaming` is complete; `resync` is complete and wanted anew; `switching` is about to give
 * its place to a new copy; `snapshotting` and `stopped` have no copy that could take changes.
 */
export type StoredState = 'snapshotting' | 'streaming' | 'stopped' | 'resync' | 'switching';

export interface StoredTable {
  readonly id: string;
  readonly state: StoredState;
  /** The consistent point its snapshot was taken at. */
  readonly snapshotLsn: Lsn;
}

/** What became of a table that an earlier run left. */
export interface Attached {
  /** The copy that people read takes today's changes. */
  readonly live: boolean;
  /** It has to be snapshotted anew, behind the readers' backs. */
  readonly stale: boolean;
  /** A mart over it was made from what landing holds now, which may be ahead of the checkpoint. */
  readonly rebuilt: boolean;
  /** The consistent point of the live copy, or a later position up to which its changes are not to come again. */
  readonly snapshotLsn: Lsn;
  /** Changes that commit before are passed over: they are in the copy, and may have columns of a time that it has left behind. */
  readonly since: Lsn;
  /** Where later changes may have other columns than today's. */
  readonly evolution: Evolution | null;
}

/** What ClickHouse remembers between runs. */
export interface Checkpoint {
  readonly identity: SourceIdentity;
  readonly slot: string;
  /** Every transaction whose commit starts before this is stored in every table. */
  readonly appliedLsn: Lsn;
  /** When the last of them was committed; null before the first. Microseconds since 1970 UTC. */
  readonly committedAtUs: bigint | null;
  /** Tables that are, with the marts over them, what the source was at `appliedLsn`; others are on their way, or stand still. */
  readonly exact: readonly string[];
  /** How long ago, when this was saved, `appliedLsn` was known to be all there was; null where that was not known. */
  readonly lagMs: number | null;
}

/**
 * For so long a position that was found stored may be used for a question, from before it was asked for until the answer is there.
 * Whatever makes an older position untrue waits for longer, after the newer one is stored.
 */
export const QUESTION_MS = 2_500;

/** What any process that can read ClickHouse finds there. */
export interface Stored {
  /** The process that writes, or did so last; null where none ever has. */
  readonly owner: StoredOwner | null;
  /** null where nothing is stored completely. `ageMs`: since it was saved, on ClickHouse's clock. */
  readonly checkpoint: (Checkpoint & { readonly ageMs: number }) | null;
}

export interface StoredOwner {
  /** It is this process. */
  readonly isUs: boolean;
  readonly epoch: number;
  /** Host, process and address of its API. */
  readonly instance: string;
}

/** The ClickHouse side, as the pipeline sees it. Every method is safe to call again after a failure. */
export interface Sink {
  /**
   * Creates databases and Walhouse's own tables; refuses a server it cannot work with. From then on this process is the one that
   * writes: what an earlier one still sends is turned away, and its calls fail with `sink_taken_over`.
   */
  open(): Promise<void>;
  /** Reads who writes and how far it is; works without `open`, and changes nothing. */
  stored(): Promise<Stored>;
  loadCheckpoint(): Promise<Checkpoint | null>;
  saveCheckpoint(checkpoint: Checkpoint, span?: Span | null): Promise<void>;
  /** Works without `open`, as `stored` does. */
  loadTables(): Promise<readonly StoredTable[]>;
  /** Refuses, before anything is made on either side, tables that it could not keep as they are configured. */
  check(relations: readonly Relation[]): void;
  /** Tables whose names somebody else's tables or views have in ClickHouse, by id; nothing of theirs is ever replaced. */
  taken(relations: readonly Relation[]): Promise<ReadonlyMap<string, WalhouseError>>;
  /**
   * Makes an empty stage: a copy of the table, and of the marts over it, beside those that people read. Batches stored from now on
   * fill it too; with `live` they go on into the readers' copy, else that stays as it is.
   */
  openStage(relation: Relation, live: boolean): Promise<void>;
  /** The snapshot's way into the stage, which is made where there is none. */
  beginSnapshot(relation: Relation, consistentPoint: Lsn): Promise<SnapshotWriter>;
  /** Something came that the stage cannot take in order while it fills: it must be made again. */
  stageSpoilt(relation: Relation): boolean;
  /** Whether readers of marts could notice the moment of the switch, if they took their position before the consistent point. */
  stageHasMarts(relation: Relation): boolean;
  /**
   * Puts the stage in the place of what people read, marts included, and remembers that the snapshot is complete. Nothing
   * may be stored meanwhile, and all before `consistentPoint` must be.
   */
  endSnapshot(relation: Relation, consistentPoint: Lsn): Promise<void>;
  /** Tells one life of the copy that people read from the next: another one after a truncate, a stage, a switch or an attachment. */
  copyOf(relation: Relation): number;
  /** Rows that go into what people read, as those of a snapshot at `consistentPoint` would. */
  beginRepair(relation: Relation, consistentPoint: Lsn): Promise<RepairWriter>;
  /**
   * Brings a table that was snapshotted in an earlier run up to today's definition (columns, views, marts, comments). `applied`: all before
   * it is stored; `seen`: where the source stood after the relation was looked at.
   */
  attach(relation: Relation, moment: { readonly applied: Lsn; readonly seen: Lsn }): Promise<Attached>;
  /** Remembers the relation's stamp: what it tells of happened to the same rows. */
  noteStamp(relation: Relation): Promise<void>;
  /** Remembers that these tables are to be snapshotted anew; with `copy: 'unfit'` what is stored takes no changes until then. */
  markStale(ids: readonly string[], copy: 'fit' | 'unfit'): Promise<void>;
  /** Forgets up to where everything is stored: the next run begins with snapshots of every table. */
  forgetCheckpoint(): Promise<void>;
  openBatch(): Batch;
  /** Resolves once every row of the batch is durable. What is done for it becomes part of `span`. */
  store(batch: Batch, span?: Span | null): Promise<void>;
  /** Rows quarantined so far, by table id. */
  quarantined(): ReadonlyMap<string, number>;
  /** Waits no longer for answers: the calls under way reject, and nobody knows what has become of them. */
  breakOff(): void;
  close(): Promise<void>;
}
