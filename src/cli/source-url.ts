import { WalhouseError } from '../pipeline/errors.js';
import { variable } from './variables.js';

/**
 * The source of a command that needs no configuration: `--url`, or else SOURCE_URL.
 * @throws WalhouseError config_invalid where neither is given
 */
export function sourceUrl(
  given: string | undefined,
  environment: NodeJS.ProcessEnv,
  missing: { readonly why: string; readonly role: string },
): string {
  const url = given ?? variable('SOURCE_URL', environment);
  if (url === undefined || url === '') {
    throw new WalhouseError('config_invalid', {
      what: 'no source is named.',
      why: missing.why,
      fix: `set SOURCE_URL to postgres://USER:PASSWORD@HOST:PORT/DATABASE${missing.role}, or use --url`,
    });
  }
  if (given !== undefined && URL.canParse(given) && new URL(given).password !== '')
    process.stderr.write(
      'warning: everybody on this machine can read a command line, and --url has a password on it; set SOURCE_URL instead\n',
    );
  return url;
}
