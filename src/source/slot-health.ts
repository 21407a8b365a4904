import type { Pool } from 'pg';
import type { SlotHealth } from '../pipeline/slot-health.js';

interface Row {
  readonly held: string | null;
  readonly safe: string | null;
  readonly limit_mb: string;
  readonly wal_status: string | null;
  readonly active: boolean;
}

/** Measures what the slot holds back; null when there is no such slot. Reads only, whatever the slot's plugin. */
export async function readSlotHealth(pool: Pool, slot: string): Promise<SlotHealth | null> {
  const { rows } = await pool.query<Row>(
    `select pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
                            s.restart_lsn)::text as held,
            s.safe_wal_size::text as safe, s.wal_status, s.active,
            (select setting from pg_settings where name = 'max_slot_wal_keep_size') as limit_mb
       from pg_replication_slots s where s.slot_name = $1`,
    [slot],
  );
  const [row] = rows;
  if (row === undefined) return null;
  const limitMb = BigInt(row.limit_mb);
  const unlimited = limitMb < 0n;
  // A slot that is lost holds nothing back any more.
  const held = BigInt(row.held ?? '0');
  const safe = row.safe === null ? 0n : BigInt(row.safe);
  return {
    heldBytes: held > 0n ? held : 0n,
    limitBytes: unlimited ? null : limitMb * 1024n * 1024n,
    headroomBytes: unlimited ? null : safe > 0n ? safe : 0n,
    walStatus: row.wal_status ?? 'lost',
    active: row.active,
  };
}
