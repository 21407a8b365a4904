import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { WalhouseError } from '../pipeline/errors.js';
import { isLoopback } from '../pipeline/loopback.js';
import type { ApiEnv } from './context.js';
import { problemDocument, problemHeaders, type ProblemParts } from './problem.js';
import { SECURITY_HEADERS, USUAL_HEADERS } from './security-headers.js';

export interface ServeOptions {
  readonly host: string;
  /** 0 for any that is free. */
  readonly port: number;
  /** Further names that the Host header may carry when `host` is loopback, such as a proxy's. */
  readonly hosts?: readonly string[];
  readonly limits?: Partial<ServeLimits>;
}

export interface ServeLimits {
  readonly connectionsMax: number;
  /** Address and headers of a request together. */
  readonly headersBytesMax: number;
  /** From the first byte of a request to the end of its headers. */
  readonly headersMs: number;
  /** From the first byte of a request to its last. */
  readonly requestMs: number;
  /** A connection on which nothing moves: one that asks nothing, a long wait_ms, a client that does not read its answers. */
  readonly idleMs: number;
  /** How long a client may take to read an answer, from when the whole of it is ready. */
  readonly answerMs: number;
  /** Between two requests of one connection. */
  readonly keepAliveMs: number;
  /** How long `close` lets answers that are on their way finish. */
  readonly closeMs: number;
}

export const SERVE_LIMITS: ServeLimits = {
  connectionsMax: 4096,
  headersBytesMax: 16 * 1024,
  headersMs: 10_000,
  requestMs: 15_000,
  idleMs: 60_000,
  answerMs: 30_000,
  keepAliveMs: 65_000,
  closeMs: 10_000,
};

export interface ServedApi {
  /** `http://127.0.0.1:8080`, with the port that was taken. */
  readonly url: string;
  /** Accepts nothing more, finishes what was taken on, and cuts off what is left after a bound. */
  readonly close: () => Promise<void>;
}

/**
 * Serves the API on one address. On loopback the Host header must name loopback too, so that no web page can reach it
 * through a name of its own that resolves here (DNS rebinding). Throws config_invalid when the address cannot be had.
 */
export async function serveApi(app: Pick<Hono<ApiEnv>, 'fetch'>, options: ServeOptions): Promise<ServedApi> {
  const limits = { ...SERVE_LIMITS, ...options.limits };
  const closing = new AbortController();
  const answering = new Set<ServerResponse>();
  const names = isLoopback(options.host) ? (options.hosts ?? []).map((name) => name.toLowerCase()) : null;

  const answer = getRequestListener(
    (request, bindings) => app.fetch(request, { ...bindings, closing: closing.signal }),
    { errorHandler: () => problemResponse(BAD_REQUEST), overrideGlobalObjects: false },
  );
  const server = createServer(
    {
      maxHeaderSize: limits.headersBytesMax,
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.keepAliveMs,
      connectionsCheckingInterval: Math.min(1000, limits.headersMs, limits.requestMs),
      // Hono answers 400 itself, as a problem document.
      requireHostHeader: false,
    },
    (incoming: IncomingMessage, outgoing: ServerResponse) => {
      answering.add(outgoing);
      outgoing.once('close', () => answering.delete(outgoing));
      // One that sends a byte now and then is never idle, and would have us keep all that it does not read.
      outgoing.once('prefinish', () => {
        const late = setTimeout(() => outgoing.socket?.destroy(), limits.answerMs);
        outgoing.once('close', () => clearTimeout(late));
      });
      if (closing.signal.aborted) outgoing.setHeader('connection', 'close');
      if (names !== null && !namesLoopback(incoming.headers.host, names)) {
        writeProblem(outgoing, WRONG_HOST);
        return;
      }
      void answer(incoming, outgoing);
    },
  );
  server.maxConnections = limits.connectionsMax;
  server.timeout = limits.idleMs;
  server.on('clientError', answerBrokenRequest);
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });

  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  const shown = options.host.includes(':') ? `[${options.host.replace(/^\[|\]$/g, '')}]` : options.host;
  return {
    url: `http://${shown}:${port}`,
    close: () => close(server, { sockets, answering }, closing, limits.closeMs),
  };
}

