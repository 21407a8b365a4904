import type { PurgedHolder } from '../../sink/purge.js';

/** What one table in ClickHouse held, and holds. */
export interface ReportedTable {
  /** `database.table`. */
  readonly name: string;
  readonly kind: PurgedHolder['kind'];
  /** The source table whose rows it holds. */
  readonly of: string;
  readonly before: ReportedParts;
  /** Read from all parts, once none was left that had been replaced. */
  readonly after: ReportedParts;
  /** Why it cannot be said that nothing is left; null where all was read. */
  readonly unproven: string | null;
}

export interface ReportedParts {
  /** Versions of rows in active parts, tombstones included. */
  readonly versions: number;
  readonly inactive_parts: number;
  readonly detached_parts: number;
}

interface ReportBase {
  readonly command: string;
  readonly walhouse: string;
  readonly database: string;
  /** ISO 8601, UTC, by our clock. */
  readonly started_at: string;
  readonly finished_at: string;
  /** Nothing is left, and everything could be read. */
  readonly proven: boolean;
  readonly tables: readonly ReportedTable[];
}

export interface RetentionReport extends ReportBase {
  readonly kind: 'retention';
  /** What expired up to this moment by ClickHouse's clock is gone; UTC. */
  readonly moment: string;
}

export interface ErasureReport extends ReportBase {
  readonly kind: 'erase';
  readonly table: string;
  /** SHA-256 over the reference that was printed, the table and the key: whoever has both can tell whom it is about. */
  readonly subject: string;
  /** Rows that were erased, by source table; `kept` ones belong to others now and have lost what they were before. */
  readonly rows: Readonly<Record<string, { readonly erased: number; readonly kept: number }>>;
  /** Every change before this WAL position has been applied and is not delivered again. */
  readonly position: string;
  /** Rows that the source still had, by source table. */
  readonly in_source: Readonly<Record<string, number>>;
}

/** Holds no personal data: neither keys nor values. */
export type Report = RetentionReport | ErasureReport;

/** A report as it is stored: each carries the hash of the one before. */
export interface ChainedReport {
  readonly number: number;
  /** SHA-256 of the document before, in hexadecimal; empty in the first. */
  readonly previous: string;
  readonly report: Report;
  /** SHA-256 of this one's text. */
  readonly hash: string;
}

export function reportedTables(holders: readonly PurgedHolder[]): ReportedTable[] {
  const parts = (found: PurgedHolder['before']): ReportedParts => ({
    versions: found.versions,
    inactive_parts: found.inactiveParts,
    detached_parts: found.detachedParts,
  });
  return holders.map(({ name, kind, of, before, after, unproven }) => ({
    name,
    kind,
    of,
    before: parts(before),
    after: parts(after),
    unproven,
  }));
}
