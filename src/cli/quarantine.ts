import { WalhouseError } from '../pipeline/errors.js';
import { createSinkClient } from '../sink/client.js';
import { listQuarantined, type QuarantineList } from '../sink/quarantine-list.js';
import { retryQuarantined, type RetryReport } from '../sink/quarantine-retry.js';
import { readSelected } from '../source/selection.js';
import { connect } from '../source/connection.js';
import type { Config } from './config.js';
import { maskerOf } from './masking.js';

export interface ListOptions {
  /** One table only. */
  readonly table: string | null;
  readonly limit: number;
  /** Rows' values too, not their keys alone. */
  readonly showValues: boolean;
  readonly json: boolean;
}

/** `walhouse quarantine list`: what could not be stored, and why. Resolves to the exit code, 0. */
export async function listRows(config: Config, options: ListOptions): Promise<number> {
  const client = createSinkClient(config.sink);
  try {
    const { table, limit, showValues } = options;
    const list = await listQuarantined({ client, database: config.sink.database, table, limit, showValues });
    process.stdout.write(options.json ? `${JSON.stringify(list)}\n` : listText(list));
    return 0;
  } finally {
    await client.close();
  }
}

/** `walhouse quarantine retry`: puts a table's rows back. 0 when none is left in quarantine, 1 when some are. */
export async function retryRows(config: Config, id: string, options: { json: boolean }): Promise<number> {
  const table = config.tables[id];
  if (table === undefined) {
    throw new WalhouseError('config_invalid', {
      what: `${id} is not among tables.`,
      why: 'Its columns are not known, so its rows cannot be put back.',
      fix: `name one of: ${Object.keys(config.tables).slice(0, 20).join(', ')}`,
    });
  }
  const source = await connect(config.source.url, 'sql');
  const client = createSinkClient(config.sink);
  try {
    const [relation] = await readSelected(source, [id], config.tables);
    const { database } = config.sink;
    const report = await retryQuarantined({
      client,
      database,
      relation: relation!,
      table,
      masker: maskerOf(config),
    });
    process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : retryText(report));
    return report.left === 0 ? 0 : 1;
  } finally {
    await client.close();
    await source.end();
  }
}

function listText({ total, rows }: QuarantineList): string {
  if (total === 0) return 'Nothing is in quarantine.\n';
  const lines = rows.flatMap((row) => [
    `${row.table}  ${row.key}  at ${row.position}, ${row.committed_at}`,
    `  ${row.column}: ${row.reason}`,
    ...(row.row === undefined ? [] : [`  ${row.row}`]),
  ]);
  if (total > rows.length) lines.push(`and ${total - rows.length} more (--limit)`);
  lines.push(
    '',
    'fix: correct the value in Postgres, or choose a wider type (tables.NAME.columns) and restart; then walhouse quarantine retry TABLE',
  );
  return `${lines.join('\n')}\n`;
}

function retryText({ table, put_back: putBack, superseded, left, reasons }: RetryReport): string {
  const lines = [
    `${table}: ${putBack} put back, ${superseded} replaced by later versions and taken out, ${left} left`,
    ...reasons.map(({ column, reason, count }) => `  ${count} for ${column}: ${reason}`),
  ];
  if (left > 0) {
    lines.push(
      'fix: correct the values in Postgres, or choose a wider type (tables.NAME.columns) and restart, which copies the table again',
    );
  }
  return `${lines.join('\n')}\n`;
}
