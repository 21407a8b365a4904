import { createSinkClient } from '../sink/client.js';
import { makeSink } from './service.js';
import { silentLog } from '../pipeline/log.js';
import { serviceUrl, type Config } from './config.js';

/** How long the service may take to take an order. */
const ANSWER_MS = 30_000;

/**
 * Asks the running service to do something. Resolves to the exit code; null when no service answers at its address.
 */
async function order(config: Config, path: string, key: string | undefined): Promise<number | null> {
  const url = `${serviceUrl(config)}${path}`;
  let response: Response;
  try {
    response = await fetch(url, {
      method: 'POST',
      headers: key === undefined ? {} : { authorization: `Bearer ${key}` },
      signal: AbortSignal.timeout(ANSWER_MS),
    });
  } catch {
    return null;
  }
  if (response.ok) return 0;
  const problem = (await response.json().catch(() => ({}))) as { detail?: string; fix?: string };
  process.stderr.write(
    `the service answered ${response.status}: ${problem.detail ?? ''} Fix: ${problem.fix ?? 'look at its log'}\n`,
  );
  return 1;
}

/** `walhouse pause` and `walhouse resume`. */
export async function pauseOrResume(
  verb: 'pause' | 'resume',
  config: Config,
  key: string | undefined,
): Promise<number> {
  const code = await order(config, `/v1/${verb}`, key);
  if (code !== null) return code;
  process.stderr.write(`no service answers at ${config.api.listen}. Fix: walhouse run\n`);
  return 1;
}

/**
 * `walhouse resync TABLE | --all`: by the running service, or by the next one where none runs. With `all` that begins again with
 * everything, whatever became of the slot.
 */
export async function resync(
  config: Config,
  target: { readonly table: string } | { readonly all: true },
  key: string | undefined,
): Promise<number> {
  const configured = Object.keys(config.tables);
  if ('table' in target && !configured.includes(target.table)) {
    process.stderr.write(
      `${target.table} is not among tables. Fix: name one of ${configured.join(', ')}, or --all\n`,
    );
    return 2;
  }
  const path = 'table' in target ? `/v1/tables/${encodeURIComponent(target.table)}/resync` : '/v1/resync';
  const code = await order(config, path, key);
  if (code === 0) process.stdout.write('it has begun; walhouse status shows how far it is\n');
  if (code !== null) return code;
  const client = createSinkClient(config.sink);
  const sink = makeSink(config, client, silentLog);
  try {
    await sink.open();
    await sink.markStale('table' in target ? [target.table] : configured, 'fit');
    if ('all' in target) await sink.forgetCheckpoint();
  } finally {
    await sink.close();
    await client.close();
  }
  process.stdout.write(`no service answers at ${config.api.listen}; the next walhouse run does it\n`);
  return 0;
}
