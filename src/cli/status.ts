import type { StatusDocument, StatusError, TableStatus } from '../ops/status.js';
import { isColoured, painted, type Mood } from './colour.js';
import { serviceUrl, type Config } from './config.js';

/** How long the service may take to answer. */
const ANSWER_MS = 5_000;

/**
 * `walhouse status`: asks the running service. 0 when every table streams and nothing fails, 1 when not, or when no service answers.
 */
export async function status(
  config: Config,
  options: { json: boolean; key: string | undefined },
): Promise<number> {
  const url = `${serviceUrl(config)}/v1/replication`;
  let response: Response;
  try {
    response = await fetch(url, {
      headers: options.key === undefined ? {} : { authorization: `Bearer ${options.key}` },
      signal: AbortSignal.timeout(ANSWER_MS),
    });
  } catch {
    process.stderr.write(
      `no service answers at ${config.api.listen}, so how replication stands is not known. Fix: walhouse run\n`,
    );
    return 1;
  }
  if (!response.ok) {
    const problem = (await response.json().catch(() => ({}))) as { detail?: string; fix?: string };
    process.stderr.write(
      `the service answered ${response.status}: ${problem.detail ?? ''} Fix: ${problem.fix ?? 'look at its log'}\n`,
    );
    return 1;
  }
  const document = (await response.json()) as StatusDocument;
  if (options.json) process.stdout.write(`${JSON.stringify(document)}\n`);
  else process.stdout.write(statusText(document, isColoured()));
  const tables = Object.values(document.tables);
  const well =
    (document.state === 'streaming' || document.state === 'api_only') &&
    document.error === null &&
    tables.every((t) => t.state === 'streaming');
  return well ? 0 : 1;
}

/** The document for a person: what counts first, one line a table, an error with its fix last. */
export function statusText(document: StatusDocument, coloured: boolean): string {
  const { state, lag_ms: lagMs, lag_bytes: lagBytes } = document;
  const lines = [
    `${painted(moodOf(state), state, coloured)}${lagMs === null ? '' : `, ${age(lagMs)} behind`}${
      lagBytes === null ? '' : ` (${lagBytes.toLocaleString('en')} bytes of WAL)`
    }`,
    `applied ${document.applied_lsn ?? '-'}   confirmed ${document.confirmed_lsn ?? '-'}   source ${document.source_lsn ?? '-'}`,
    ...slotLines(document.slot, coloured),
    '',
  ];
  const width = Math.max(5, ...Object.keys(document.tables).map((id) => id.length));
  lines.push(`${'table'.padEnd(width)}  ${'state'.padEnd(12)}  ${'rows applied'.padStart(14)}  quarantined`);
  for (const [id, table] of Object.entries(document.tables)) {
    const stands = painted(moodOf(table.state), table.state.padEnd(12), coloured);
    const applied = table.rows_applied.toLocaleString('en').padStart(14);
    const quarantined =
      table.quarantined === 0 ? '0' : painted('warning', String(table.quarantined), coloured);
    lines.push(
      `${id.padEnd(width)}  ${stands}  ${applied}  ${quarantined}${progressOf(table.snapshot, coloured)}`,
    );
    if (table.error !== null) lines.push(...errorLines(table.error, coloured));
    if (table.verify?.verdict === 'different') {
      const { complete, differences, at } = table.verify;
      const rows = `${complete ? '' : 'at least '}${differences?.toLocaleString('en')} rows`;
      lines.push(
        `${painted('bad', 'different', coloured)}: ${rows} of it or its marts are not as the source has them (${at})`,
        `fix: walhouse verify ${id} --repair`,
      );
    }
  }
  if (document.error !== null) lines.push('', ...errorLines(document.error, coloured));
  if (document.retry_at !== null) lines.push(`tries again at ${document.retry_at}`);
  return `${lines.join('\n')}\n`;
}

/** Of the whole or of one table. */
function moodOf(state: StatusDocument['state'] | TableStatus['state']): Mood {
  if (state === 'streaming' || state === 'api_only') return 'good';
  return state === 'stopped' || state === 'closed' ? 'bad' : 'warning';
}

const BAR_WIDTH = 20;

/** A bar only where a person looks at a terminal. */
function progressOf(snapshot: TableStatus['snapshot'], coloured: boolean): string {
  if (snapshot?.percent == null) return '';
  const { percent, seconds_left: left } = snapshot;
  const full = Math.round((Math.min(percent, 100) / 100) * BAR_WIDTH);
  const bar = coloured ? `[${'#'.repeat(full)}${' '.repeat(BAR_WIDTH - full)}] ` : '';
  return `  ${bar}${percent} %, about ${left} s left`;
}

function slotLines(slot: StatusDocument['slot'], coloured: boolean): string[] {
  if (slot === null) return [];
  const { held_bytes: held, headroom_bytes: headroom, warning } = slot;
  const left = headroom === null ? 'no limit' : `${headroom.toLocaleString('en')} left`;
  const line = `slot holds back ${held.toLocaleString('en')} bytes of WAL, ${left}`;
  return warning === null ? [line] : [line, ...errorLines(warning, coloured)];
}

function errorLines({ kind, what, why, fix }: StatusError, coloured: boolean): string[] {
  return [`${painted('bad', kind, coloured)}: ${what} ${why}`, `fix: ${fix}`];
}

function age(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.round(ms / 60_000)} min`;
}
