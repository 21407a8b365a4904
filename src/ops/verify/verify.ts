import { setTimeout as sleep } from 'node:timers/promises';
import type { ClickHouseClient } from '@clickhouse/client';
import type { Client } from 'pg';
import { WalhouseError } from '../../pipeline/errors.js';
import { lsnFrom, type Lsn } from '../../pipeline/lsn.js';
import { lookOf } from '../../pipeline/catalog-watch.js';
import { rowsReplaced, type Relation } from '../../pipeline/relation.js';
import type { Masker } from '../../sink/mask.js';
import { possibleNames, tableName } from '../../sink/names.js';
import { connect, destroy, parseTarget } from '../../source/connection.js';
import type { Selections } from '../../source/selection.js';
import { sourceError } from '../../source/source-error.js';
import { survey } from '../../source/survey.js';
import type { ComparedRetention } from '../compare/retention-cut.js';
import type { TablesStanding } from './applied.js';
import type { Load } from './load.js';
import type { TableReport, VerifyReport } from './report.js';
import { type MartSource, type VerifiedMart, verifyMarts } from './verify-marts.js';
import {
  MadeFromOther,
  refuseIncomplete,
  seconds,
  type VerifiedTable,
  type VerifyProgress,
  verifyTable,
} from './verify-table.js';

/** How often it is looked whether the service has followed a change of the table; what still differs then does. */
const LOOKS_MAX = 3;
/** The service looks at the source's catalog every two seconds. */
const FOLLOWED_MS = 2_500;

