import { WalhouseError } from './errors.js';
import type { Log } from './log.js';
import type { Lsn } from './lsn.js';
import type { Relation } from './relation.js';
import type { Sink } from './sink.js';
import type { Survey } from './source.js';
import { newReport, type Operation, type TableReport } from './table-report.js';

/** How each configured table stands. */
export class TableReports {
  readonly #reports = new Map<string, TableReport>();
  readonly #log: Log;
  #dropped: ReadonlySet<string> = new Set();

  constructor(log: Log) {
    this.#log = log;
  }

  get all(): ReadonlyMap<string, TableReport> {
    return this.#reports;
  }

  /** Tables that were configured until the last look at what can be followed. */
  get dropped(): ReadonlySet<string> {
    return this.#dropped;
  }

  /** The table's report, made where there is none. */
  of(id: string): TableReport {
    const known = this.#reports.get(id);
    if (known !== undefined) return known;
    const report = newReport();
    this.#reports.set(id, report);
    return report;
  }

  /** Whether what is stored of each of these tables equals the source at `durable`. */
  consistentAt(durable: Lsn | null, ids: readonly string[]): boolean {
    if (durable === null || this.#reports.size === 0 || durable < this.exactFrom(ids)) return false;
    return ids.every((id) => {
      const state = this.#reports.get(id)?.state;
      return state === 'streaming' || state === 'resyncing';
    });
  }

  /** The tables of which that is so. */
  exactAt(durable: Lsn | null): string[] {
    return [...this.#reports.keys()].filter((id) => this.consistentAt(durable, [id]));
  }

  /** The newest of the positions before which one of these tables is ahead of the others. */
  exactFrom(ids: readonly string[] = [...this.#reports.keys()]): Lsn {
    let newest = 0n;
    for (const id of ids) {
      const exactFrom = this.#reports.get(id)?.exactFrom ?? null;
      if (exactFrom !== null && exactFrom > newest) newest = exactFrom;
    }
    return newest;
  }

  count(relation: Relation, operation: Operation): void {
    const report = this.#reports.get(relation.id);
    if (report !== undefined) report.changes[operation]! += 1;
  }

  /**
   * The tables that can be followed. Before anything was ever stored one that cannot is refused; later (`isolate`) it stops alone, and
   * is snapshotted anew once it can be followed again. That may be all of them: the slot still moves on, and the catalog is looked at.
   * Reports of tables that are not configured any more are dropped.
   */
  async followable(survey: Survey, sink: Sink, isolate: boolean): Promise<readonly Relation[]> {
    const problems = new Map([...survey.problems, ...(await sink.taken(survey.relations))]);
    const relations = survey.relations.filter((relation) => {
      if (problems.has(relation.id)) return false;
      try {
        sink.check([relation]);
        return true;
      } catch (error) {
        if (!(error instanceof WalhouseError)) throw error;
        problems.set(relation.id, error);
        return false;
      }
    });
    const [first] = problems.values();
    if (first !== undefined && !isolate) throw first;
    const gone = [...this.#reports.keys()].filter(
      (id) => !problems.has(id) && !relations.some((relation) => relation.id === id),
    );
    for (const id of gone) this.#reports.delete(id);
    this.#dropped = new Set(gone);
    for (const [id, error] of problems) this.stop(id, error);
    return relations;
  }

  /** The table is not followed, and why; `waiting` where that passes by itself. Said once. */
  stop(id: string, error: WalhouseError, state: 'stopped' | 'waiting' = 'stopped'): void {
    const report = this.of(id);
    if (report.error?.message !== error.message) {
      const level = state === 'stopped' ? 'error' : 'warn';
      this.#log[level]({ table: id, kind: error.kind }, error.message);
    }
    report.state = state;
    report.error = error;
  }
}
