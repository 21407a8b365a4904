import { WalhouseError, type ErrorKind } from '../pipeline/errors.js';
import { tlsTrouble } from '../pipeline/tls.js';
import type { Target } from './connection.js';

interface Described {
  readonly kind: ErrorKind;
  readonly what: string;
  readonly why: string;
  readonly fix: string;
}

/** What we were doing: the same SQLSTATE means different things at different moments. */
export type Doing = 'connect' | 'query' | 'stream';

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ENOENT',
]);
const CUT_OFF = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ERR_STREAM_DESTROYED']);

/**
 * Names a failure of the driver, the network or the server. Errors that are none of these (our own bugs) come back as they
 * are. The server's message is quoted: for these states it names objects and settings, never values of rows.
 */
export function sourceError(cause: unknown, target: Target, doing: Doing): unknown {
  if (cause instanceof WalhouseError || !(cause instanceof Error)) return cause;
  const code = (cause as { code?: unknown }).code;
  const trouble = tlsTrouble(cause, { server: `Postgres at ${target.host}`, side: 'source' });
  if (trouble !== null) return new WalhouseError('source_tls_failed', { ...trouble, cause });
  const described =
    typeof code === 'string'
      ? (byErrno(code, target) ?? byState(code, cause.message, target, doing))
      : byMessage(cause.message, target, doing);
  return described === null ? cause : new WalhouseError(described.kind, { ...described, cause });
}

function byErrno(code: string, { host }: Target): Described | null {
  if (UNREACHABLE.has(code)) {
    return {
      kind: 'source_unreachable',
      what: `no Postgres answers at ${host} (${code}).`,
      why: 'Nothing can be read from the source until it does.',
      fix: 'start the server, or correct host and port in source.url',
    };
  }
  return CUT_OFF.has(code) ? disconnected(host, code) : null;
}

function byMessage(message: string, { host }: Target, doing: Doing): Described | null {
  if (/timeout expired/i.test(message) || (doing === 'connect' && /terminated/i.test(message))) {
    return {
      kind: 'source_unreachable',
      what: `Postgres at ${host} did not complete the connection.`,
      why: 'Nothing can be read from the source until it does.',
      fix: 'check the address in source.url, firewalls, and whether the server is overloaded',
    };
  }
  if (/client password must be a string|SASL/i.test(message)) {
    return {
      kind: 'source_auth_failed',
      what: `Postgres at ${host} asks for a password and source.url has none that works.`,
      why: 'The server let nobody in.',
      fix: 'correct user and password in source.url',
    };
  }
  if (/terminated|not queryable|connection error|read timeout/i.test(message))
    return disconnected(host, message);
  return null;
}

function disconnected(host: string, reason: string): Described {
  return {
    kind: 'source_disconnected',
    what: `the connection to Postgres at ${host} broke (${reason}).`,
    why: 'What was not confirmed will be delivered again on the next connection.',
    fix: 'nothing, it is tried again; if it persists, look at the server log and the network between',
  };
}

/** What Postgres says of its own catalog when it decodes with a snapshot of it that is not the one of that moment. */
const LOST_SIGHT =
  /^(could not map filenode|pg_attribute catalog is missing|cache lookup failed|could not open relation with OID)/;

