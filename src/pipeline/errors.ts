/**
 * Every kind of failure that the outside world can cause, and what is done about it. Retrying is the short list:
 * whatever is not known to pass by itself stops with its fix.
 */
export const ERROR_POLICY = {
  // The source, or the way to it, is away for a while.
  source_unreachable: 'retry',
  source_disconnected: 'retry',
  source_restarting: 'retry',
  source_lock_timeout: 'retry',
  source_decoding_failed: 'retry',
  // The sink, or the way to it.
  sink_unreachable: 'retry',
  sink_timeout: 'retry',
  sink_overloaded: 'retry',
  sink_read_only: 'retry',
  sink_disk_full: 'retry',
  // Another instance has the slot, or what is stored: this one stands by until it goes.
  slot_in_use: 'stand_by',
  sink_taken_over: 'stand_by',
  // Somebody asked for what cannot be done just now.
  repair_interrupted: 'retry',
  // Preconditions and contradictions: a person has to act.
  config_invalid: 'stop',
  source_auth_failed: 'stop',
  source_tls_failed: 'stop',
  source_database_missing: 'stop',
  source_no_replication: 'stop',
  source_wal_level: 'stop',
  source_no_free_slot: 'stop',
  source_permission: 'stop',
  source_unsupported: 'stop',
  source_rejected: 'stop',
  source_cluster_changed: 'stop',
  source_timeline_forked: 'stop',
  slot_missing: 'stop',
  slot_lost: 'stop',
  slot_ahead: 'stop',
  slot_wrong_plugin: 'stop',
  slot_wrong_database: 'stop',
  publication_conflict: 'stop',
  table_missing: 'stop',
  table_no_identity: 'stop',
  table_unsupported: 'stop',
  table_name_collision: 'stop',
  schema_changed: 'stop',
  decode_failed: 'stop',
  sink_auth_failed: 'stop',
  sink_tls_failed: 'stop',
  sink_unsupported: 'stop',
  sink_permission: 'stop',
  sink_rejected: 'stop',
  mart_invalid: 'stop',
  repair_too_large: 'stop',
  erase_refused: 'stop',
  domain_unknown: 'stop',
  load_refused: 'stop',
  // The local servers of the demo and the tests.
  local_install_failed: 'stop',
  local_port_taken: 'stop',
  local_data_unusable: 'stop',
  local_start_failed: 'stop',
  local_server_died: 'stop',
  // A mistake of our own: nothing is known of what would be right, so nothing goes on.
  internal: 'stop',
  // One row that its ClickHouse type cannot hold.
  value_not_storable: 'quarantine',
} as const satisfies Record<string, 'retry' | 'stand_by' | 'stop' | 'quarantine'>;

export type ErrorKind = keyof typeof ERROR_POLICY;

/**
 * A failure as a person should read it: what happened, why it matters, what to do.
 * `message` is the whole sentence, e.g. `slot_missing: replication slot "walhouse" does not exist on shop@db1.
 * Changes since 0/16B3748 can no longer be read. Fix: walhouse resync --all`. It never holds a row's values or a secret.
 */
export class WalhouseError extends Error {
  readonly kind: ErrorKind;
  readonly what: string;
  readonly why: string;
  readonly fix: string;
  /** `schema.name` of the one table that it is about, where it need not concern the others. */
  readonly table: string | null;

  constructor(
    kind: ErrorKind,
    parts: { what: string; why: string; fix: string; table?: string; cause?: unknown },
  ) {
    super(`${kind}: ${parts.what} ${parts.why} Fix: ${parts.fix}`, { cause: parts.cause });
    this.name = 'WalhouseError';
    this.kind = kind;
    this.what = parts.what;
    this.why = parts.why;
    this.fix = parts.fix;
    this.table = parts.table ?? null;
  }

  get policy(): (typeof ERROR_POLICY)[ErrorKind] {
    return ERROR_POLICY[this.kind];
  }
}

/** What was thrown, as a typed error: what is none is a mistake of our own. */
export function asWalhouseError(cause: unknown): WalhouseError {
  if (cause instanceof WalhouseError) return cause;
  return new WalhouseError('internal', {
    what: cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause),
    why: 'This is a mistake in Walhouse itself; it stopped rather than guess.',
    fix: 'restart walhouse; if it comes again, report it with this message and the log before it',
    cause,
  });
}
