import { ClickHouseError } from '@clickhouse/client';
import { tlsTrouble } from '../pipeline/tls.js';
import { Problem } from './problem.js';

const TITLE = 'No true answer can be given at the moment.';

interface Sort {
  readonly kind: string;
  readonly what: string;
  readonly fix: string;
  readonly retryAfterMs: number;
}

const TIMEOUT: Sort = {
  kind: 'sink_timeout',
  what: 'ClickHouse did not answer in time.',
  fix: 'ask again; if it stays so, look at the load and the slow queries of ClickHouse',
  retryAfterMs: 1000,
};
const OVERLOADED: Sort = {
  kind: 'sink_overloaded',
  what: 'ClickHouse has more work than it takes on.',
  fix: 'ask again later; if it stays so, raise its memory or its limit of simultaneous queries',
  retryAfterMs: 2000,
};
const REFUSED: Sort = {
  kind: 'sink_auth_failed',
  what: 'ClickHouse refused the user that Walhouse reads with.',
  fix: 'check the user, its password and its grants in sink.url',
  retryAfterMs: 30_000,
};
const UNREACHABLE: Sort = {
  kind: 'sink_unreachable',
  what: 'ClickHouse cannot be reached.',
  fix: 'ask again; if it stays so, check that ClickHouse runs and that sink.url leads to it',
  retryAfterMs: 2000,
};

// By the names in ClickHouse's ErrorCodes.cpp, which do not change.
const BY_TYPE: Readonly<Record<string, Sort>> = {
  TIMEOUT_EXCEEDED: TIMEOUT,
  QUERY_WAS_CANCELLED: TIMEOUT,
  SOCKET_TIMEOUT: TIMEOUT,
  MEMORY_LIMIT_EXCEEDED: OVERLOADED,
  TOO_MANY_SIMULTANEOUS_QUERIES: OVERLOADED,
  QUOTA_EXCEEDED: OVERLOADED,
  NO_FREE_CONNECTION: OVERLOADED,
  CANNOT_SCHEDULE_TASK: OVERLOADED,
  AUTHENTICATION_FAILED: REFUSED,
  REQUIRED_PASSWORD: REFUSED,
  ACCESS_DENIED: REFUSED,
  UNKNOWN_USER: REFUSED,
};

/** Whether the connection broke before an answer came, as it does when an idle one was closed by the other side. */
export function isBrokenConnection(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ECONNRESET' || code === 'EPIPE';
}

/**
 * A failed query as a 503. ClickHouse's own message is left out: it quotes the query and sometimes its values.
 */
export function sinkProblem(error: unknown): Problem {
  const sort = sortOf(error);
  return new Problem({
    status: 503,
    kind: sort.kind,
    title: TITLE,
    detail: `${sort.what} An answer would not be known to be true.`,
    fix: sort.fix,
    retryAfterMs: sort.retryAfterMs,
    cause: error,
  });
}

/** The 503 of a look-up whose time ran out, wherever it was spent. */
export function deadlineProblem(deadlineMs: number): Problem {
  return new Problem({
    status: 503,
    kind: TIMEOUT.kind,
    title: TITLE,
    detail: `ClickHouse did not answer within ${deadlineMs} ms.`,
    fix: TIMEOUT.fix,
    retryAfterMs: TIMEOUT.retryAfterMs,
  });
}

function sortOf(error: unknown): Sort {
  if (error instanceof ClickHouseError) {
    const known = error.type === undefined ? undefined : BY_TYPE[error.type];
    return (
      known ?? {
        kind: 'sink_rejected',
        what: `ClickHouse rejected the question (${error.type ?? 'unknown error'}, code ${error.code}).`,
        fix: 'see the last exception in system.query_log of ClickHouse; walhouse check says whether a table or a grant is missing',
        retryAfterMs: 10_000,
      }
    );
  }
  const trouble = tlsTrouble(error, { server: 'ClickHouse', side: 'sink' });
  if (trouble !== null)
    return { kind: 'sink_tls_failed', what: trouble.what, fix: trouble.fix, retryAfterMs: 30_000 };
  const code = errorCode(error);
  if (code === 'ETIMEDOUT' || (error instanceof Error && /timeout/i.test(error.message))) return TIMEOUT;
  return UNREACHABLE;
}

function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  if (code !== undefined) return code;
  return error.message === 'socket hang up' ? 'ECONNRESET' : undefined;
}
