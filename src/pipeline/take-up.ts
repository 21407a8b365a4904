import { lookOf } from './catalog-watch.js';
import { WalhouseError } from './errors.js';
import type { Log } from './log.js';
import type { Lsn } from './lsn.js';
import { refuseGap } from './refusals.js';
import type { Relation } from './relation.js';
import type { Checkpoint, Sink } from './sink.js';
import type { Evolution, Since, Source } from './source.js';
import type { TableReport } from './table-report.js';
import type { TableReports } from './table-reports.js';

/** What is known of tables, by id, beside how they stand. */
export class TableFacts {
  /** From which commit on their changes count. */
  readonly since = new Map<string, ReturnType<Since>>();
  /** How their columns came to be what they are. */
  readonly evolutions = new Map<string, Evolution>();
  /** How they looked when a change came that did not fit. */
  readonly doubted = new Map<string, string>();
}

/** What the steps before an attachment work with. */
export interface TakeUp {
  readonly source: Source;
  readonly sink: Sink;
  readonly tables: TableReports;
  readonly facts: TableFacts;
  readonly slot: string;
  readonly log: Log;
}

/**
 * Has the tables published. Once something was stored (`isolate`), a table that cannot be is left out and says why; `soon` when that
 * passes by itself, so that it is to be tried again.
 */
export async function publish(
  { source, sink, tables }: TakeUp,
  relations: readonly Relation[],
  isolate: boolean,
): Promise<{ readonly relations: readonly Relation[]; readonly soon: boolean }> {
  const left = new Map<string, WalhouseError>();
  for (;;) {
    try {
      const onDiffering = (ids: readonly string[]): Promise<void> => sink.markStale(ids, 'unfit');
      for (const [id, error] of await source.ensurePublication(onDiffering, new Set(left.keys())))
        left.set(id, error);
      break;
    } catch (error) {
      const own = error instanceof WalhouseError && error.table !== null && !left.has(error.table);
      if (!isolate || !own) throw error;
      left.set(error.table, error);
    }
  }
  const [first] = left.values();
  if (first !== undefined && !isolate) throw first;
  let soon = false;
  for (const [id, error] of left) {
    const passes = error.policy === 'retry' || error.kind === 'schema_changed';
    tables.stop(id, error, passes ? 'waiting' : 'stopped');
    soon ||= passes;
  }
  return { relations: relations.filter(({ id }) => !left.has(id)), soon };
}

/**
 * Takes up what an earlier run, or an earlier attachment, left. Tables that need a new copy get it once the stream runs. `rebuilt`: those
 * over which a mart was made anew, from what landing holds now. `seen`: a position of after the look at the catalog.
 */
export async function takeUp(
  { source, sink, tables, facts, slot, log }: TakeUp,
  relations: readonly Relation[],
  checkpoint: Checkpoint,
  seen: Lsn,
): Promise<{ readonly appliedLsn: Lsn; readonly rebuilt: readonly TableReport[] }> {
  const rebuilt: TableReport[] = [];
  for (const relation of relations) {
    const report = tables.of(relation.id);
    // A change that the table as it is now does not explain: only a new copy can.
    if (facts.doubted.get(relation.id) === lookOf(relation)) await sink.markStale([relation.id], 'unfit');
    facts.doubted.delete(relation.id);
    const attached = await sink.attach(relation, { applied: checkpoint.appliedLsn, seen });
    const { live, stale, snapshotLsn, since, evolution } = attached;
    report.state = live ? (stale ? 'resyncing' : 'streaming') : 'waiting';
    report.snapshot = null;
    report.error = null;
    report.exactFrom = live ? snapshotLsn : null;
    // A mart that was made anew by a run that ended soon after may still be ahead of what is applied.
    if (attached.rebuilt || (live && !checkpoint.exact.includes(relation.id))) rebuilt.push(report);
    facts.since.set(relation.id, live ? since : 'unsettled');
    if (evolution === null) facts.evolutions.delete(relation.id);
    else facts.evolutions.set(relation.id, evolution);
  }
  refuseGap(slot, checkpoint, (await source.slot())?.confirmedLsn ?? null);
  const left: string[] = [];
  for (const { id, state } of await sink.loadTables()) {
    if (relations.some((relation) => relation.id === id)) continue;
    if (state !== 'stopped') left.push(id);
    else if (!tables.dropped.has(id)) continue;
    if (tables.all.has(id)) continue;
    log.warn(
      { table: id },
      'a table is not configured any more: its rows stay as they are and are not kept up to date',
    );
  }
  if (left.length > 0) await sink.markStale(left, 'unfit');
  return { appliedLsn: checkpoint.appliedLsn, rebuilt };
}
