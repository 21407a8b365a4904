import { Agent } from 'node:https';
import { WalhouseError } from '../pipeline/errors.js';
import { isLoopback } from '../pipeline/loopback.js';
import { tlsOptions, type Tls } from '../pipeline/tls.js';

/** Where ClickHouse is, and how it is reached. */
export interface SinkServer {
  /** May carry user and password. */
  readonly url: string;
  readonly tls?: Tls | 'off' | undefined;
}

/**
 * How a connection is protected, and whether that is less than it should be. https is verified in full unless `tls` says less; http
 * beyond loopback must be asked for.
 * @throws WalhouseError config_invalid
 */
export function protectionOf({ url, tls }: SinkServer): {
  readonly tls: Tls | null;
  readonly warning: string | null;
} {
  const { protocol, hostname } = new URL(url);
  if (protocol === 'https:') {
    if (tls === 'off')
      throw invalid('sink.tls is off, and sink.url is https.', 'remove sink.tls, or correct the URL');
    const unverified = tls?.verify === 'none' && !isLoopback(hostname);
    return {
      tls: tls ?? { verify: 'full' },
      warning: unverified
        ? `nobody verifies that ClickHouse at ${hostname} is the one (sink.tls.verify is none)`
        : null,
    };
  }
  if (typeof tls === 'object')
    throw invalid(
      'sink.tls is set, and sink.url is http.',
      "use https:// and ClickHouse's port for it, 8443 as a rule",
    );
  if (isLoopback(hostname)) return { tls: null, warning: null };
  if (tls !== 'off') {
    throw invalid(
      `sink.url reaches ClickHouse at ${hostname} by http.`,
      "use https:// and ClickHouse's port for it, 8443 as a rule; or, on a network that nobody else is on, say sink.tls: off",
    );
  }
  return {
    tls: null,
    warning: `the connection to ClickHouse at ${hostname} is not encrypted (sink.tls is off)`,
  };
}

/** What `@clickhouse/client` needs besides the URL to connect as `protectionOf` says. */
export interface Wiring {
  readonly http_agent?: Agent;
  readonly http_headers?: Record<string, string>;
  readonly set_basic_auth_header?: boolean;
}

/**
 * The client's own `tls` cannot leave verification out, and sends the password beside the certificate, which ClickHouse refuses. So it
 * gets an agent. A certificate takes the place of a password that the URL does not have.
 */
export function wiringOf(server: SinkServer, connectionsMax: number): Wiring {
  const { tls } = protectionOf(server);
  if (tls === null) return {};
  const { username, password } = new URL(server.url);
  const http_agent = new Agent({
    keepAlive: true,
    maxSockets: connectionsMax,
    ...tlsOptions(tls, 'sink'),
  });
  if (tls.cert === undefined || password !== '') return { http_agent };
  return {
    http_agent,
    set_basic_auth_header: false,
    http_headers: {
      'X-ClickHouse-User': decodeURIComponent(username) || 'default',
      'X-ClickHouse-SSL-Certificate-Auth': 'on',
    },
  };
}

function invalid(what: string, fix: string): WalhouseError {
  return new WalhouseError('config_invalid', {
    what,
    why: 'Passwords and rows could be read on the way, or the setting would do nothing.',
    fix,
  });
}
