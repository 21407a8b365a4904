import { appendReport } from '../ops/reports/chain.js';
import { reportedTables } from '../ops/reports/report.js';
import { reportText } from '../ops/reports/text.js';
import { createSinkClient } from '../sink/client.js';
import { isProven, purge } from '../sink/purge.js';
import { ReportStore } from '../sink/report-store.js';
import type { Retention } from '../sink/retention.js';
import type { Config } from './config.js';

export interface RetentionCommand {
  /** The whole report instead of one line. */
  readonly report: boolean;
  readonly json: boolean;
  readonly version: string;
}

/**
 * `walhouse retention`: removes what is past its retention now, reads all parts, and stores a report of it. 0 when nothing is left, 1 when
 * that is not so, or cannot be said.
 */
export async function retention(config: Config, command: RetentionCommand): Promise<number> {
  const tables = new Map<string, Retention>();
  for (const [id, table] of Object.entries(config.tables))
    if (table.retention !== undefined) tables.set(id, table.retention);
  if (tables.size === 0) {
    process.stdout.write(command.json ? 'null\n' : 'No table has a retention (tables.NAME.retention).\n');
    return 0;
  }
  const client = createSinkClient(config.sink);
  const { database } = config.sink;
  try {
    const startedAt = new Date().toISOString();
    const { moment, holders } = await purge({ client, database, tables });
    const chained = await appendReport(new ReportStore(client, database), {
      kind: 'retention',
      command: 'walhouse retention',
      walhouse: command.version,
      database,
      started_at: startedAt,
      finished_at: new Date().toISOString(),
      moment,
      proven: isProven(holders),
      tables: reportedTables(holders),
    });
    const { report, number, hash } = chained;
    if (command.json) process.stdout.write(`${JSON.stringify(chained)}\n`);
    else if (command.report || !report.proven) process.stdout.write(reportText(chained));
    else {
      const versions = report.tables.reduce((sum, { before }) => sum + before.versions, 0);
      process.stdout.write(
        `${versions} versions of rows past their retention were in ${report.tables.length} tables; none is left in any part (report ${number}, ${hash})\n`,
      );
    }
    return report.proven ? 0 : 1;
  } finally {
    await client.close();
  }
}
