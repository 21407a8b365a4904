import type { Client } from 'pg';
import { endsWithin } from '../pipeline/backoff.js';
import type { Turn } from '../pipeline/source.js';
import { connect, destroy, type Target } from './connection.js';
import { slotHolder, slotInUse } from './slot.js';

const ANSWER_MS = 10_000;
const GOODBYE_MS = 1_000;

/** The advisory lock's number: any that nobody else would choose, and the same for one slot. */
const KEY = `hashtextextended('walhouse turn ' || $1, 0)`;

/**
 * The turn to begin: from finding the slot free until it is ours one process goes at a time, the first snapshot included. It is an advisory
 * lock of a connection, so it ends with its process.
 *
 * Rejects with `slot_in_use` when another process has the turn, or reads the slot. Changes nothing on the server.
 */
export async function takeTurn(url: string, slot: string, target: Target): Promise<Turn> {
  const client = await connect(url, 'sql');
  try {
    const { rows } = await client.query<{ taken: boolean }>(
      patiently(`select pg_try_advisory_lock(${KEY}) as taken`, slot),
    );
    const holder = rows[0]!.taken ? await slotHolder(client, slot) : await turnHolder(client, slot);
    if (holder !== null) throw slotInUse(slot, target, holder);
  } catch (error) {
    await end(client);
    throw error;
  }
  return { end: () => end(client) };
}

async function turnHolder(client: Client, slot: string): Promise<string> {
  const { rows } = await client.query<{ pid: number; name: string | null; address: string | null }>(
    `select l.pid, a.application_name as name, host(a.client_addr) as address
       from pg_locks l left join pg_stat_activity a on a.pid = l.pid
      where l.locktype = 'advisory' and l.granted and l.objsubid = 1
        and l.database = (select oid from pg_database where datname = current_database())
        and (l.classid::int8 << 32 | l.objid::int8) = ${KEY}`,
    [slot],
  );
  const [holder] = rows;
  if (holder === undefined) return 'another process';
  const name = holder.name === null || holder.name === '' ? '' : ` ("${holder.name}")`;
  const from = holder.address === null ? '' : ` from ${holder.address}`;
  return `process ${holder.pid}${name}${from}, which is about to`;
}

/** A statement that is given up when the network keeps its answer. */
function patiently(
  text: string,
  ...values: string[]
): { text: string; values: string[]; query_timeout: number } {
  return { text, values, query_timeout: ANSWER_MS };
}

/** The lock goes with its connection; at once where the server says so, else when it notices. */
async function end(client: Client): Promise<void> {
  await endsWithin(
    GOODBYE_MS,
    client.end().catch(() => {}),
  );
  destroy(client);
}