function listen(server: Server, { host, port }: ServeOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => {
      reject(
        new WalhouseError('config_invalid', {
          what: `the API cannot listen on ${host}:${port} (${error.code ?? error.message}).`,
          why: 'Nobody could ask anything.',
          fix:
            error.code === 'EADDRINUSE'
              ? 'stop what listens there, or set another port in api.listen'
              : 'set an address of this machine, and a port above 1023, in api.listen',
          cause: error,
        }),
      );
    };
    server.once('error', onError);
    server.listen(port, host.replace(/^\[|\]$/g, ''), () => {
      server.off('error', onError);
      resolve();
    });
  });
}

function close(
  server: Server,
  open: { sockets: ReadonlySet<Socket>; answering: ReadonlySet<ServerResponse> },
  closing: AbortController,
  closeMs: number,
): Promise<void> {
  return new Promise((resolve) => {
    // A connection that is kept alive beyond its answer would hold up the closing.
    const busy = new Set<Socket | null>();
    for (const outgoing of open.answering) {
      busy.add(outgoing.socket);
      if (!outgoing.headersSent) outgoing.setHeader('connection', 'close');
    }
    const cutOff = setTimeout(() => server.closeAllConnections(), closeMs);
    server.close(() => {
      clearTimeout(cutOff);
      resolve();
    });
    closing.abort(new Error('the server is closing'));
    // Node counts a connection that has not asked anything yet among the busy ones.
    for (const socket of open.sockets) if (!busy.has(socket)) socket.destroy();
  });
}

function namesLoopback(header: string | undefined, names: readonly string[]): boolean {
  if (header === undefined) return false;
  const name = header.replace(/:\d*$/, '').toLowerCase();
  return isLoopback(name) || names.includes(name);
}

const BAD_REQUEST: ProblemParts = {
  status: 400,
  kind: 'request_malformed',
  title: 'This is not a request that can be read.',
  detail: 'The request line or a header is not valid HTTP.',
  fix: 'use an HTTP client',
};
const TOO_SLOW: ProblemParts = {
  status: 408,
  kind: 'request_too_slow',
  title: 'The request did not arrive in time.',
  detail: 'The connection is closed.',
  fix: 'send the whole request at once',
};
const HEADERS_TOO_LARGE: ProblemParts = {
  status: 431,
  kind: 'headers_too_large',
  title: 'The headers are too large.',
  detail: 'Address and headers together are longer than is read, 16 kB as a rule.',
  fix: 'send fewer or shorter headers, and long lists of merchants with POST /v1/merchants/risk',
};
const WRONG_HOST: ProblemParts = {
  status: 421,
  kind: 'host_unknown',
  title: 'The Host header names another service.',
  detail: 'This service listens on loopback and answers only to localhost, 127.0.0.1 and [::1].',
  fix: 'ask for http://localhost or http://127.0.0.1',
};

/** Of answers that no route gave. */
function headersOf(parts: ProblemParts): Record<string, string> {
  return { ...USUAL_HEADERS, ...SECURITY_HEADERS, ...problemHeaders(parts) };
}

function problemResponse(parts: ProblemParts): Response {
  return new Response(JSON.stringify(problemDocument(parts, null)), {
    status: parts.status,
    headers: headersOf(parts),
  });
}

function writeProblem(outgoing: ServerResponse, parts: ProblemParts): void {
  const body = JSON.stringify(problemDocument(parts, null));
  outgoing.writeHead(parts.status, { ...headersOf(parts), 'content-length': Buffer.byteLength(body) });
  outgoing.end(body);
}

/** What Node could not read as HTTP, or not in time, never becomes a request; the answer is written by hand. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const parts =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? TOO_SLOW
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? HEADERS_TOO_LARGE
        : BAD_REQUEST;
  const body = JSON.stringify(problemDocument(parts, null));
  const head = Object.entries({
    ...headersOf(parts),
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  });
  socket.end(
    `HTTP/1.1 ${parts.status} ${parts.title}\r\n${head.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
  );
}
