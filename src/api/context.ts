import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import type { Span } from '../pipeline/tracer.js';

/** What a request carries through the routes. */
export interface ApiEnv {
  Bindings: Partial<HttpBindings> & {
    /** Aborts when the server begins to close: whoever merely waits should stop waiting. */
    closing?: AbortSignal;
  };
  Variables: {
    requestId: string;
    /** null where the request is not traced. */
    span: Span | null;
    /** The key's name, once it is known. */
    caller?: string;
    /** How often the caller may ask, and how often still: the fields of the answer. */
    rate?: { readonly policy: string; readonly left: string };
  };
}

export type ApiContext = Context<ApiEnv>;

const REQUEST_ID = /^[A-Za-z0-9_.:-]{1,128}$/;

/** The caller's own id of the request where it has a harmless form, otherwise a new one. */
export function requestIdOf(context: ApiContext): string {
  const given = context.req.header('x-request-id');
  return given !== undefined && REQUEST_ID.test(given) ? given : crypto.randomUUID();
}

/** The peer's address; `unknown` where a request did not come over a socket. */
export function addressOf(context: ApiContext): string {
  // Without a server there are no bindings at all, whatever the type says.
  const bindings = context.env as ApiEnv['Bindings'] | undefined;
  return bindings?.incoming?.socket.remoteAddress ?? 'unknown';
}

/** Aborts when the caller goes away. */
export function callerSignal(context: ApiContext): AbortSignal {
  return context.req.raw.signal;
}

/** Aborts when the caller goes away or the server closes. */
export function waitingSignal(context: ApiContext): AbortSignal {
  const closing = (context.env as ApiEnv['Bindings'] | undefined)?.closing;
  return closing === undefined ? callerSignal(context) : AbortSignal.any([callerSignal(context), closing]);
}
