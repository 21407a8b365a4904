import { failpoint } from './failpoint.js';
import type { Log } from './log.js';
import type { Relation } from './relation.js';
import type { Sink } from './sink.js';
import type { Snapshot } from './source.js';
import { copyTable } from './table-copy.js';
import type { TableReport } from './table-report.js';

/** How many tables are snapshotted at once. */
const SNAPSHOTS_AT_ONCE = 2;

export interface FirstSnapshots {
  readonly sink: Sink;
  readonly snapshot: Snapshot;
  readonly report: (relation: Relation) => TableReport;
  /** Throws when it should go no further. */
  readonly check: () => void;
  readonly now: () => number;
  readonly log: Log;
}

/** Brings tables over before there is a stream, all from one snapshot. */
export async function snapshotFirst(relations: readonly Relation[], parts: FirstSnapshots): Promise<void> {
  const queue = [...relations];
  const workers = Array.from({ length: Math.min(SNAPSHOTS_AT_ONCE, queue.length) }, async () => {
    for (let relation = queue.shift(); relation !== undefined; relation = queue.shift()) {
      await snapshotTable(relation, parts);
    }
  });
  const results = await Promise.allSettled(workers);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

async function snapshotTable(relation: Relation, parts: FirstSnapshots): Promise<void> {
  const { sink, snapshot, check, now, log } = parts;
  const { consistentPoint } = snapshot;
  const report = parts.report(relation);
  report.state = 'snapshotting';
  await copyTable({
    snapshot,
    relation,
    openWriter: () => sink.beginSnapshot(relation, consistentPoint),
    report,
    check,
    now,
    log,
  });
  await sink.endSnapshot(relation, consistentPoint);
  report.state = 'streaming';
  report.exactFrom = consistentPoint;
  failpoint('between_snapshots');
}
