import type { StatusDocument } from '../ops/status.js';
import type { Config } from './config.js';

/** How long the service may take to answer. */
const ANSWER_MS = 5_000;

/**
 * `walhouse status`: asks the running service. 0 when every table streams and nothing fails, 1 when not, or when no service answers.
 */
export async function status(
  config: Config,
  options: { json: boolean; key: string | undefined },
): Promise<number> {
  const url = `http://${config.api.listen.replace(/^0\.0\.0\.0/, '127.0.0.1')}/v1/replication`;
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
  else process.stdout.write(statusText(document));
  const tables = Object.values(document.tables);
  const well =
    (document.state === 'streaming' || document.state === 'api_only') &&
    document.error === null &&
    tables.every((t) => t.state === 'streaming');
  return well ? 0 : 1;
}

/** The document for a person: what counts first, one line a table, an error with its fix last. */
export function statusText(document: StatusDocument): string {
  const lines = [
    `${document.state}${document.lag_ms === null ? '' : `, ${age(document.lag_ms)} behind`}${
      document.lag_bytes === null ? '' : ` (${document.lag_bytes.toLocaleString('en')} bytes of WAL)`
    }`,
    `applied ${document.applied_lsn ?? '-'}   confirmed ${document.confirmed_lsn ?? '-'}   source ${document.source_lsn ?? '-'}`,
    ...slotLines(document.slot),
    '',
  ];
  const width = Math.max(5, ...Object.keys(document.tables).map((id) => id.length));
  lines.push(`${'table'.padEnd(width)}  ${'state'.padEnd(12)}  ${'rows applied'.padStart(14)}  quarantined`);
  for (const [id, table] of Object.entries(document.tables)) {
    const snapshot = table.snapshot;
    const progress =
      snapshot?.percent == null ? '' : `  ${snapshot.percent} %, about ${snapshot.seconds_left} s left`;
    lines.push(
      `${id.padEnd(width)}  ${table.state.padEnd(12)}  ${table.rows_applied.toLocaleString('en').padStart(14)}  ${table.quarantined}${progress}`,
    );
    if (table.error !== null) lines.push(...errorLines(table.error));
  }
  if (document.error !== null) lines.push('', ...errorLines(document.error));
  if (document.retry_at !== null) lines.push(`tries again at ${document.retry_at}`);
  return `${lines.join('\n')}\n`;
}

function slotLines(slot: StatusDocument['slot']): string[] {
  if (slot === null) return [];
  const { held_bytes: held, headroom_bytes: headroom, warning } = slot;
  const left = headroom === null ? 'no limit' : `${headroom.toLocaleString('en')} left`;
  const line = `slot holds back ${held.toLocaleString('en')} bytes of WAL, ${left}`;
  return warning === null ? [line] : [line, ...errorLines(warning)];
}

function errorLines(error: { kind: string; what: string; why: string; fix: string }): string[] {
  return [`${error.kind}: ${error.what} ${error.why}`, `fix: ${error.fix}`];
}

function age(ms: number): string {
  if (ms < 1000) return `${ms} ms`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.round(ms / 60_000)} min`;
}
