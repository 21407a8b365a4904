import pg from 'pg';
import { loadCsv, LoadRefused, type LoadedFile } from '../dev/csv-load.js';
import { createSchema } from '../dev/generators.js';
import { WalhouseError } from '../pipeline/errors.js';
import { parseTarget, serverConfig } from '../source/connection.js';
import { sourceError } from '../source/source-error.js';
import { readDomains } from './domain.js';
import { sourceUrl } from './source-url.js';

export interface LoadOptions {
  readonly domain: string;
  /** The folder with the CSV files. */
  readonly from: string;
  /** Of the source, of a role that owns the tables; left out, SOURCE_URL says it. */
  readonly url: string | undefined;
  readonly existing: 'refuse' | 'append' | 'replace';
  readonly json: boolean;
}

const BAD_TOLD_MAX = 10;

/**
 * `walhouse load`: CSV files into a domain's tables in the source, which are made where they are missing. Exit code 1 when lines were left
 * out.
 * @throws WalhouseError config_invalid, load_refused
 */
export async function load(options: LoadOptions, environment: NodeJS.ProcessEnv): Promise<number> {
  const url = sourceUrl(options.url, environment, {
    why: 'The files are loaded into its tables.',
    role: ', of a role that owns the tables',
  });
  const [domain] = await readDomains(options.domain);
  const client = new pg.Client({ ...serverConfig(url), application_name: 'walhouse load' });
  await client.connect().catch((error: unknown) => {
    throw sourceError(error, parseTarget(url), 'connect');
  });
  const showsProgress = process.stderr.isTTY && !options.json;
  try {
    await createSchema(client, domain!.name);
    const loaded = await loadCsv({
      client,
      directory: options.from,
      tables: Object.keys(domain!.tables),
      existing: options.existing,
      ...(showsProgress
        ? {
            onProgress: (table, lines) =>
              process.stderr.write(`\r${table}: line ${lines.toLocaleString('en')} `),
          }
        : {}),
    });
    if (showsProgress) process.stderr.write('\r\x1b[K');
    process.stdout.write(options.json ? `${JSON.stringify({ tables: loaded })}\n` : text(loaded));
    return loaded.some(({ badLines }) => badLines > 0) ? 1 : 0;
  } catch (error) {
    if (!(error instanceof LoadRefused)) throw error;
    throw new WalhouseError('load_refused', {
      what: `${error.message}.`,
      why: 'Nothing was loaded.',
      fix: 'correct what is named, and load again',
      cause: error,
    });
  } finally {
    await client.end();
  }
}

function text(loaded: readonly LoadedFile[]): string {
  const lines = loaded.flatMap(({ table, file, rows, badLines, bad }) => {
    if (file === null) return [`${table.padEnd(34)} no file`];
    const left = badLines === 0 ? '' : `, ${badLines.toLocaleString('en')} bad lines left out`;
    return [
      `${table.padEnd(34)} ${rows.toLocaleString('en').padStart(10)} rows${left}`,
      ...bad
        .slice(0, BAD_TOLD_MAX)
        .map(
          ({ line, column, reason }) => `  line ${line}${column === null ? '' : `, ${column}`}: ${reason}`,
        ),
      ...(badLines > BAD_TOLD_MAX ? [`  ... --json tells the first 1,000`] : []),
    ];
  });
  return `${lines.join('\n')}\n`;
}
