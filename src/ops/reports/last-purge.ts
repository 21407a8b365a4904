import type { ReportStore } from '../../sink/report-store.js';
import { chained } from './chain.js';

/** The last time that `walhouse retention` removed what was past its retention. ClickHouse removes it by itself too, and writes no report. */
export interface LastPurge {
  readonly report: number;
  /** RFC 3339. */
  readonly at: string;
  /** Nothing was left, and everything could be read. */
  readonly proven: boolean;
  /** Versions of rows that were found and removed. */
  readonly versions: number;
}

/** null where none was ever asked for. */
export async function lastPurge(store: ReportStore): Promise<LastPurge | null> {
  const last = (await store.list()).map(chained).findLast(({ report }) => report.kind === 'retention');
  if (last === undefined) return null;
  const { number, report } = last;
  return {
    report: number,
    at: report.finished_at,
    proven: report.proven,
    versions: report.tables.reduce((sum, { before, after }) => sum + before.versions - after.versions, 0),
  };
}