function byState(code: string, message: string, target: Target, doing: Doing): Described | null {
  if (!/^[0-9A-Z]{5}$/.test(code)) return null;
  const { host, database, user } = target;
  const at = `${database}@${host}`;
  const refused = { why: 'The server let nobody in.' };
  switch (code) {
    case '28P01':
    case '28000':
      if (/replication/i.test(message)) {
        return {
          kind: 'source_no_replication',
          what: `Postgres at ${host} accepts no replication connection from "${user}": ${message}.`,
          why: 'Changes can only be read over one.',
          fix: `add a line for user ${user}, database ${database} and this address to pg_hba.conf, then select pg_reload_conf()`,
        };
      }
      return {
        kind: 'source_auth_failed',
        what: `Postgres at ${host} refused user "${user}": ${message}.`,
        ...refused,
        fix: /no encryption|SSL off/.test(message)
          ? 'set source.tls if the server wants TLS; otherwise add a line for this user and address to pg_hba.conf'
          : 'correct user and password in source.url',
      };
    case '3D000':
      return {
        kind: 'source_database_missing',
        what: `database "${database}" does not exist at ${host}.`,
        why: 'There is nothing to read from.',
        fix: 'correct the database name in source.url',
      };
    case '42704':
      if (/configuration parameter/.test(message)) {
        return {
          kind: 'source_unsupported',
          what: `Postgres at ${host} does not know a setting that Walhouse pins: ${message}.`,
          why: 'Without it the text of values is not certain. Postgres 14 is the oldest that is supported.',
          fix: 'upgrade the server',
        };
      }
      if (/replication slot/.test(message)) {
        return {
          kind: 'slot_missing',
          what: `${message} on ${at}.`,
          why: 'The changes it kept can no longer be read.',
          fix: 'walhouse resync --all',
        };
      }
      break;
    case '42501':
      if (/replication|walsender/i.test(message)) {
        return {
          kind: 'source_no_replication',
          what: `role "${user}" may not replicate from ${at}: ${message}.`,
          why: 'Changes can only be read through a replication slot.',
          fix: `alter role ${JSON.stringify(user)} with replication`,
        };
      }
      return {
        kind: 'source_permission',
        what: `role "${user}" lacks a right on ${at}: ${message}.`,
        why: 'Rows that cannot be read cannot be copied.',
        fix: `grant the right to ${JSON.stringify(user)} (walhouse check prints the statement)`,
      };
    case '55000':
      if (/wal_level/.test(message)) {
        return {
          kind: 'source_wal_level',
          what: `${message} on ${at}.`,
          why: 'The WAL does not hold what logical decoding needs.',
          fix: 'alter system set wal_level = logical, then restart the server',
        };
      }
      if (/slot|WAL/.test(message)) return slotLost(message, at);
      break;
    case '58P01':
      if (/WAL segment/.test(message)) return slotLost(message, at);
      break;
    case '53400':
      return {
        kind: 'source_no_free_slot',
        what: `no replication slot is free on ${at}: ${message}.`,
        why: 'Without a slot the server forgets changes before they are read.',
        fix: 'drop a slot that nobody uses (select * from pg_replication_slots), or raise max_replication_slots and restart',
      };
    case '55006':
      return {
        kind: 'slot_in_use',
        what: `${message} on ${at}.`,
        why: 'Only one reader at a time may have it.',
        fix: 'nothing, it is waited for; or end the other reader',
      };
    case '55P03':
      return {
        kind: 'source_lock_timeout',
        what: `a lock on ${at} was not granted within a minute: ${message}.`,
        why: 'Somebody holds the table, a migration perhaps.',
        fix: 'nothing, it is tried again; to see who holds it: select * from pg_locks where granted',
      };
    case 'XX000':
      // From a slot's older place the server may have forgotten how a table was; from what is confirmed since it has not.
      if (doing === 'stream' && LOST_SIGHT.test(message)) {
        return {
          kind: 'source_decoding_failed',
          what: `Postgres at ${host} could not decode its own log: ${message}.`,
          why: 'It lost sight of how a table was, a mistake of its own; nothing that was not read yet is forgotten.',
          fix: 'nothing, it is tried again from where reading stands; if it persists, upgrade the server, or walhouse resync --all',
        };
      }
      break;
    case '57P01':
    case '57P02':
    case '57P03':
      return {
        kind: 'source_restarting',
        what: `Postgres at ${host} is starting, stopping or has ended our session: ${message}.`,
        why: 'It takes no work at the moment.',
        fix: 'nothing, it is tried again',
      };
    case '53300':
      return {
        kind: 'source_unreachable',
        what: `Postgres at ${host} has no free connection: ${message}.`,
        why: 'Nothing can be read from the source until it has.',
        fix: 'close connections, or raise max_connections or max_wal_senders',
      };
  }
  if (code.startsWith('08')) return disconnected(host, message);
  if (code.startsWith('53')) {
    return {
      kind: 'source_unreachable',
      what: `Postgres at ${host} is short of a resource: ${message}.`,
      why: 'Nothing can be read from the source until it has it.',
      fix: 'free memory or disk on the server; it is tried again meanwhile',
    };
  }
  return {
    kind: 'source_rejected',
    what: `Postgres at ${host} refused a ${doing === 'stream' ? 'replication command' : 'statement'} (${code}): ${message}.`,
    why: 'Walhouse does not know this refusal, so it does not go on.',
    fix: 'look at the server log; then walhouse check',
  };
}

function slotLost(message: string, at: string): Described {
  return {
    kind: 'slot_lost',
    what: `the replication slot on ${at} is no longer usable: ${message}.`,
    why: 'The server has forgotten changes that were not read yet.',
    fix: 'walhouse resync --all; then raise max_slot_wal_keep_size',
  };
}
