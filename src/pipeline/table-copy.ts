import { failpoint } from './failpoint.js';
import type { Log } from './log.js';
import type { Relation } from './relation.js';
import type { SnapshotWriter } from './sink.js';
import type { Snapshot } from './source.js';
import { snapshotProgress, type TableReport } from './table-report.js';

/** How often a running snapshot is logged. */
const LOG_MS = 5_000;

/** Brings the rows of one table from a snapshot to its writer, and keeps the report up to date. */
export async function copyTable(parts: {
  readonly snapshot: Snapshot;
  readonly relation: Relation;
  readonly openWriter: () => Promise<SnapshotWriter>;
  readonly report: TableReport;
  /** Throws when it should go no further. */
  readonly check: () => void;
  readonly now: () => number;
  readonly log: Log;
}): Promise<void> {
  const { snapshot, relation, report, check, now, log } = parts;
  const estimate = Math.max(0, await snapshot.estimateRows(relation));
  const startedAtMs = now();
  report.snapshot = { rows: 0, estimate, startedAtMs };
  const writer = await parts.openWriter();
  let loggedAtMs = startedAtMs;
  await snapshot.read(relation, {
    cut: writer.cut,
    onRow: (row) => writer.add(row),
    onChunk: async () => {
      check();
      await writer.flush(false);
      failpoint('mid_snapshot');
      report.snapshot = { rows: writer.rows, estimate, startedAtMs };
      if (now() - loggedAtMs < LOG_MS) return;
      loggedAtMs = now();
      log.info({ table: relation.id, ...snapshotProgress(report.snapshot, loggedAtMs) }, 'snapshot runs');
    },
  });
  await writer.flush(true);
  report.snapshot = null;
  report.rowsCopied += writer.rows;
  log.info(
    { table: relation.id, rows: writer.rows, ms: now() - startedAtMs },
    'snapshot of a table is complete',
  );
}
