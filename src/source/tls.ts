import { WalhouseError } from '../pipeline/errors.js';
import { isLoopback } from '../pipeline/loopback.js';
import type { Tls } from '../pipeline/tls.js';

/** What a URL can say of TLS, in libpq's words. All of it is taken out before `pg` sees the URL, since `pg` reads it otherwise. */
const PARAMETERS = ['sslmode', 'sslrootcert', 'sslcert', 'sslkey', 'ssl', 'uselibpqcompat'] as const;

const VERIFY = { full: 'verify-full', ca: 'verify-ca', none: 'no-verify' } as const;

/**
 * The URL with what `source.tls` says, so that one text tells where the source is and how it is reached.
 * @throws WalhouseError config_invalid where the URL says something of TLS already
 */
export function withTls(url: string, tls: Tls | 'off' | undefined): string {
  if (tls === undefined) return url;
  const parsed = new URL(url);
  const said = PARAMETERS.find((name) => parsed.searchParams.has(name));
  if (said !== undefined)
    throw invalid(`source.tls is set, and source.url has ${said} besides.`, 'say it in one of the two');
  if (tls === 'off') {
    parsed.searchParams.set('sslmode', 'disable');
    return parsed.href;
  }
  parsed.searchParams.set('sslmode', VERIFY[tls.verify]);
  for (const [name, path] of [
    ['sslrootcert', tls.ca],
    ['sslcert', tls.cert],
    ['sslkey', tls.key],
  ] as const)
    if (path !== undefined) parsed.searchParams.set(name, path);
  return parsed.href;
}

/**
 * What the URL says of TLS, taken out of it. It is verified in full unless the URL says less; `require`, which libpq does not
 * verify at all, is no exception. Without a word, loopback and sockets are reached without TLS and everything else with it.
 * @throws WalhouseError config_invalid for what leaves open whether the connection is protected
 */
export function takeTls(url: URL, host: string): Tls | 'off' {
  const said = new Map<string, string>();
  for (const name of PARAMETERS) {
    const values = url.searchParams.getAll(name);
    if (values.length > 0) said.set(name, values.at(-1)!);
    url.searchParams.delete(name);
  }
  const mode = said.get('sslmode') ?? modeOf(said);
  const ca = said.get('sslrootcert');
  const files = {
    ...(ca === undefined || ca === 'system' ? {} : { ca }),
    ...(said.has('sslcert') ? { cert: said.get('sslcert') } : {}),
    ...(said.has('sslkey') ? { key: said.get('sslkey') } : {}),
  };
  switch (mode) {
    case null:
      return isLocal(host) && Object.keys(files).length === 0 ? 'off' : { ...files, verify: 'full' };
    case 'disable':
      return 'off';
    case 'require':
    case 'verify-full':
      return { ...files, verify: 'full' };
    case 'verify-ca':
      return { ...files, verify: 'ca' };
    case 'no-verify':
      return { ...files, verify: 'none' };
    default:
      throw invalid(
        `sslmode in source.url leaves open whether the connection is protected, or does not exist.`,
        'set sslmode to verify-full, verify-ca, no-verify or disable; or leave it out, and use source.tls',
      );
  }
}

/** The short form that some providers print. */
function modeOf(said: ReadonlyMap<string, string>): string | null {
  const short = said.get('ssl');
  if (short === undefined) return null;
  if (['true', '1'].includes(short)) return 'verify-full';
  return ['false', '0'].includes(short) ? 'disable' : short;
}

/** Never leaves this machine: loopback, or a socket's directory. */
export function isLocal(host: string): boolean {
  return host.startsWith('/') || isLoopback(host);
}

function invalid(what: string, fix: string): WalhouseError {
  return new WalhouseError('config_invalid', {
    what,
    why: 'How the connection is protected must not be a matter of chance.',
    fix,
  });
}
