import type { ChangeHandler } from './change.js';
import type { WalhouseError } from './errors.js';
import type { Lsn } from './lsn.js';
import type { Relation } from './relation.js';
import type { SlotHealth } from './slot-health.js';
import type { Tuple } from './tuple.js';

/** A stream of changes out of one slot. Made anew for every attempt; never restarted. */
export interface ChangeStream {
  /** Streams from the slot's confirmed position until `close` (resolves) or a failure (rejects with a WalhouseError). */
  run(handler: ChangeHandler): Promise<void>;
  /** Stops reading from the socket, so that the server waits; what was read already may still be handed over. */
  pause(): void;
  resume(): void;
  /** Tells the server that everything before `lsn` is durable, exactly `lsn` on the wire, and that we are alive. */
  confirm(lsn: Lsn): void;
  /** Like `confirm`, and asks the server to say how far it has come: a `caughtUp` follows. */
  ping(confirmed: Lsn): void;
  close(): Promise<void>;
}

/** A snapshot that a slot exported. Holds a connection until `close`. */
export interface Snapshot {
  /** Transactions whose commit starts before this are in the snapshot; all others are not. */
  readonly consistentPoint: Lsn;
  /**
   * Reads one table's rows through COPY, several ranges at once where the table is large. `onRow` is synchronous and the
   * tuple valid only during the call; `onChunk` runs after each piece that was read, and reading waits for it.
   */
  read(relation: Relation, reader: SnapshotReader): Promise<void>;
  /**
   * Reads the rows of some keys, given as texts of the key's columns in its order; `reader` as in `read`. Resolves to all those keys as
   * Postgres prints them, whether there is a row or not.
   */
  readKeys(
    relation: Relation,
    keys: readonly (readonly string[])[],
    reader: Pick<SnapshotReader, 'cut' | 'onRow'>,
  ): Promise<readonly (readonly string[])[]>;
  /** Rows according to the planner's statistics; an estimate for progress only. */
  estimateRows(relation: Relation): Promise<number>;
  close(): Promise<void>;
}

/** Rows whose date plus the time they are kept lies at or before a moment; rows without a date are never past it. */
export interface RetentionCut {
  readonly column: string;
  readonly keep: { readonly count: number; readonly unit: 'day' | 'month' | 'year' };
  /** UTC, to the microsecond: `2026-11-21 08:59:59.962001`. */
  readonly moment: string;
}

export interface SnapshotReader {
  /** Rows past it are not wanted, and not read. */
  readonly cut?: RetentionCut | undefined;
  onRow(row: Tuple): void;
  onChunk(): Promise<void> | void;
}

export interface SlotState {
  readonly confirmedLsn: Lsn;
  readonly active: boolean;
  /** Bytes of WAL that the slot holds back. */
  readonly heldBytes: bigint;
}

export interface SourceIdentity {
  /** `IDENTIFY_SYSTEM`'s systemid: tells one cluster from another behind the same address. */
  readonly systemIdentifier: string;
  readonly timeline: number;
  readonly database: string;
}

/**
 * From which commit on the changes of a table count. Earlier ones are passed over without a look at their layout, which may be that of
 * before a schema change. `unsettled`: that commit is not known yet; a change whose layout is another one is of before it.
 */
export type Since = (relation: Relation) => Lsn | 'unsettled';

/**
 * How a table's columns became those of today without a new snapshot. Changes that are older than that may have a column less, or one
 * that is gone; names alone tell which, so only what no other history of names could be taken for counts as one.
 */
export interface Evolution {
  /** Every column that changes may have, in the table's order, those that are gone among them. */
  readonly names: readonly string[];
  /** Those of them that changes may lack. */
  readonly younger: readonly string[];
  /** Changes that commit from here on have today's columns. */
  readonly until: Lsn;
}

export type Evolutions = (relation: Relation) => Evolution | null;

export interface Survey {
  readonly relations: readonly Relation[];
  readonly problems: ReadonlyMap<string, WalhouseError>;
  /** Ids of tables whose changes are not sent as configured at present, because somebody has altered the publication. */
  readonly misPublished: readonly string[];
}

/** See `Source.takeTurn`. */
export interface Turn {
  /** Lets others have it. Safe to call again. */
  end(): Promise<void>;
}

/** The Postgres side, as the pipeline sees it. */
export interface Source {
  identify(): Promise<SourceIdentity>;
  /**
   * One process at a time may begin: from finding the slot free until its stream has it. Rejects with `slot_in_use` while another
   * one has the turn or the slot. Changes nothing on the server.
   */
  takeTurn(): Promise<Turn>;
  /** The configured tables as the catalog describes them now; a table that is not there is a typed error. */
  relations(): Promise<readonly Relation[]>;
  /** The same table by table: those that cannot be followed come as errors, beside the others. */
  survey(): Promise<Survey>;
  /**
   * Creates what is missing of the publication and brings its tables up to the configuration. Before anything is altered, `onDiffering`
   * is told of tables that were not published as they are now: of what changed meanwhile, some may never have been sent.
   *
   * Resolves to those that could not be published yet, since somebody has locked them. What is one table's trouble for longer rejects
   * with that table's name; it can be left out the next time.
   */
  ensurePublication(
    onDiffering?: (ids: readonly string[]) => Promise<void>,
    without?: ReadonlySet<string>,
  ): Promise<ReadonlyMap<string, WalhouseError>>;
  /** What the slot holds back; null when it does not exist. Reads only, and whatever the slot is. */
  slotHealth(): Promise<SlotHealth | null>;
  /**
   * Up to where the WAL of an earlier timeline is in the server's history too; null when that timeline is none of the server's.
   */
  timelineEnd(timeline: number): Promise<Lsn | null>;
  /** null when the slot does not exist; a typed error when it exists and cannot be used. */
  slot(): Promise<SlotState | null>;
  /** Creates the slot and hands over the snapshot that goes with it. */
  createSlot(): Promise<Snapshot>;
  dropSlot(): Promise<void>;
  /** A snapshot for tables added later: exported by a temporary slot that is gone with it. */
  openSnapshot(): Promise<Snapshot>;
  /**
   * `since` says which changes of a table its snapshot has already; without it every change is handed over. `evolutions` says of which
   * tables older changes may have other columns.
   */
  openStream(relations: readonly Relation[], since?: Since, evolutions?: Evolutions): ChangeStream;
  /** As `currentLsn`; null on a standby server, which may not have received yet what another one has. */
  endLsn(): Promise<Lsn | null>;
  /** The source's current WAL position (flushed). */
  currentLsn(): Promise<Lsn>;
  /** Writes a small logical message, so that an idle source's WAL moves on. */
  heartbeat(): Promise<void>;
  close(): Promise<void>;
}
