import { readFileSync } from 'node:fs';
import { createSecureContext, type ConnectionOptions } from 'node:tls';
import { WalhouseError } from './errors.js';

/**
 * How a connection to a server is protected; `ca`, `cert` and `key` are paths to PEM files. `full` verifies the server's certificate and
 * that it bears the name we connect to, `ca` leaves the name out, and `none` verifies nothing, so anybody in between can read along.
 */
export interface Tls {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly verify: 'full' | 'ca' | 'none';
}

/** Where the settings of a connection stand, for messages. */
export interface TlsPlace {
  /** `Postgres at db1:5432`. */
  readonly server: string;
  /** The side of the configuration: `source` has `source.url` and `source.tls`. */
  readonly side: 'source' | 'sink';
}

/**
 * What `node:tls` takes. Files are read each time, so a connection that is made after they were renewed uses the new ones.
 * @throws WalhouseError config_invalid for files that cannot be read or do not belong together
 */
export function tlsOptions({ ca, cert, key, verify }: Tls, side: TlsPlace['side']): ConnectionOptions {
  const files = {
    ...(ca === undefined ? {} : { ca: read(ca, `${side}.tls.ca`) }),
    ...(cert === undefined ? {} : { cert: read(cert, `${side}.tls.cert`) }),
    ...(key === undefined ? {} : { key: read(key, `${side}.tls.key`) }),
  };
  try {
    createSecureContext(files);
  } catch (cause) {
    throw unusable(
      `the files of ${side}.tls cannot be used (${codeOf(cause)}).`,
      `name PEM files in ${side}.tls.ca, .cert and .key; the key must be that of the certificate, and have no passphrase`,
      cause,
    );
  }
  return {
    ...files,
    minVersion: 'TLSv1.2',
    // Said in so many words, since Node takes the default from an environment variable.
    rejectUnauthorized: verify !== 'none',
    ...(verify === 'full' ? {} : { checkServerIdentity: () => undefined }),
  };
}

function read(path: string, key: string): Buffer {
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (cause) {
    throw unusable(
      `${key}: ${path} cannot be read (${codeOf(cause)}).`,
      `correct the path or its rights`,
      cause,
    );
  }
  // Node takes a file without any certificate for a list of none, and says later that it does not know the authority.
  if (content.includes('-----BEGIN ')) return content;
  throw unusable(`${key}: ${path} is not a PEM file.`, 'name one that has a line -----BEGIN ...-----');
}

function unusable(what: string, fix: string, cause?: unknown): WalhouseError {
  return new WalhouseError('config_invalid', {
    what,
    why: 'Without it the connection would not be protected as it was meant to be.',
    fix,
    cause,
  });
}

const UNKNOWN_AUTHORITY = new Set([
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'INVALID_CA',
  'CERT_UNTRUSTED',
  'CERT_CHAIN_TOO_LONG',
  'CERT_SIGNATURE_FAILURE',
  'ERR_SSL_CERTIFICATE_VERIFY_FAILED',
]);
const OUT_OF_DATE = new Set(['CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID', 'CRL_HAS_EXPIRED']);
const UNENCRYPTED = new Set([
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_HTTP_REQUEST',
  'ERR_SSL_UNSUPPORTED_PROTOCOL',
  'ERR_SSL_NO_PROTOCOLS_AVAILABLE',
]);

export interface TlsTrouble {
  readonly what: string;
  readonly why: string;
  readonly fix: string;
}

/** What a failed connection says of TLS, or null where it says nothing of it. */
export function tlsTrouble(cause: unknown, { server, side }: TlsPlace): TlsTrouble | null {
  const code = codeOf(cause);
  const message = cause instanceof Error ? cause.message : '';
  const tls = `${side}.tls`;
  const imposter = 'Who answers may not be who was meant, so nothing was sent to it.';
  if (UNKNOWN_AUTHORITY.has(code)) {
    return {
      what: `the certificate of ${server} is not signed by an authority that is trusted here (${code}).`,
      why: imposter,
      fix: `name the certificate of the authority that signed it in ${tls}.ca`,
    };
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return {
      what: `the certificate of ${server} is for another name: ${namesIn(cause)}`,
      why: imposter,
      fix: `use a name that the certificate has in ${side}.url; or, where any server of that authority will do, ${tls}.verify: ca`,
    };
  }
  if (OUT_OF_DATE.has(code)) {
    return {
      what: `the certificate of ${server} is not valid today (${code}).`,
      why: imposter,
      fix: "renew the certificate on the server, or correct this machine's clock",
    };
  }
  if (code.startsWith('CERT_')) {
    return {
      what: `the certificate of ${server} was refused (${code}).`,
      why: imposter,
      fix: 'give the server a certificate that may be used for this',
    };
  }
  if (
    /^ERR_SSL_.*(CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE)$/.test(code) ||
    /valid client certificate/.test(message)
  ) {
    return {
      what: `${server} lets nobody in without a client certificate that it trusts.`,
      why: 'The server let nobody in.',
      fix: `name our certificate and its key in ${tls}.cert and ${tls}.key`,
    };
  }
  if (/^ERR_SSL_.*ALERT/.test(code) || /certificate authentication failed/.test(message)) {
    return {
      what: `${server} refused our client certificate (${code === '28000' ? message : code}).`,
      why: 'The server let nobody in.',
      fix: `name a certificate in ${tls}.cert that is valid today, signed by the authority that the server trusts, and made out to the user of ${side}.url`,
    };
  }
  if (UNENCRYPTED.has(code) || /does not support SSL|establishing an SSL connection/.test(message)) {
    return {
      what: `${server} offers no TLS there.`,
      why: 'The connection is not made without it: passwords and rows could be read on the way.',
      fix: `turn TLS on at the server and name its port in ${side}.url; or, on a network that nobody else is on, say ${tls}: off`,
    };
  }
  if (code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_')) {
    return {
      what: `${server} and we cannot agree on TLS (${code}).`,
      why: 'The connection is not made without it.',
      fix: 'look at the log of the server, and which versions and ciphers it takes; TLS 1.2 is the oldest that is spoken here',
    };
  }
  return null;
}

/** Names are the server's and ours, and no secret. */
function namesIn(cause: unknown): string {
  const { host, cert } = cause as {
    host?: string;
    cert?: { subjectaltname?: string; subject?: { CN?: string } };
  };
  const names = cert?.subjectaltname ?? cert?.subject?.CN ?? 'none';
  return `it has ${names.slice(0, 300)}, and not ${host}.`;
}

/** Node's code; what OpenSSL says while we write comes as EPROTO, with the reason in the message alone. */
function codeOf(cause: unknown): string {
  const code = (cause as { code?: unknown } | null)?.code;
  if (typeof code !== 'string') return '';
  const reason =
    code === 'EPROTO' && cause instanceof Error ? /SSL routines:[^:]*:([^:]+):/.exec(cause.message) : null;
  return reason === null ? code : `ERR_SSL_${reason[1]!.toUpperCase().replaceAll(' ', '_')}`;
}