export interface VerifyOptions {
  readonly sourceUrl: string;
  /** Needs to read landing, the marts and system.tables and system.columns, and nothing else. */
  readonly clickhouse: ClickHouseClient;
  /** The database that people query. */
  readonly database: string;
  /** All configured tables, `schema.name`, each with its retention and the columns that are masked. */
  readonly tables: ReadonlyMap<
    string,
    { readonly retention?: ComparedRetention | undefined; readonly mask?: readonly string[] | undefined }
  >;
  /** Must be there where a column is masked. */
  readonly masker?: Masker | undefined;
  /** The columns and rows that are copied, of tables where it is not all of them. */
  readonly selections?: Selections | undefined;
  /** Those to compare, with the marts that they feed. */
  readonly only: readonly string[];
  readonly load: Load;
  /** Resolves once ClickHouse holds everything before a position. */
  readonly applied: (position: Lsn) => Promise<TablesStanding>;
  readonly onProgress?: ((progress: VerifyProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Verified {
  readonly report: VerifyReport;
  /** What differs, by table. */
  readonly tables: readonly VerifiedTable[];
  readonly marts: readonly VerifiedMart[];
}

/**
 * Compares tables one after the other, each at a position of its own, so that no snapshot is held for longer than its table takes; then
 * the marts that they feed. What cannot be compared is told in its report; a wrong configuration ends all.
 */
export async function verify(options: VerifyOptions): Promise<Verified> {
  const startedAt = performance.now();
  const tables: VerifiedTable[] = [];
  const sources = new Map<string, MartSource>(
    [...options.tables].flatMap(([id, { retention }]) =>
      possibleNames(id).map((name): [string, MartSource] => [name, { id, retention }]),
    ),
  );
  for (const id of options.only) {
    const { relation, verified } = await verifyOne(id, options);
    tables.push(verified);
    if (relation !== null)
      sources.set(tableName(relation.schema, relation.name), {
        id,
        relation,
        retention: options.tables.get(id)?.retention,
      });
  }
  const wal = new EndOfWal(options.sourceUrl);
  const marts = await verifyMarts({
    ...options,
    sources,
    position: () => wal.ask(),
    applied: async (position, ids) => {
      const status = await options.applied(position);
      for (const id of ids) refuseIncomplete(id, status);
    },
    onProgress: (mart) =>
      options.onProgress?.({ table: `mart ${mart}`, step: 'reading', done: 0, secondsLeft: null }),
  }).finally(() => wal.close());
  return verifiedOf(tables, marts, seconds(performance.now() - startedAt));
}

/** All in one report; `seconds` is how long it took. */
export function verifiedOf(
  tables: readonly VerifiedTable[],
  marts: readonly VerifiedMart[],
  seconds: number,
): Verified {
  const report: VerifyReport = {
    equal:
      tables.every(({ report }) => report.verdict === 'equal') &&
      marts.every(({ report }) => report.verdict === 'equal' || report.verdict === 'unchecked'),
    tables: tables.map(({ report }) => report),
    marts: marts.map(({ report }) => report),
    seconds: Math.round(seconds * 100) / 100,
  };
  return { report, tables, marts };
}

/** The end of the source's WAL, over one connection that is opened when it is first asked for. */
class EndOfWal {
  readonly #sourceUrl: string;
  #client: Client | null = null;

  constructor(sourceUrl: string) {
    this.#sourceUrl = sourceUrl;
  }

  async ask(): Promise<Lsn> {
    try {
      this.#client ??= await connect(this.#sourceUrl, 'sql');
      const { rows } = await this.#client.query<{ lsn: string }>(
        `select (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_insert_lsn() end)::text as lsn`,
      );
      return lsnFrom(rows[0]!.lsn);
    } catch (error) {
      this.close();
      throw sourceError(error, parseTarget(this.#sourceUrl), 'query');
    }
  }

  close(): void {
    if (this.#client !== null) destroy(this.#client);
    this.#client = null;
  }
}

/** Whether nobody has altered it in between. */
function isLike(before: Relation, now: Relation): boolean {
  return lookOf(before) === lookOf(now) && !rowsReplaced(before.stamp, now.stamp);
}

async function verifyOne(
  id: string,
  options: VerifyOptions,
): Promise<{ relation: Relation | null; verified: VerifiedTable }> {
  const startedAt = performance.now();
  let relation: Relation | null = null;
  try {
    const { retention, mask = [] } = options.tables.get(id)!;
    const { masker } = options;
    const masked = masker === undefined || mask.length === 0 ? undefined : { names: mask, masker };
    for (let looks = 1; ; looks += 1) {
      relation = await relationOf(options, id);
      const isLast = looks === LOOKS_MAX;
      const found = { ...options, relation, retention, masked, evenOther: isLast };
      const verified = await verifyTable(found).catch((error: unknown) => {
        if (error instanceof MadeFromOther) return null;
        throw error;
      });
      const isOver = verified !== null && (isLast || verified.report.verdict !== 'different');
      if (isOver || (verified !== null && isLike(relation, await relationOf(options, id))))
        return { relation, verified };
      await sleep(FOLLOWED_MS, undefined, { signal: options.signal });
    }
  } catch (cause) {
    options.signal?.throwIfAborted();
    // Failures of ClickHouse are typed where they happen; the rest is the source's.
    const error = sourceError(cause, parseTarget(options.sourceUrl), 'query');
    if (!(error instanceof WalhouseError) || error.kind === 'config_invalid') throw error;
    const report = notCompared(id, error, performance.now() - startedAt);
    return { relation, verified: { report, keys: null } };
  }
}

async function relationOf({ sourceUrl, selections }: VerifyOptions, id: string): Promise<Relation> {
  const client = await connect(sourceUrl, 'sql');
  try {
    await client.query('begin isolation level repeatable read read only');
    const { relations, problems } = await survey(client, [id], selections);
    const problem = problems.get(id);
    if (problem !== undefined) throw problem;
    return relations[0]!;
  } finally {
    destroy(client);
  }
}

function notCompared(table: string, error: WalhouseError, tookMs: number): TableReport {
  const { kind, what, why, fix } = error;
  return {
    table,
    verdict: 'not_compared',
    position: null,
    rows_postgres: 0,
    rows_clickhouse: 0,
    missing: 0,
    extra: 0,
    different: 0,
    different_columns: {},
    columns: { missing: [], extra: [], unchecked: [] },
    samples: { missing: [], extra: [], different: [], in_flux: [] },
    in_flux: 0,
    quarantined: 0,
    complete: false,
    passes: 0,
    rows_by_key: 0,
    source_seconds: 0,
    seconds: seconds(tookMs),
    error: { kind, what, why, fix },
  };
}
