import { REPAIR_KEYS_MAX } from '../../pipeline/repairs.js';
import type { RepairService } from './service.js';
import type { KeyTexts } from './statements.js';
import { type Verified, verifiedOf } from './verify.js';
import type { VerifyProgress } from './verify-table.js';

/** What was done about one table. */
export interface TableRepair {
  readonly table: string;
  /** `rows`: its differing rows were stored anew; `copy`: all of it was, marts included, because rows alone would not do. */
  readonly by: 'rows' | 'copy';
  /** Why it was copied. */
  readonly why: string | null;
  /** Keys that were looked at, rows of the source stored anew, and rows of ClickHouse that were hidden. */
  readonly keys: number;
  readonly rows: number;
  readonly hidden: number;
}

export interface RepairOptions {
  readonly found: Verified;
  readonly service: Pick<RepairService, 'repair' | 'copy'>;
  /** Compares these tables again. */
  readonly verify: (tables: readonly string[]) => Promise<Verified>;
  readonly onProgress?: ((progress: VerifyProgress) => void) | undefined;
}

interface Drift {
  readonly keys: Map<string, KeyTexts>;
  /** Why naming keys does not help. */
  copyBecause: string | null;
}

/**
 * Has what differs mended by the service: row by row where the keys are known, by a new copy of the table else, and by a new copy of what
 * still differs afterwards. Resolves to what was done, and to the last comparison.
 */
export async function repair(options: RepairOptions): Promise<{ repairs: TableRepair[]; after: Verified }> {
  const repairs: TableRepair[] = [];
  let after = options.found;
  const drifts = driftsOf(after);
  for (const [table, drift] of drifts) repairs.push(await repairTable(table, drift, options));
  if (repairs.length === 0) return { repairs, after };
  after = merged(after, await options.verify([...drifts.keys()]));
  const copied = new Set(repairs.filter(({ by }) => by === 'copy').map(({ table }) => table));
  const left = [...driftsOf(after).keys()].filter((table) => drifts.has(table) && !copied.has(table));
  for (const table of left)
    repairs.push(await copyTable(table, 'it still differed after its rows were stored anew', options));
  if (left.length > 0) after = merged(after, await options.verify(left));
  return { repairs, after };
}

function driftsOf(found: Verified): Map<string, Drift> {
  const drifts = new Map<string, Drift>();
  const add = (table: string, keys: readonly KeyTexts[] | null, why: string): void => {
    const drift = drifts.get(table) ?? { keys: new Map<string, KeyTexts>(), copyBecause: null };
    drifts.set(table, drift);
    if (keys === null) drift.copyBecause ??= why;
    for (const texts of keys ?? []) drift.keys.set(JSON.stringify(texts), texts);
  };
  for (const { report, keys } of found.tables) {
    if (report.verdict !== 'different') continue;
    const { columns } = report;
    const otherColumns = columns.missing.length + columns.extra.length > 0;
    add(
      report.table,
      otherColumns ? null : keys,
      otherColumns ? 'its columns differ' : 'more rows differ than are named one by one',
    );
  }
  for (const { report, keys } of found.marts) {
    const [table] = report.tables;
    if (report.verdict !== 'different' || table === undefined) continue;
    add(table, keys, `the keys behind the rows of mart ${report.mart} are not known, or too many`);
  }
  return drifts;
}

async function repairTable(table: string, drift: Drift, options: RepairOptions): Promise<TableRepair> {
  if (drift.copyBecause !== null) return copyTable(table, drift.copyBecause, options);
  const keys = [...drift.keys.values()];
  const done = { rows: 0, hidden: 0 };
  let size = REPAIR_KEYS_MAX;
  let from = 0;
  while (from < keys.length) {
    options.onProgress?.({ table, step: 'repairing', done: from / keys.length, secondsLeft: null });
    const some = keys.slice(from, from + size);
    const answer = await options.service.repair(table, some);
    if (answer === 'too_large' && some.length > 1) {
      size = Math.ceil(some.length / 2);
      continue;
    }
    if (answer === 'too_large') return copyTable(table, 'a row is too large to be stored alone', options);
    if (answer === 'unreadable')
      return copyTable(table, 'ClickHouse holds keys that Postgres cannot have', options);
    done.rows += answer.rows;
    done.hidden += answer.hidden;
    if (answer.beyond > 0) {
      return copyTable(table, 'rows bear versions above every commit, which would win again', options);
    }
    from += some.length;
  }
  return { table, by: 'rows', why: null, keys: keys.length, ...done };
}

async function copyTable(table: string, why: string, options: RepairOptions): Promise<TableRepair> {
  await options.service.copy(table, (done, secondsLeft) =>
    options.onProgress?.({ table, step: 'copying', done, secondsLeft }),
  );
  return { table, by: 'copy', why, keys: 0, rows: 0, hidden: 0 };
}

/** The newer comparison of what it looked at, and the older of the rest. */
function merged(older: Verified, newer: Verified): Verified {
  const tables = older.tables.map(
    (table) => newer.tables.find(({ report }) => report.table === table.report.table) ?? table,
  );
  const marts = older.marts.map(
    (mart) => newer.marts.find(({ report }) => report.mart === mart.report.mart) ?? mart,
  );
  return verifiedOf(tables, marts, older.report.seconds + newer.report.seconds);
}
