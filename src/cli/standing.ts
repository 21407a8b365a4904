import type { RetentionStanding } from '../api/routes-ops.js';
import { lastPurge } from '../ops/reports/last-purge.js';
import type { createSinkClient } from '../sink/client.js';
import { ReportStore } from '../sink/report-store.js';
import type { Config } from './config.js';

/** What is kept for how long, as configured, and what `walhouse retention` removed last. */
export async function retentionStanding(
  config: Config,
  client: ReturnType<typeof createSinkClient>,
): Promise<RetentionStanding> {
  const tables: Record<string, { column: string; keep: string }> = {};
  for (const [id, { retention }] of Object.entries(config.tables)) {
    if (retention === undefined) continue;
    const { column, keep } = retention;
    tables[id] = { column, keep: `${keep.count} ${keep.unit}${keep.count === 1 ? '' : 's'}` };
  }
  return { tables, last_purge: await lastPurge(new ReportStore(client, config.sink.database)) };
}
