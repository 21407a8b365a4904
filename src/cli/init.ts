import { writeFileSync } from 'node:fs';
import { configText } from '../ops/init/config-text.js';
import { examineSource, type ExaminedTable } from '../ops/init/examine.js';
import { WalhouseError } from '../pipeline/errors.js';
import { parseConfig } from './config.js';
import { sourceUrl } from './source-url.js';

export interface InitOptions {
  /** Of the source; left out, SOURCE_URL says it. */
  readonly url: string | undefined;
  /** The file to write. */
  readonly config: string;
  /** These schemas only. */
  readonly schemas: readonly string[] | null;
}

/** How many tables that are left out are told on the terminal; the file has them all. */
const TOLD_MAX = 20;

/**
 * `walhouse init`: writes the configuration of a source. Resolves to the exit code.
 * @throws WalhouseError when the source cannot be read, no table of it can be followed, or the file is there already
 */
export async function init(options: InitOptions, environment: NodeJS.ProcessEnv): Promise<number> {
  const url = sourceUrl(options.url, environment, {
    why: 'The configuration is made from its catalog.',
    role: '',
  });
  const source = await examineSource(url, options.schemas);
  const left = source.tables.filter(({ relation }) => relation === null);
  if (left.length === source.tables.length) throw nothingToFollow(left);
  const text = configText(source);
  // What is written is what `run` will accept.
  parseConfig(text, options.config, {
    SOURCE_URL: 'postgres://user@localhost/database',
    CLICKHOUSE_URL: 'http://localhost:8123',
  });
  write(options.config, text);
  process.stdout.write(
    `${options.config}: ${source.tables.length - left.length} of ${source.tables.length} tables of ${source.database}\n`,
  );
  for (const { table, reason } of left.slice(0, TOLD_MAX))
    process.stdout.write(`left out: ${table.id}: ${reason?.what ?? ''}\n  fix: ${reason?.fix ?? ''}\n`);
  if (left.length > TOLD_MAX)
    process.stdout.write(`left out: ${left.length - TOLD_MAX} more, see the file\n`);
  process.stdout.write('next: set SOURCE_URL and CLICKHOUSE_URL, read the file, then: walhouse check\n');
  return 0;
}

function write(path: string, text: string): void {
  try {
    // `wx`: never over a file that somebody has edited, not even one that came this moment.
    writeFileSync(path, text, { flag: 'wx' });
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    throw new WalhouseError('config_invalid', {
      what: exists ? `${path} is there already.` : `${path} cannot be written.`,
      why: exists ? 'It may hold choices that somebody made; it was left as it is.' : 'Nothing was changed.',
      fix: exists
        ? 'name another file with --config FILE, or move this one away'
        : 'name a file in a directory that exists and may be written to: --config FILE',
      cause,
    });
  }
}

function nothingToFollow(left: readonly ExaminedTable[]): WalhouseError {
  const reasons = left
    .slice(0, TOLD_MAX)
    .map(({ table, reason }) => `\n  - ${table.id}: ${reason?.what ?? ''} Fix: ${reason?.fix ?? ''}`);
  return new WalhouseError('table_missing', {
    what:
      left.length === 0
        ? 'the source has no table (or none in the schemas named).'
        : `none of the ${left.length} tables can be followed:${reasons.join('')}\n`,
    why: 'There is nothing to copy, and nothing was written.',
    fix: 'apply one of the fixes, or name another database or schema',
  });
}
