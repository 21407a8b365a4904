import { hashOf, type ReportStore, type StoredReport } from '../../sink/report-store.js';
import type { ChainedReport, Report } from './report.js';

/** Stores a report behind the last one. */
export async function appendReport(store: ReportStore, report: Report): Promise<ChainedReport> {
  return chained(await store.append(report));
}

/** What is wrong with the chain; `problem` is null where every report is there as it was stored. */
export interface ChainCheck {
  readonly reports: number;
  /** Of the last report; empty where there is none. Whoever keeps it elsewhere also notices when the newest are missing. */
  readonly hash: string;
  readonly problem: string | null;
}

/**
 * Looks whether each report has the hash of its text and names that of the one before. `last` is a hash that was noted earlier: it must
 * still be in the chain.
 */
export function checkChain(stored: readonly StoredReport[], last?: string): ChainCheck {
  const hash = stored.at(-1)?.hash ?? '';
  return { reports: stored.length, hash, problem: problemOf(stored, last) };
}

function problemOf(stored: readonly StoredReport[], last: string | undefined): string | null {
  let before = '';
  for (const [index, { number, document, hash }] of stored.entries()) {
    if (number !== index + 1) {
      return number <= index
        ? `there are two reports with number ${number}`
        : `report ${index + 1} is missing`;
    }
    if (hashOf(document) !== hash) return `report ${number} is not as it was stored`;
    const fields = JSON.parse(document) as { number: number; previous: string };
    if (fields.number !== number) return `report ${number} calls itself ${fields.number}`;
    if (fields.previous !== before) return `report ${number} does not follow the report before it`;
    before = hash;
  }
  if (last !== undefined && !stored.some(({ hash }) => hash === last))
    return `no report has the hash ${last}`;
  return null;
}

export function chained({ document, hash }: StoredReport): ChainedReport {
  const { number, previous, ...report } = JSON.parse(document) as {
    number: number;
    previous: string;
  } & Report;
  return { number, previous, report, hash };
}
