/**
 * A program that starts a server and waits to be killed, for tests of what is left of the server then.
 * Arguments: `postgres` or `clickhouse`, and a directory or nothing. Prints one line: what can be known of the server.
 */
import { startClickHouse } from '../../src/dev/servers/clickhouse.js';
import { startPostgres } from '../../src/dev/servers/postgres.js';

const [kind, dir] = process.argv.slice(2);
const options = { log: () => undefined, ...(dir === undefined ? {} : { dir }) };
const { pid, directory, url } = await (kind === 'postgres'
  ? startPostgres(options)
  : startClickHouse(options));
process.stdout.write(`${JSON.stringify({ pid, directory, url })}\n`);
setInterval(() => undefined, 60_000);
