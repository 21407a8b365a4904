import type { ClickHouseClient } from '@clickhouse/client';
import { WalhouseError } from '../../pipeline/errors.js';
import { lsnFrom, type Lsn } from '../../pipeline/lsn.js';
import type { Relation } from '../../pipeline/relation.js';
import { readRelations } from '../../source/catalog.js';
import { connect, destroy, parseTarget } from '../../source/connection.js';
import { sourceError } from '../../source/source-error.js';
import type { ComparedRetention } from '../compare/retention-cut.js';
import type { StatusDocument } from '../status.js';
import type { Load } from './load.js';
import type { TableReport, VerifyReport } from './report.js';
import { type MartReport, verifyMarts } from './verify-marts.js';
import { seconds, type VerifyProgress, verifyTable } from './verify-table.js';

export interface VerifyOptions {
  readonly sourceUrl: string;
  readonly clickhouse: ClickHouseClient;
  /** The database that people query. */
  readonly database: string;
  /** `schema.name`, each with its retention. */
  readonly tables: ReadonlyMap<string, { readonly retention?: ComparedRetention | undefined }>;
  /** Whether the marts are looked at, too. */
  readonly marts: boolean;
  readonly load: Load;
  readonly applied: (position: Lsn) => Promise<StatusDocument | null>;
  readonly onProgress?: ((progress: VerifyProgress) => void) | undefined;
}

/**
 * Compares tables one after the other, each at a position of its own, so that no snapshot is held for longer than its table takes. A
 * table that cannot be compared is told in its report; a wrong configuration ends all.
 */
export async function verify(options: VerifyOptions): Promise<VerifyReport> {
  const startedAt = performance.now();
  const tables: TableReport[] = [];
  for (const [id, { retention }] of options.tables) {
    tables.push(await verifyOne(id, retention, options));
  }
  const marts = options.marts ? await martsOf(options) : [];
  return {
    equal:
      tables.every(({ verdict }) => verdict === 'equal') &&
      marts.every(({ verdict }) => verdict !== 'different'),
    tables,
    marts,
    seconds: seconds(performance.now() - startedAt),
  };
}

async function martsOf(options: VerifyOptions): Promise<MartReport[]> {
  const { sourceUrl, clickhouse, database } = options;
  const client = await connect(sourceUrl, 'sql');
  let position: Lsn;
  try {
    const { rows } = await client.query<{ lsn: string }>(
      `select (case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end)::text as lsn`,
    );
    position = lsnFrom(rows[0]!.lsn);
  } finally {
    destroy(client);
  }
  await options.applied(position);
  return verifyMarts(clickhouse, database, position);
}

async function verifyOne(
  id: string,
  retention: ComparedRetention | undefined,
  options: VerifyOptions,
): Promise<TableReport> {
  const startedAt = performance.now();
  try {
    const relation = await relationOf(options.sourceUrl, id);
    return await verifyTable({ ...options, relation, retention });
  } catch (cause) {
    // Failures of ClickHouse are typed where they happen; the rest is the source's.
    const error = sourceError(cause, parseTarget(options.sourceUrl), 'query');
    if (!(error instanceof WalhouseError) || error.kind === 'config_invalid') throw error;
    return notCompared(id, error, performance.now() - startedAt);
  }
}

async function relationOf(sourceUrl: string, id: string): Promise<Relation> {
  const client = await connect(sourceUrl, 'sql');
  try {
    return (await readRelations(client, [id]))[0]!;
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
