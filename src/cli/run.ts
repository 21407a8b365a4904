import { asWalhouseError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import type { Config } from './config.js';
import { startService, type Service } from './service.js';

/** How long a clean leave may take before the process ends anyway. */
const LEAVE_MS = 30_000;

/**
 * `walhouse run`: the service, until SIGTERM or SIGINT; with `apiOnly` its API alone. SIGHUP has it go on with what `reread` gives.
 * Resolves to the exit code.
 * @throws WalhouseError when it is refused at start.
 */
export async function run(
  config: Config,
  log: Log,
  options: { readonly apiOnly: boolean; readonly reread: () => Config },
): Promise<number> {
  const starting = startService(config, log, options);
  // One that comes early must not end the process.
  let reloading: Promise<unknown> = starting.catch(() => null);
  process.on('SIGHUP', () => {
    reloading = reloading.then(async () => reload(await starting, options.reread, log)).catch(() => null);
  });
  const service = await starting;
  let leaving = false;
  const leave = (signal: NodeJS.Signals): void => {
    if (leaving) return;
    leaving = true;
    log.info({ signal }, 'leaving: what is on its way is stored and confirmed first');
    setTimeout(() => process.exit(1), LEAVE_MS).unref();
    void service.close().catch((error: unknown) => {
      log.error({ err: error }, 'leaving failed');
      process.exitCode = 1;
    });
  };
  process.on('SIGTERM', leave);
  process.on('SIGINT', leave);
  await service.finished;
  return 0;
}

/** What is refused changes nothing, and is said as it is said at start. */
async function reload(service: Service, reread: () => Config, log: Log): Promise<void> {
  log.info({}, 'SIGHUP: reading the configuration again');
  try {
    const config = reread();
    const changed = await service.reconfigure(config);
    const tables = Object.keys(config.tables).length;
    log.info({ tables }, `the configuration ${changed ? 'is the new one' : 'says what it said before'}`);
  } catch (cause) {
    const error = asWalhouseError(cause);
    const told = error.kind === 'internal' ? { kind: error.kind, err: cause } : { kind: error.kind };
    log.error(told, `the configuration stays as it was: ${error.message}`);
  }
}
