import type { WalhouseError } from '../pipeline/errors.js';
import { formatLsn, type Lsn } from '../pipeline/lsn.js';
import { bytesBetween, type Progress } from '../pipeline/progress.js';
import type { Replicator } from '../pipeline/replicator.js';
import type { Sink, StoredState } from '../pipeline/sink.js';
import { rowsApplied, snapshotProgress, type TableReport } from '../pipeline/table-report.js';
import type { SourceWatch } from './source-watch.js';
import type { SlotStatus, StatusDocument, StatusError, TableStatus, VerifyStatus } from './status.js';
import type { StandingHistory } from './standing-history.js';
import type { StoredPositions } from './stored-positions.js';

export interface StatusOptions {
  /** null in an instance that only reads. */
  readonly replicator: Replicator | null;
  readonly stored: StoredPositions;
  readonly sink: Sink;
  readonly source: Pick<SourceWatch, 'slot' | 'warning'>;
  /** As configured. */
  readonly tables: readonly string[];
  /** What the comparison in the background found. */
  readonly verified?: ReadonlyMap<string, VerifyStatus> | undefined;
  readonly history: StandingHistory;
}

/** What a table's stored state is called where nothing more is known of it. */
const BY_STORED_STATE: Readonly<Record<StoredState, TableStatus['state']>> = {
  snapshotting: 'snapshotting',
  streaming: 'streaming',
  resync: 'resyncing',
  switching: 'resyncing',
  stopped: 'stopped',
};

/**
 * How replication stands now, as the API, the command line and the dashboard show it: of the instance that writes what it knows itself,
 * of any other what it finds stored.
 */
export function statusOf(options: StatusOptions, nowMs: number = Date.now()): StatusDocument {
  const { replicator, stored, history } = options;
  const state: StatusDocument['state'] = replicator?.state ?? 'api_only';
  const standing = {
    state,
    since: history.since(state),
    writer: stored.owner?.instance ?? null,
    slot: slotStatus(options),
  };
  if (replicator === null) return { ...standing, ...statusOfStored(options) };
  const { waiting } = replicator;
  const retryAt = waiting === null ? null : new Date(waiting.untilMs).toISOString();
  const ofWriting =
    state === 'standby' || (state === 'starting' && replicator.progress.durable === null)
      ? statusOfStored(options)
      : statusOfWriter(options, replicator, nowMs);
  return { ...standing, ...ofWriting, error: errorStatus(replicator.error), retry_at: retryAt };
}

type Standing = Omit<StatusDocument, 'state' | 'since' | 'writer' | 'slot'>;

function statusOfWriter(
  { sink, stored, verified }: StatusOptions,
  replicator: Replicator,
  nowMs: number,
): Standing {
  const quarantined = sink.quarantined();
  const tables: Record<string, TableStatus> = {};
  for (const [id, table] of replicator.tables)
    tables[id] = {
      ...tableStatus(table, quarantined.get(id) ?? 0, nowMs),
      verify: verified?.get(id) ?? null,
    };
  const { durable, confirmed, sourceEnd, lagMs } = replicator.progress;
  // Without a stream it is looked at from outside, so that the lag grows on while nobody streams.
  const seen = newest(sourceEnd, stored.progress.sourceEnd);
  const progress = { durable, confirmed, sourceEnd: seen, lagBytes: bytesBetween(durable, seen), lagMs };
  return { ...progressOf(progress), tables, error: null, retry_at: null };
}

function statusOfStored({ stored, sink, tables: configured }: StatusOptions): Standing {
  const quarantined = sink.quarantined();
  const tables: Record<string, TableStatus> = {};
  for (const id of configured) {
    const state = stored.tables.find((table) => table.id === id)?.state;
    tables[id] = {
      state: state === undefined ? 'waiting' : BY_STORED_STATE[state],
      rows_applied: 0,
      quarantined: quarantined.get(id) ?? 0,
      error: null,
      snapshot: null,
      verify: null,
    };
  }
  return { ...progressOf(stored.progress), tables, error: errorStatus(stored.failure), retry_at: null };
}

function slotStatus({ source: { slot, warning }, history }: StatusOptions): SlotStatus | null {
  if (slot === null) return null;
  const status = {
    held_bytes: Number(slot.heldBytes),
    headroom_bytes: slot.headroomBytes === null ? null : Number(slot.headroomBytes),
    wal_status: slot.walStatus,
    seconds_left: null,
    warning,
  };
  return { ...status, seconds_left: history.secondsLeft(status) };
}

function progressOf(progress: Pick<Progress, 'durable' | 'confirmed' | 'sourceEnd' | 'lagBytes' | 'lagMs'>) {
  return {
    applied_lsn: lsnText(progress.durable),
    confirmed_lsn: lsnText(progress.confirmed),
    source_lsn: lsnText(progress.sourceEnd),
    lag_bytes: progress.lagBytes === null ? null : Number(progress.lagBytes),
    lag_ms: progress.lagMs,
  };
}

function tableStatus(table: TableReport, quarantined: number, nowMs: number): Omit<TableStatus, 'verify'> {
  const progress = table.snapshot === null ? null : snapshotProgress(table.snapshot, nowMs);
  return {
    // Rows of a moment ago are on their way beside the stream, as they are while a table is copied.
    state: table.repairing && table.state === 'streaming' ? 'resyncing' : table.state,
    rows_applied: rowsApplied(table) + (progress?.rows ?? 0),
    quarantined,
    error: errorStatus(table.error),
    snapshot:
      progress === null
        ? null
        : { rows: progress.rows, percent: progress.percent, seconds_left: progress.secondsLeft },
  };
}

function errorStatus(error: WalhouseError | null): StatusError | null {
  return error === null ? null : { kind: error.kind, what: error.what, why: error.why, fix: error.fix };
}

function newest(a: Lsn | null, b: Lsn | null): Lsn | null {
  return a === null || (b !== null && b > a) ? b : a;
}

function lsnText(lsn: Lsn | null): string | null {
  return lsn === null ? null : formatLsn(lsn);
}
