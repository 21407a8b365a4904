import type { Pool } from 'pg';
import { WalhouseError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import type { Relation } from '../pipeline/relation.js';
import { quoteText, type Target } from './connection.js';
import { NUMBERS_AS_STRINGS } from './plugin-options.js';
import { slotPlugin, type Plugin } from './slot.js';

/** The oldest major version that is supported. */
export const VERSION_MIN = 140_000;
/** How long probing a plugin may wait for open transactions; that it waits says enough: the plugin was found. */
const PROBE_MS = 3_000;

export interface Server {
  /** `server_version_num`, e.g. 150018. */
  readonly version: number;
  readonly encoding: string;
  readonly inRecovery: boolean;
}

export async function readServer(pool: Pool, target: Target): Promise<Server> {
  const { rows } = await pool.query<{ version: number; encoding: string; recovery: boolean }>(
    `select current_setting('server_version_num')::int4 as version,
            current_setting('server_encoding') as encoding, pg_is_in_recovery() as recovery`,
  );
  const { version, encoding, recovery } = rows[0]!;
  if (version < VERSION_MIN) {
    throw new WalhouseError('source_unsupported', {
      what: `Postgres at ${target.host} is version ${Math.floor(version / 10_000)}.`,
      why: 'Versions before 14 are not supported.',
      fix: 'upgrade the server',
    });
  }
  return { version, encoding, inRecovery: recovery };
}

/**
 * Decides which plugin decodes. `auto` keeps to an existing slot's; for a new one it prefers wal2json where the server has
 * it and where that loses nothing: wal2json knows partitions by their own names only, writes bytes in the server's
 * encoding, and (up to version 2.5) writes NaN and the infinities as null, which a nullable column cannot be told from.
 * An explicit choice that would lose rows or text is refused.
 */
export async function choosePlugin(parts: {
  readonly pool: Pool;
  readonly server: Server;
  readonly wanted: 'auto' | Plugin;
  readonly slot: string;
  readonly relations: readonly Relation[];
  readonly log: Log;
}): Promise<Plugin> {
  const { pool, server, wanted, slot, relations, log } = parts;
  if (wanted === 'pgoutput') return wanted;
  const partitioned = await partitionedIds(pool, relations);
  if (wanted === 'wal2json') {
    refuseWal2json(server, partitioned);
    const doubtful = nullableNumbers(relations);
    if (doubtful.length > 0) {
      log.warn(
        { columns: doubtful.slice(0, 20) },
        'wal2json up to 2.5 writes NaN and the infinities as null; in these columns they cannot be told from null. decoder: pgoutput keeps them',
      );
    }
    return wanted;
  }
  const existing = await slotPlugin(pool, slot);
  if (existing === 'pgoutput') return 'pgoutput';
  if (existing === 'wal2json') {
    refuseWal2json(server, partitioned);
    return 'wal2json';
  }
  if (server.encoding !== 'UTF8' || partitioned.length > 0) return 'pgoutput';
  const probe = await probeWal2json(pool);
  if (probe === 'missing') return 'pgoutput';
  return probe === 'knows_numbers' || nullableNumbers(relations).length === 0 ? 'wal2json' : 'pgoutput';
}

function refuseWal2json(server: Server, partitioned: readonly string[]): void {
  if (partitioned.length > 0) {
    throw new WalhouseError('table_unsupported', {
      what: `${partitioned.join(', ')} is partitioned, and the decoder is wal2json.`,
      why: 'wal2json names partitions only, and leaves out those made later.',
      fix: 'set source.decoder to pgoutput, with another source.slot if this one exists',
    });
  }
  if (server.encoding !== 'UTF8') {
    throw new WalhouseError('source_unsupported', {
      what: `the database's encoding is ${server.encoding}, and the decoder is wal2json.`,
      why: 'wal2json does not convert text to UTF-8.',
      fix: 'set source.decoder to pgoutput, with another source.slot if this one exists',
    });
  }
}

async function partitionedIds(pool: Pool, relations: readonly Relation[]): Promise<string[]> {
  const { rows } = await pool.query<{ oid: number }>(
    `select oid::int8::float8 as oid from pg_class where oid = any($1::oid[]) and relkind = 'p'`,
    [relations.map(({ oid }) => oid)],
  );
  const oids = new Set(rows.map(({ oid }) => oid));
  return relations.filter(({ oid }) => oids.has(oid)).map(({ id }) => id);
}

/** Columns where a null of wal2json up to 2.5 may have been NaN or an infinity. */
export function nullableNumbers(relations: readonly Relation[]): string[] {
  return relations.flatMap(({ id, columns }) =>
    columns
      .filter(({ type, notNull }) => {
        if (type.name === 'float4' || type.name === 'float8') return true;
        // NOT NULL numeric(p,s): a null can only have been NaN, since it holds no infinity.
        return type.name === 'numeric' && !(notNull && type.modifier >= 0);
      })
      .map(({ name }) => `${id}.${name}`),
  );
}

/** Whether the server can load wal2json, found out with a temporary slot: the catalog does not list output plugins. */
async function probeWal2json(pool: Pool): Promise<'missing' | 'plain' | 'knows_numbers'> {
  const client = await pool.connect();
  try {
    const { rows } = await client.query<{ name: string }>(
      `select 'walhouse_probe_' || pg_backend_pid() as name`,
    );
    const slot = quoteText(rows[0]!.name);
    await client.query(`set statement_timeout = ${PROBE_MS}`);
    try {
      await client.query(`select pg_create_logical_replication_slot(${slot}, 'wal2json', true)`);
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === '57014') return 'plain';
      if (code === '58P01') return 'missing';
      throw error;
    }
    const knows = await client
      .query(`select from pg_logical_slot_peek_changes(${slot}, null, 1, '${NUMBERS_AS_STRINGS}', 'on')`)
      .then(
        () => true,
        () => false,
      );
    // A failed statement has dropped the temporary slot already.
    await client.query(
      `select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = ${slot}`,
    );
    return knows ? 'knows_numbers' : 'plain';
  } finally {
    // With its session ends whatever is left of the temporary slot.
    client.release(true);
  }
}
