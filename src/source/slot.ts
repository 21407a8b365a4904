import type { ClientBase, Pool } from 'pg';
import { WalhouseError } from '../pipeline/errors.js';
import { formatLsn, lsnFrom, type Lsn } from '../pipeline/lsn.js';
import type { SlotState } from '../pipeline/source.js';
import { quoteName, type Target } from './connection.js';

export type Plugin = 'wal2json' | 'pgoutput';

/** `pg_replication_slots`, read as JSON since its columns differ between versions. */
interface SlotRow {
  readonly plugin: string | null;
  readonly slot_type: string;
  readonly database: string | null;
  readonly active: boolean;
  readonly active_pid: number | null;
  readonly wal_status: string | null;
  readonly restart_lsn: string | null;
  readonly confirmed_flush_lsn: string | null;
  /** Since Postgres 17. */
  readonly invalidation_reason?: string | null;
  /** Since Postgres 16. */
  readonly conflicting?: boolean | null;
}

const SLOT = `
  select to_jsonb(s) as slot,
         (pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
                          s.restart_lsn))::text as held,
         current_database() as here
    from pg_replication_slots s where s.slot_name = $1`;

/** Which plugin an existing slot belongs to; null when there is no such slot. */
export async function slotPlugin(pool: Pool, slot: string): Promise<string | null> {
  const { rows } = await pool.query<{ plugin: string | null }>(
    'select plugin from pg_replication_slots where slot_name = $1',
    [slot],
  );
  return rows[0] === undefined ? null : (rows[0].plugin ?? 'physical');
}

/**
 * Reads the slot's state; null when it does not exist. Throws when it exists and can never be streamed from: lost, another
 * plugin's, another database's. Being active is no error here, since it passes.
 */
export async function readSlot(
  pool: Pool,
  slot: string,
  plugin: Plugin,
  target: Target,
): Promise<(SlotState & { readonly endangered: boolean }) | null> {
  const { rows } = await pool.query<{ slot: SlotRow; held: string | null; here: string }>(SLOT, [slot]);
  const row = rows[0];
  if (row === undefined) return null;
  const state = row.slot;
  const at = `${target.database}@${target.host}`;
  if (state.slot_type !== 'logical' || state.plugin !== plugin) {
    throw new WalhouseError('slot_wrong_plugin', {
      what: `replication slot "${slot}" on ${at} belongs to ${state.plugin ?? 'physical replication'}, not to ${plugin}.`,
      why: 'What it sends could not be read.',
      fix:
        state.plugin === 'wal2json' || state.plugin === 'pgoutput'
          ? `set source.decoder to ${state.plugin}, or choose another source.slot`
          : 'choose another source.slot',
    });
  }
  if (state.database !== row.here) {
    throw new WalhouseError('slot_wrong_database', {
      what: `replication slot "${slot}" on ${target.host} belongs to database ${state.database ?? '?'}, not to ${row.here}.`,
      why: 'It sends the changes of that database only.',
      fix: 'choose another source.slot, or correct the database in source.url',
    });
  }
  const reason = state.invalidation_reason ?? (state.conflicting === true ? 'conflict with recovery' : null);
  if (state.wal_status === 'lost' || reason !== null || state.confirmed_flush_lsn === null) {
    throw new WalhouseError('slot_lost', {
      what: `replication slot "${slot}" on ${at} is lost${reason === null ? '' : ` (${reason})`}.`,
      why: `Changes since ${state.confirmed_flush_lsn ?? 'its creation'} can no longer be read.`,
      fix: 'walhouse resync --all; and raise max_slot_wal_keep_size',
    });
  }
  return {
    confirmedLsn: lsnFrom(state.confirmed_flush_lsn),
    active: state.active,
    heldBytes: BigInt(row.held ?? '0'),
    endangered: state.wal_status === 'unreserved',
  };
}

/** Says who holds the slot, for the message of `slot_in_use`. */
export async function slotHolder(pool: Pool | ClientBase, slot: string): Promise<string | null> {
  const { rows } = await pool.query<{ pid: number; name: string | null; address: string | null }>(
    `select s.active_pid as pid, a.application_name as name, host(a.client_addr) as address
       from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid
      where s.slot_name = $1 and s.active_pid is not null`,
    [slot],
  );
  const holder = rows[0];
  if (holder === undefined) return null;
  const name = holder.name === null || holder.name === '' ? '' : ` ("${holder.name}")`;
  return `process ${holder.pid}${name}${holder.address === null ? '' : ` from ${holder.address}`}`;
}

export function slotInUse(slot: string, target: Target, holder: string | null): WalhouseError {
  return new WalhouseError('slot_in_use', {
    what: `replication slot "${slot}" on ${target.database}@${target.host} is read by ${holder ?? 'another process'}.`,
    why: 'Only one reader at a time may have it.',
    fix: 'nothing, this instance takes over when the other one goes; or end the other reader',
  });
}

export interface ExportedSnapshot {
  readonly consistentPoint: Lsn;
  readonly snapshotName: string;
}

/**
 * Creates a slot on a replication connection and exports its snapshot, which lives until the next command on that
 * connection. Waits for every transaction that is open now. `failover` asks Postgres 17 and later to keep it on standbys.
 */
export async function createSlot(
  replication: ClientBase,
  slot: string,
  plugin: Plugin,
  options: { readonly temporary: boolean; readonly failover: boolean; readonly serverVersion: number },
): Promise<ExportedSnapshot> {
  const words = ['CREATE_REPLICATION_SLOT', quoteName(slot)];
  if (options.temporary) words.push('TEMPORARY');
  words.push('LOGICAL', quoteName(plugin));
  if (options.serverVersion < 150_000) words.push('EXPORT_SNAPSHOT');
  else words.push(options.failover ? `(SNAPSHOT 'export', FAILOVER true)` : `(SNAPSHOT 'export')`);
  const { rows } = await replication.query<{ consistent_point: string; snapshot_name: string }>(
    words.join(' '),
  );
  const row = rows[0]!;
  return { consistentPoint: lsnFrom(row.consistent_point), snapshotName: row.snapshot_name };
}

/** How long a reader that is leaving may still hold a slot that is to be dropped. */
const LEAVING_MS = 3_000;
const LEAVING_LOOK_MS = 50;

/** Drops the slot; nothing when it does not exist, `slot_in_use` when somebody goes on reading it. */
export async function dropSlot(pool: Pool, slot: string, target: Target): Promise<void> {
  const deadline = Date.now() + LEAVING_MS;
  for (;;) {
    try {
      await pool.query(
        'select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1',
        [slot],
      );
      return;
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === '42704') return;
      if (code !== '55006') throw error;
      if (Date.now() > deadline) throw slotInUse(slot, target, await slotHolder(pool, slot));
      await new Promise((resolve) => setTimeout(resolve, LEAVING_LOOK_MS));
    }
  }
}

export function slotMissing(slot: string, target: Target, since: Lsn | null): WalhouseError {
  return new WalhouseError('slot_missing', {
    what: `replication slot "${slot}" does not exist on ${target.database}@${target.host}.`,
    why:
      since === null
        ? 'There is nothing to stream from.'
        : `Changes since ${formatLsn(since)} can no longer be read.`,
    fix: 'walhouse resync --all',
  });
}
