import type { TableRepair } from './repair.js';
import type { ColumnFindings } from './compared-table.js';
import type { KeyTexts } from './statements.js';
import type { MartReport } from './verify-marts.js';

/**
 * `equal`: every row that stood still long enough is the same on both sides. `quarantined`: so are all but those that ClickHouse could not
 * hold. `unchecked`: so are all values but those of columns that have no common form. `not_compared`: nothing is known, see `error`.
 */
export type Verdict = 'equal' | 'different' | 'quarantined' | 'unchecked' | 'not_compared';

export interface TableReport {
  /** `schema.name`. */
  readonly table: string;
  readonly verdict: Verdict;
  /** The WAL position of the first pass, over all rows. */
  readonly position: string | null;
  readonly rows_postgres: number;
  readonly rows_clickhouse: number;
  /** Rows of Postgres that ClickHouse does not show. */
  readonly missing: number;
  /** Rows that ClickHouse shows and Postgres does not have, a second row of one key among them. */
  readonly extra: number;
  readonly different: number;
  /** How many of the different rows differ in which column. */
  readonly different_columns: Readonly<Record<string, number>>;
  readonly columns: ColumnFindings;
  /** Some of the keys, never other values. */
  readonly samples: Readonly<Record<'missing' | 'extra' | 'different' | 'in_flux', readonly KeyTexts[]>>;
  /** Rows that were changed again in every pass, and so were never compared. */
  readonly in_flux: number;
  /** Rows that are missing because they are in quarantine. */
  readonly quarantined: number;
  /** False when so much differs that looking was given up: the counts are then the least there is. */
  readonly complete: boolean;
  /** Over all rows first, then over the keys that had changed meanwhile. */
  readonly passes: number;
  /** Rows of both sides that were set against each other one by one. */
  readonly rows_by_key: number;
  /** How long Postgres was busy with it, over all connections. */
  readonly source_seconds: number;
  readonly seconds: number;
  readonly error: {
    readonly kind: string;
    readonly what: string;
    readonly why: string;
    readonly fix: string;
  } | null;
}

/** What `walhouse verify --json` prints. */
export interface VerifyReport {
  readonly equal: boolean;
  readonly tables: readonly TableReport[];
  /** Those that the tables feed. */
  readonly marts: readonly MartReport[];
  readonly seconds: number;
}

const LABELS: Readonly<Record<Verdict, string>> = {
  equal: 'equal',
  different: 'DIFFERENT',
  quarantined: 'QUARANTINED ROWS',
  unchecked: 'UNCHECKED COLUMNS',
  not_compared: 'NOT COMPARED',
};

/** The report for a person: one line a table, and under it what is not as it should be. */
export function reportText(report: VerifyReport): string {
  const width = Math.max(5, ...report.tables.map(({ table }) => table.length));
  const lines = report.tables.flatMap((table) => [headline(table, width), ...details(table)]);
  lines.push(...report.marts.flatMap(martLines));
  lines.push(report.equal ? `All equal, in ${report.seconds} s.` : `Not all equal, in ${report.seconds} s.`);
  return `${lines.join('\n')}\n`;
}

/** What was done, and how it stands now. */
export function repairText(repairs: readonly TableRepair[], after: VerifyReport): string {
  if (repairs.length === 0) return 'There is nothing that storing rows anew would mend.\n';
  const lines = repairs.map(({ table, by, why, keys, rows, hidden }) =>
    by === 'copy'
      ? `repaired ${table}: copied anew, since ${why}`
      : `repaired ${table}: ${keys.toLocaleString('en')} keys, ${rows.toLocaleString('en')} rows stored anew, ${hidden.toLocaleString('en')} hidden`,
  );
  return `${lines.join('\n')}\nVerified again:\n${reportText(after)}`;
}

function martLines(mart: MartReport): string[] {
  const name = `mart ${mart.mart}`;
  if (mart.error !== null) {
    return [`${name}  NOT COMPARED`, `  ${mart.error.what} ${mart.error.why}`, `  fix: ${mart.error.fix}`];
  }
  if (mart.verdict === 'unchecked') return [`${name}  unchecked: its rows bear no version (${mart.feed})`];
  const counts: readonly (readonly [number, string])[] = [
    [mart.missing, 'missing'],
    [mart.extra, 'without a row behind them'],
    [mart.different, 'different'],
  ];
  const lines = [
    `${name}  ${LABELS[mart.verdict]}  ${mart.rows.toLocaleString('en')} rows at ${mart.position} from ${mart.feed}`,
    ...counts
      .filter(([count]) => count > 0)
      .map(([count, what]) => `  ${count.toLocaleString('en')} ${what}`),
  ];
  if (mart.samples.length > 0) lines.push(`  of ${mart.tables.join(', ')}: ${keys(mart.samples)}`);
  if (mart.in_flux > 0)
    lines.push(`  ${mart.in_flux.toLocaleString('en')} changed in every pass and were not compared`);
  return lines;
}

function headline(table: TableReport, width: number): string {
  const rows = `${table.rows_postgres.toLocaleString('en')} rows`;
  const at = table.position === null ? '' : ` at ${table.position}`;
  const counts = table.verdict === 'not_compared' ? '' : `  ${rows}${at} in ${table.seconds} s`;
  return `${table.table.padEnd(width)}  ${LABELS[table.verdict]}${counts}`;
}

function details(table: TableReport): string[] {
  const lines: string[] = [];
  const count = (kind: 'missing' | 'extra' | 'different', what: string): void => {
    if (table[kind] === 0) return;
    lines.push(
      `  ${table.complete ? '' : 'at least '}${table[kind].toLocaleString('en')} ${what}: ${keys(table.samples[kind])}`,
    );
  };
  count('missing', 'missing in ClickHouse');
  count('extra', 'in ClickHouse only');
  count('different', 'different');
  const columns = Object.entries(table.different_columns).map(([name, rows]) => `${name} (${rows})`);
  if (columns.length > 0) lines.push(`  they differ in ${columns.join(', ')}`);
  const { missing, extra, unchecked } = table.columns;
  if (missing.length > 0) lines.push(`  columns missing in ClickHouse: ${missing.join(', ')}`);
  if (extra.length > 0) lines.push(`  columns in ClickHouse only: ${extra.join(', ')}`);
  if (unchecked.length > 0) lines.push(`  columns that cannot be compared: ${unchecked.join(', ')}`);
  if (table.quarantined > 0) lines.push(`  ${table.quarantined.toLocaleString('en')} in quarantine`);
  if (table.in_flux > 0) {
    lines.push(
      `  ${table.in_flux.toLocaleString('en')} changed in every pass and were not compared: ${keys(table.samples.in_flux)}`,
    );
  }
  if (table.error !== null)
    lines.push(`  ${table.error.what} ${table.error.why}`, `  fix: ${table.error.fix}`);
  return lines;
}

const SHOWN_MAX = 5;

function keys(samples: readonly KeyTexts[]): string {
  const shown = samples
    .slice(0, SHOWN_MAX)
    .map((texts) => (texts.length === 1 ? texts[0]! : `(${texts.join(', ')})`));
  return `${shown.join(', ')}${samples.length > SHOWN_MAX ? ', ...' : ''}`;
}
