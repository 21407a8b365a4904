import type { Log } from '../pipeline/log.js';
import type { Config } from './config.js';
import { startService } from './service.js';

/** How long a clean leave may take before the process ends anyway. */
const LEAVE_MS = 30_000;

/**
 * `walhouse run`: the service, until SIGTERM or SIGINT; with `apiOnly` its API alone. Resolves to the exit code.
 * @throws WalhouseError when it is refused at start.
 */
export async function run(
  config: Config,
  log: Log,
  options: { readonly apiOnly: boolean } = { apiOnly: false },
): Promise<number> {
  const service = await startService(config, log, options);
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
