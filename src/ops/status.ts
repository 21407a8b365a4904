import type { State } from '../pipeline/state.js';

/** A failure as status shows it: the parts of a WalhouseError. */
export interface StatusError {
  readonly kind: string;
  readonly what: string;
  readonly why: string;
  readonly fix: string;
}

export interface SnapshotStatus {
  /** Rows read so far. */
  readonly rows: number;
  /** Of the planner's estimate; null while that says nothing. */
  readonly percent: number | null;
  readonly seconds_left: number | null;
}

/** `waiting` for its snapshot to begin; `resyncing` while a new copy is made beside the one that goes on, or rows are repaired; `stopped` on an error of its own while others go on. */
export const TABLE_STATES = ['waiting', 'snapshotting', 'streaming', 'resyncing', 'stopped'] as const;

export const VERIFY_VERDICTS = ['equal', 'different', 'quarantined', 'unchecked', 'not_compared'] as const;

/** What the comparison in the background found last of a table and the marts that it feeds. */
export interface VerifyStatus {
  /** When it was last compared, RFC 3339, and where; null before the first time. */
  readonly at: string | null;
  readonly position: string | null;
  /** `not_compared`: the last attempt failed, see `error`; everything else is of the one before. */
  readonly verdict: (typeof VERIFY_VERDICTS)[number];
  /** Rows that are missing, wrong or too much. */
  readonly differences: number | null;
  /** False when there are at least so many. */
  readonly complete: boolean;
  /** A comparison was asked for, or goes on. */
  readonly pending: boolean;
  readonly error: StatusError | null;
}

export interface TableStatus {
  readonly state: (typeof TABLE_STATES)[number];
  /** Row changes stored since this process began, the snapshot's rows among them. */
  readonly rows_applied: number;
  /** Rows that could not be stored exactly and wait in quarantine. */
  readonly quarantined: number;
  readonly error: StatusError | null;
  /** While `state` is `snapshotting`. */
  readonly snapshot: SnapshotStatus | null;
  /** null before the first comparison in the background, which `verify` configures or somebody asks for. */
  readonly verify: VerifyStatus | null;
}

/** The replication slot, as it was seen within the last seconds. */
export interface SlotStatus {
  /** WAL that Postgres keeps for it. */
  readonly held_bytes: number;
  /** WAL that may still be written before the slot is in danger; null where max_slot_wal_keep_size sets no limit. */
  readonly headroom_bytes: number | null;
  /** As Postgres says: `reserved`, `extended`, `unreserved` or `lost`. */
  readonly wal_status: string;
  /** Until it is in danger, if it goes on holding back more as in the last ten minutes; null while it does not, or where there is no limit. */
  readonly seconds_left: number | null;
  /** What to do before it is lost; null while all is well. */
  readonly warning: StatusError | null;
}

/** How replication stood at a moment. */
export interface StandingSample {
  /** RFC 3339. */
  readonly at: string;
  readonly lag_ms: number | null;
  readonly lag_bytes: number | null;
  /** Of all tables, since the process began; less than before only after a new copy. */
  readonly rows_applied: number;
  readonly slot_held_bytes: number | null;
}

/**
 * How replication stands: `GET /v1/replication` and `walhouse status --json` are this document.
 * Positions are WAL positions as Postgres writes them, null before they are known.
 */
export interface StatusDocument {
  /** Of this instance; `api_only`: it was told to read and not to stream. */
  readonly state: State | 'api_only';
  /** When that state began, RFC 3339, as far as this process has seen. */
  readonly since: string;
  /** The instance that writes, or did so last: host, process and address of its API. */
  readonly writer: string | null;
  /** Every transaction whose commit starts before it is in ClickHouse. */
  readonly applied_lsn: string | null;
  /** What Postgres has been told it may forget. */
  readonly confirmed_lsn: string | null;
  /** The end of the source's WAL when it was last asked. */
  readonly source_lsn: string | null;
  /** From `applied_lsn` to `source_lsn`. */
  readonly lag_bytes: number | null;
  /** How long ago what is in ClickHouse was all there was. */
  readonly lag_ms: number | null;
  /** null where there is none, or the source cannot be asked. */
  readonly slot: SlotStatus | null;
  readonly tables: Readonly<Record<string, TableStatus>>;
  /** What keeps the whole from going on; null while nothing does. */
  readonly error: StatusError | null;
  /** When the next attempt is made, RFC 3339, while `state` is `retrying` or `standby`. */
  readonly retry_at: string | null;
}
