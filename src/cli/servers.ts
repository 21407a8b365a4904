import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { startClickHouse } from '../dev/servers/clickhouse.js';
import type { LocalServer } from '../dev/servers/local-server.js';
import { startPostgres } from '../dev/servers/postgres.js';

export interface ServersOptions {
  /** Where the data stays: Postgres in its folder `postgres`, ClickHouse in `clickhouse`. Temporary when left out. */
  readonly dir?: string;
  readonly json: boolean;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * `walhouse servers`: starts both local servers, prints their addresses on standard output and everything else on standard
 * error, and stops them at a signal. Resolves with the exit code: 0 when a signal ended it, 1 when a server died.
 */
export async function servers(options: ServersOptions): Promise<number> {
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  for (const signal of SIGNALS) process.on(signal, onSignal);
  const running: LocalServer[] = [];
  try {
    return await serve(options, running, interrupt.signal);
  } catch (error) {
    if (interrupt.signal.aborted) return 0;
    throw error;
  } finally {
    await Promise.all(running.map((server) => server.close()));
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

async function serve(options: ServersOptions, running: LocalServer[], signal: AbortSignal): Promise<number> {
  const start = { log: tell, signal };
  const postgres = await startPostgres({ ...start, ...folder(options.dir, 'postgres') });
  running.push(postgres);
  const clickhouse = await startClickHouse({ ...start, ...folder(options.dir, 'clickhouse') });
  running.push(clickhouse);

  if (options.json) {
    process.stdout.write(`${JSON.stringify({ postgres: postgres.url, clickhouse: clickhouse.url })}\n`);
  } else {
    const decoder = postgres.hasWal2json ? 'with wal2json' : 'with pgoutput only';
    process.stdout.write(
      `Postgres ${postgres.version} (${decoder}): ${postgres.url}\n` +
        `ClickHouse ${clickhouse.version}: ${clickhouse.url} (native protocol: port ${clickhouse.tcpPort})\n`,
    );
  }
  tell(
    options.dir === undefined
      ? 'ready; the data is gone at the end'
      : `ready; the data stays in ${options.dir}`,
  );

  const death = await Promise.race([interrupted(signal), postgres.ended, clickhouse.ended]);
  if (death === null) return 0;
  tell(death.message);
  return 1;
}

function folder(dir: string | undefined, name: string): { dir?: string } {
  if (dir === undefined) return {};
  mkdirSync(dir, { recursive: true });
  return { dir: join(dir, name) };
}

function interrupted(signal: AbortSignal): Promise<null> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(null);
    else signal.addEventListener('abort', () => resolve(null), { once: true });
  });
}

function tell(line: string): void {
  process.stderr.write(`${line}\n`);
}
