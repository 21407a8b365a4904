import type { ErrorHandler, NotFoundHandler } from 'hono';
import { HTTPException } from 'hono/http-exception';
import type { ZodError } from 'zod';
import { WalhouseError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import { callerSignal, type ApiContext, type ApiEnv } from './context.js';
import { invalidRequest, Problem, problemDocument, problemHeaders, type InvalidPart } from './problem.js';

/** How many wrong parts one answer names. */
const INVALID_MAX = 20;

/** What a route answers to: its path as OpenAPI writes it. */
export interface RouteName {
  readonly method: string;
  readonly path: string;
}

/** Every failure as a problem document: ours, the framework's, and mistakes of our own, which say nothing of their inside. */
export function answerFailure(log: Log): ErrorHandler<ApiEnv> {
  return (error, context) => {
    if (callerSignal(context).aborted) return new Response(null, { status: 499 });
    const problem = asProblem(error);
    if (problem.status === 500) {
      log.error({ err: error, requestId: context.get('requestId') }, 'a mistake of our own while answering');
    }
    return answerProblem(context, problem);
  };
}

function answerProblem(context: ApiContext, { parts }: Problem): Response {
  return new Response(JSON.stringify(problemDocument(parts, context.get('requestId'))), {
    status: parts.status,
    headers: problemHeaders(parts),
  });
}

/** 404 for a path that is not there, 405 with Allow for one that is. */
export function answerUnknown(routes: readonly RouteName[]): NotFoundHandler<ApiEnv> {
  const patterns = routes.map((route) => ({
    method: route.method.toUpperCase(),
    // Nothing but the braces means anything in these paths.
    path: new RegExp(`^${route.path.replaceAll('.', '\\.').replaceAll(/\{[^}]+\}/g, '[^/]+')}$`),
  }));
  return (context) => {
    const methods = patterns.filter(({ path }) => path.test(context.req.path)).map(({ method }) => method);
    return answerProblem(context, methods.length === 0 ? unknownPath() : wrongMethod(methods));
  };
}

/** The 409 for an order that this instance does not take. `writer`: the one that does, where it is known. */
export function notTheWriter(state: string, writer: string | null): Problem {
  return new Problem({
    status: 409,
    kind: 'not_the_writer',
    title: 'This instance changes nothing.',
    detail: `It is ${state}: it reads what another instance stores.`,
    fix:
      writer === null
        ? 'send it to the instance that streams, once there is one: walhouse run'
        : `send it to the instance that streams: ${writer}`,
    extra: { writer },
  });
}

/** An order to an instance that does not know yet whether it is the one that writes. */
export function notYet(): Problem {
  return new Problem({
    status: 503,
    kind: 'starting',
    title: 'The service is starting.',
    detail: 'It has not found out yet whether it is the instance that writes.',
    fix: 'ask again in a moment',
    retryAfterMs: 1_000,
  });
}

function unknownPath(): Problem {
  return new Problem({
    status: 404,
    kind: 'path_unknown',
    title: 'There is nothing here.',
    detail: 'The path leads nowhere.',
    fix: 'see /openapi.json for what there is',
  });
}

function wrongMethod(methods: readonly string[]): Problem {
  const allowed = [...new Set(methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])))];
  return new Problem({
    status: 405,
    kind: 'method_not_allowed',
    title: 'The path is right, the method is not.',
    detail: `It takes ${allowed.join(', ')}.`,
    fix: `use ${allowed.join(' or ')}`,
    headers: { allow: allowed.join(', ') },
  });
}

/** What the schemas found, in terms of the request. */
export function invalidParts(target: string, error: ZodError): Problem {
  const place = target === 'param' ? 'path' : target === 'json' ? 'body' : target;
  const invalid: InvalidPart[] = [];
  for (const issue of error.issues) {
    const at = [place, ...issue.path.map(String)].join('.');
    if (issue.code === 'unrecognized_keys') {
      for (const key of issue.keys)
        invalid.push({ at: `${at}.${key.slice(0, 64)}`, detail: 'is not known here' });
    } else if (issue.code === 'invalid_type' && issue.path.length > 0 && place === 'query') {
      invalid.push({ at, detail: 'must be given once' });
    } else {
      invalid.push({ at, detail: issue.message });
    }
  }
  return invalidRequest(invalid.slice(0, INVALID_MAX), 'correct what is named; /openapi.json has the rules');
}

function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof HTTPException) return ofFramework(error.status);
  if (error instanceof WalhouseError && error.kind !== 'internal') return ofOutside(error);
  return new Problem({
    status: 500,
    kind: 'internal',
    title: 'Walhouse made a mistake.',
    detail: 'The request could not be answered, for a reason that is not yours.',
    fix: "look for the request's id in the log of Walhouse and report it",
    cause: error,
  });
}

/** What a database did not let us do, in the words that status has for it. */
function ofOutside(error: WalhouseError): Problem {
  return new Problem({
    status: 503,
    kind: error.kind,
    title: 'It could not be done at the moment.',
    detail: `${error.what} ${error.why}`,
    fix: error.fix,
    ...(error.policy === 'retry' ? { retryAfterMs: 1_000 } : {}),
    cause: error,
  });
}

function ofFramework(status: number): Problem {
  switch (status) {
    case 413:
      return bodyTooLarge();
    case 415:
      return new Problem({
        status,
        kind: 'media_type_unsupported',
        title: 'The body is not of a kind that is understood.',
        detail: 'The body has to be JSON.',
        fix: 'send "Content-Type: application/json"',
      });
    default:
      // All that is left of the framework's own: a body that is no JSON.
      return invalidRequest(
        [{ at: 'body', detail: 'is not JSON' }],
        'send a JSON object; /openapi.json has its form',
      );
  }
}

export const BODY_MAX_BYTES = 64 * 1024;

export function bodyTooLarge(): Problem {
  return new Problem({
    status: 413,
    kind: 'body_too_large',
    title: 'The body is too large.',
    detail: `A body may have ${BODY_MAX_BYTES} bytes.`,
    fix: 'ask for at most 1,000 merchants in one request',
  });
}
