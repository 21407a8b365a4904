import { ClickHouseError } from '@clickhouse/client';
import { WalhouseError, type ErrorKind } from '../pipeline/errors.js';
import { tlsTrouble } from '../pipeline/tls.js';

interface Meaning {
  readonly kind: ErrorKind;
  readonly what: string;
  readonly fix: string;
}

const OVERLOADED: Meaning = {
  kind: 'sink_overloaded',
  what: 'has more work or parts than it can take now',
  fix: 'none needed if it passes; otherwise give ClickHouse more memory, or look for what keeps merges from finishing (system.merges, system.parts)',
};
const READ_ONLY: Meaning = {
  kind: 'sink_read_only',
  what: 'is read-only now',
  fix: 'none needed if it passes; otherwise look at system.replicas and at the readonly setting of the user',
};
const DISK_FULL: Meaning = {
  kind: 'sink_disk_full',
  what: 'has no space left',
  fix: "free or add disk space on ClickHouse's server; Walhouse goes on by itself",
};
const AUTH: Meaning = {
  kind: 'sink_auth_failed',
  what: 'refused the user or password',
  fix: 'correct user and password in sink.url',
};
const PERMISSION: Meaning = {
  kind: 'sink_permission',
  what: 'did not allow it',
  fix: 'grant the user of sink.url all rights on the sink database and on the databases beside it that end in _landing and _audit',
};
const TIMEOUT: Meaning = {
  kind: 'sink_timeout',
  what: 'did not finish in time',
  fix: 'none needed if it passes; otherwise look at system.processes for what keeps ClickHouse busy',
};
/** By the constraints of our tables, see `Ownership`. */
const LATE: Meaning = {
  kind: 'sink_timeout',
  what: 'turned away what came later than it was meant to',
  fix: 'none needed, Walhouse tries again; otherwise look for constraints on its tables that are not its own',
};
const UNREACHABLE: Meaning = {
  kind: 'sink_unreachable',
  what: 'cannot be reached',
  fix: 'start ClickHouse or correct sink.url; Walhouse goes on by itself',
};
const NO_ANSWER: Meaning = {
  kind: 'sink_rejected',
  what: 'answered with something that is not an answer of ClickHouse',
  fix: 'look whether sink.url is the HTTP address of ClickHouse and not of something before it',
};
const CUT_OFF: Meaning = {
  kind: 'sink_unreachable',
  what: 'gave no answer that can be read, as it or something before it may when it goes down',
  fix: 'nothing, it is tried again; if it persists, look at what stands before ClickHouse',
};
const UNSUPPORTED: Meaning = {
  kind: 'sink_unsupported',
  what: 'is too old, or lacks something that Walhouse needs',
  fix: 'use ClickHouse 25.8 or later',
};

/** ClickHouse's own error types; whatever is not here is not known to pass by itself. */
const BY_TYPE: Readonly<Record<string, Meaning>> = {
  TOO_MANY_PARTS: OVERLOADED,
  MEMORY_LIMIT_EXCEEDED: OVERLOADED,
  TOO_MANY_SIMULTANEOUS_QUERIES: OVERLOADED,
  TOO_MANY_MUTATIONS: OVERLOADED,
  CANNOT_ALLOCATE_MEMORY: OVERLOADED,
  CANNOT_SCHEDULE_TASK: OVERLOADED,
  NETWORK_ERROR: UNREACHABLE,
  ALL_CONNECTION_TRIES_FAILED: UNREACHABLE,
  KEEPER_EXCEPTION: UNREACHABLE,
  NO_ZOOKEEPER: UNREACHABLE,
  UNKNOWN_STATUS_OF_INSERT: UNREACHABLE,
  ABORTED: UNREACHABLE,
  SERVER_OVERLOADED: OVERLOADED,
  QUERY_WAS_CANCELLED: TIMEOUT,
  TIMEOUT_EXCEEDED: TIMEOUT,
  SOCKET_TIMEOUT: TIMEOUT,
  DEADLOCK_AVOIDED: TIMEOUT,
  UNFINISHED: TIMEOUT,
  VIOLATED_CONSTRAINT: LATE,
  TABLE_IS_READ_ONLY: READ_ONLY,
  TABLE_IS_PERMANENTLY_READ_ONLY: READ_ONLY,
  READONLY: READ_ONLY,
  NOT_ENOUGH_SPACE: DISK_FULL,
  CANNOT_WRITE_TO_FILE_DESCRIPTOR: DISK_FULL,
  AUTHENTICATION_FAILED: AUTH,
  REQUIRED_PASSWORD: AUTH,
  WRONG_PASSWORD: AUTH,
  UNKNOWN_USER: AUTH,
  ACCESS_DENIED: PERMISSION,
  DATABASE_ACCESS_DENIED: PERMISSION,
  UNKNOWN_SETTING: UNSUPPORTED,
  UNKNOWN_FUNCTION: UNSUPPORTED,
};

