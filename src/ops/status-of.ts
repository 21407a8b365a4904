import type { WalhouseError } from '../pipeline/errors.js';
import { formatLsn, type Lsn } from '../pipeline/lsn.js';
import type { Replicator } from '../pipeline/replicator.js';
import type { Sink } from '../pipeline/sink.js';
import { snapshotProgress, type TableReport } from '../pipeline/table-report.js';
import type { StatusDocument, StatusError, TableStatus } from './status.js';

/** How replication stands now, as the API, the command line and the dashboard show it. */
export function statusOf(replicator: Replicator, sink: Sink, nowMs: number = Date.now()): StatusDocument {
  const { progress, waiting } = replicator;
  const quarantined = sink.quarantined();
  const tables: Record<string, TableStatus> = {};
  for (const [id, table] of replicator.tables)
    tables[id] = tableStatus(table, quarantined.get(id) ?? 0, nowMs);
  return {
    state: replicator.state,
    applied_lsn: lsnText(progress.durable),
    confirmed_lsn: lsnText(progress.confirmed),
    source_lsn: lsnText(progress.sourceEnd),
    lag_bytes: progress.lagBytes === null ? null : Number(progress.lagBytes),
    lag_ms: progress.lagMs,
    tables,
    error: errorStatus(replicator.error),
    retry_at: waiting === null ? null : new Date(waiting.untilMs).toISOString(),
  };
}

function tableStatus(table: TableReport, quarantined: number, nowMs: number): TableStatus {
  const progress = table.snapshot === null ? null : snapshotProgress(table.snapshot, nowMs);
  return {
    state: table.state,
    rows_applied: table.rowsApplied + (progress?.rows ?? 0),
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

function lsnText(lsn: Lsn | null): string | null {
  return lsn === null ? null : formatLsn(lsn);
}
