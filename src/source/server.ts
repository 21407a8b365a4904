import type { Pool } from 'pg';
import { WalhouseError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import type { Relation } from '../pipeline/relation.js';
import { quoteName, quoteText, type Target } from './connection.js';
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
 * encoding, and (up to version 2.5) writes NaN and the infinities as null. pgoutput leaves generated columns out.
 *
 * A choice that would lose something is refused. There is one exception: where wal2json was chosen and a column may be null or
 * NaN, a new slot gets pgoutput instead, with a warning, since nullable numbers are everywhere and a null that
 * was a NaN would be lost in silence. (In a NOT NULL column wal2json's null can only be NaN or an infinity, and goes to
 * quarantine.)
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
  if (wanted === 'pgoutput') {
    refuseGenerated(relations);
    return wanted;
  }
  const { partitioned, ambiguous } = await readTraits(pool, relations);
  const existing = await slotPlugin(pool, slot);
  if (wanted === 'wal2json' || existing === 'wal2json') {
    refuseWal2json(server, partitioned);
    if (ambiguous.length === 0 || (await probeWal2json(pool)) === 'knows_numbers') return 'wal2json';
    if (existing === 'wal2json') throw slotLosesNumbers(slot, ambiguous);
    refuseGenerated(relations, ambiguous);
    log.warn(
      { columns: ambiguous.slice(0, 20) },
      'source.decoder is wal2json, which here (up to 2.5) writes NaN and the infinities as null; in these columns that could not be told from null, so pgoutput is used',
    );
    return 'pgoutput';
  }
  if (existing === 'pgoutput' || server.encoding !== 'UTF8' || partitioned.length > 0) {
    refuseGenerated(relations);
    return 'pgoutput';
  }
  const probe = await probeWal2json(pool);
  const loses = generatedColumns(relations).length > 0 ? ambiguous : nullableNumbers(relations);
  if (probe === 'knows_numbers' || (probe === 'plain' && loses.length === 0)) return 'wal2json';
  refuseGenerated(relations, probe === 'plain' ? ambiguous : []);
  return 'pgoutput';
}

/**
 * Refuses columns whose values pgoutput does not send: they would stay behind when what they are made from changes.
 * `ambiguous` are the columns on whose account it is not wal2json.
 */
export function refuseGenerated(relations: readonly Relation[], ambiguous: readonly string[] = []): void {
  const columns = generatedColumns(relations);
  const [first] = columns;
  if (first === undefined) return;
  const table = `${quoteName(first.relation.schema)}.${quoteName(first.relation.name)}`;
  const drop = `alter table ${table} alter column ${quoteName(first.name)} drop expression`;
  const names = columns.map(({ relation, name }) => `${relation.id}.${name}`).join(', ');
  throw new WalhouseError('table_unsupported', {
    what: `${names} ${columns.length === 1 ? 'is a generated column' : 'are generated columns'}, and pgoutput does not send them.`,
    why:
      ambiguous.length === 0
        ? 'Their values could not be kept up to date.'
        : `wal2json would, but writes NaN as null, which could not be told from null in ${ambiguous.join(', ')}.`,
    fix:
      ambiguous.length === 0
        ? `set source.decoder to wal2json where the server has it, with another source.slot if this one exists; or ${drop}`
        : `make those columns NOT NULL; or ${drop}`,
  });
}

function generatedColumns(relations: readonly Relation[]): { relation: Relation; name: string }[] {
  return relations.flatMap((relation) =>
    relation.columns.filter(({ generated }) => generated).map(({ name }) => ({ relation, name })),
  );
}

function slotLosesNumbers(slot: string, ambiguous: readonly string[]): WalhouseError {
  const copy = quoteText(`${slot}_pgoutput`);
  return new WalhouseError('source_unsupported', {
    what: `replication slot "${slot}" belongs to wal2json, which here (up to 2.5) writes NaN and the infinities as null, and ${ambiguous.join(', ')} may be null.`,
    why: 'A NaN would become a null without a word.',
    fix: `select pg_copy_logical_replication_slot(${quoteText(slot)}, ${copy}, false, 'pgoutput'), then set source.slot to ${slot}_pgoutput and source.decoder to pgoutput`,
  });
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

interface Traits {
  /** Ids of partitioned tables. */
  readonly partitioned: string[];
  /** Nullable columns of a number type itself; those of a domain come as strings from wal2json, and so keep NaN. */
  readonly ambiguous: string[];
}

async function readTraits(pool: Pool, relations: readonly Relation[]): Promise<Traits> {
  const { rows } = await pool.query<{ oid: number; partitioned: boolean; numbers: string[] }>(
    `select c.oid::int8::float8 as oid, c.relkind = 'p' as partitioned,
            coalesce((select array_agg(a.attname::text order by a.attnum) from pg_attribute a
                       where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and not a.attnotnull
                         and a.atttypid in ('float4'::regtype, 'float8'::regtype, 'numeric'::regtype)), '{}') as numbers
       from pg_class c where c.oid = any($1::oid[])`,
    [relations.map(({ oid }) => oid)],
  );
  const found = new Map(rows.map((row) => [row.oid, row]));
  return {
    partitioned: relations.filter(({ oid }) => found.get(oid)?.partitioned === true).map(({ id }) => id),
    ambiguous: relations.flatMap(({ id, oid }) =>
      (found.get(oid)?.numbers ?? []).map((name) => `${id}.${name}`),
    ),
  };
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