const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ERR_STREAM_PREMATURE_CLOSE',
]);

/**
 * What a failed request to ClickHouse means. ClickHouse's own message is not passed on where it may quote rows, as it does when it cannot
 * parse or convert; its error type always is. `doing` completes "while ..."; `rowsInvolved` is false for
 * definitions, which hold no values; `isKnown`: it has been ClickHouse that answered there.
 */
export function sinkFailure(
  cause: unknown,
  doing: string,
  rowsInvolved = true,
  isKnown = false,
): WalhouseError {
  if (cause instanceof WalhouseError) return cause;
  if (cause instanceof ClickHouseError) return fromServer(cause, doing, rowsInvolved);
  const trouble = tlsTrouble(cause, { server: 'ClickHouse', side: 'sink' });
  if (trouble !== null) return new WalhouseError('sink_tls_failed', { ...trouble, cause });
  const { code, message } = describe(cause);
  if (/timeout/i.test(message) || code === 'ETIMEDOUT') return make(TIMEOUT, doing, code);
  if (NETWORK_CODES.has(code) || /socket hang up|aborted|bad gateway|service unavailable/i.test(message))
    return make(UNREACHABLE, doing, code);
  const name = cause instanceof Error ? cause.name : '';
  // A mistake of our own would not pass by itself.
  const passes = isKnown && (name === 'Error' || name === 'SyntaxError');
  return make(passes ? CUT_OFF : NO_ANSWER, doing, code || name);
}

/** Whether ClickHouse refused what may be another process's to do by now. */
export function mayBeTakenOver(cause: unknown, failure: WalhouseError): boolean {
  return failure.policy === 'stop' || isTurnedAway(cause);
}

/** Whether it is what `Ownership` does to statements of an earlier epoch. */
export function isTurnedAway(cause: unknown): boolean {
  return (
    cause instanceof ClickHouseError && /^(VIOLATED_CONSTRAINT|QUERY_WAS_CANCELLED)$/.test(cause.type ?? '')
  );
}

/** Types whose message says which object is wrong, and cannot hold a value of a row. */
const SAFE_MESSAGES = new Set([
  'UNKNOWN_TABLE',
  'UNKNOWN_DATABASE',
  'UNKNOWN_IDENTIFIER',
  'NO_SUCH_COLUMN_IN_TABLE',
  'ACCESS_DENIED',
  'UNKNOWN_SETTING',
  'UNKNOWN_FUNCTION',
  'TABLE_ALREADY_EXISTS',
  'BAD_TTL_EXPRESSION',
  'TOO_MANY_PARTS',
]);

function fromServer(error: ClickHouseError, doing: string, rowsInvolved: boolean): WalhouseError {
  const type = error.type ?? `code ${error.code}`;
  const full = error.type !== undefined && /No space left/.test(error.message) ? DISK_FULL : undefined;
  const known = full ?? (Object.hasOwn(BY_TYPE, type) ? BY_TYPE[type] : undefined);
  const detail = !rowsInvolved || SAFE_MESSAGES.has(type) ? `${type}: ${firstLine(error.message)}` : type;
  if (known !== undefined) return make(known, doing, detail);
  return make(
    {
      kind: 'sink_rejected',
      what: 'refused it',
      fix: "look at ClickHouse's own log for this error type; if a table or view of Walhouse's was changed by hand, walhouse resync that table",
    },
    doing,
    detail,
  );
}

function make(meaning: Meaning, doing: string, detail: string): WalhouseError {
  return new WalhouseError(meaning.kind, {
    what: `ClickHouse ${meaning.what}${detail === '' ? '' : ` (${detail})`} while ${doing}.`,
    why: 'Nothing is confirmed to Postgres until ClickHouse has it.',
    fix: meaning.fix,
  });
}

function firstLine(message: string): string {
  return message.split('\n', 1)[0]!.trim().slice(0, 300);
}

/** `AggregateError` is what Node throws when every address of a host refused. */
function describe(cause: unknown): { code: string; message: string } {
  if (!(cause instanceof Error)) return { code: '', message: String(cause) };
  const first = cause instanceof AggregateError ? (cause.errors[0] as unknown) : cause;
  const code = (first as { code?: unknown }).code ?? (cause as { code?: unknown }).code;
  return { code: typeof code === 'string' ? code : '', message: cause.message };
}
