import { installClickHouse } from './clickhouse.js';
import type { InstallOptions } from './install.js';
import { installPostgres } from './postgres.js';

/**
 * Installs whatever the local servers still need, so that starting them takes a second. With `everyFlavour` npm's Postgres
 * too, although the system's is there: the tests run both.
 */
export async function prepareServers(
  options: InstallOptions & { readonly everyFlavour: boolean },
): Promise<void> {
  await installClickHouse(options);
  await installPostgres(options);
  if (options.everyFlavour) await installPostgres({ ...options, flavour: 'npm' });
}
