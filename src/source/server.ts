import type { Pool } from 'pg';
import { WalhouseError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import type { Relation } from '../pipeline/relation.js';
import { quoteName, quoteText, type Target } from './connection.js';
import { NUMBERS_AS_STRINGS } from './plugin-options.js';
import { decoderFilter, GENERATED_VERSION, mayHideNumbers, SELECTIVE_VERSION } from './row-filter.js';
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
 * Decides which plugin decodes. A slot that exists keeps to its own, and which tables that cannot carry is told by `misfits`; for a new
 * one `auto` prefers wal2json where the server has it and where that loses nothing: wal2json knows partitions by their own names only,
 * writes bytes in the server's encoding, and (up to version 2.5) writes NaN and the infinities as null. pgoutput leaves generated
 * columns out before Postgres 18. Where columns or rows are selected it is pgoutput first, since 15: what is left out stays on the server.
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
  const { server, slot } = parts;
  const existing = pluginOf(await slotPlugin(parts.pool, slot));
  if (existing === 'wal2json') refuseEncoding(server);
  // What was asked for and is not the slot's is said when the slot is read.
  if (existing !== null) return parts.wanted === 'pgoutput' ? parts.wanted : existing;
  const { pool, wanted, relations, log } = parts;
  const { version } = server;
  const unsent = unsentColumns(relations, version);
  if (wanted === 'pgoutput') {
    refuseGenerated(relations, version);
    return wanted;
  }
  const traits = await readTraits(pool, relations);
  const partitioned = traits.filter((table) => table.partitioned).map(({ relation }) => relation.id);
  const ambiguous = traits.flatMap(({ relation, numbers }) =>
    numbers.map((name) => `${relation.id}.${name}`),
  );
  if (wanted === 'wal2json') {
    refuseEncoding(server);
    if (partitioned[0] !== undefined) throw partitionedTable(partitioned[0]);
    if (ambiguous.length === 0 || (await probeWal2json(pool)) === 'knows_numbers') return 'wal2json';
    refuseGenerated(relations, version, ambiguous);
    log.warn(
      { columns: ambiguous.slice(0, 20) },
      'source.decoder is wal2json, which here (up to 2.5) writes NaN and the infinities as null; in these columns that could not be told from null, so pgoutput is used',
    );
    return 'pgoutput';
  }
  if (server.encoding !== 'UTF8' || partitioned.length > 0) {
    refuseGenerated(relations, version);
    return 'pgoutput';
  }
  const isSelective = relations.some(({ selection }) => selection !== undefined);
  if (isSelective && version >= SELECTIVE_VERSION && unsent.length === 0) return 'pgoutput';
  const probe = await probeWal2json(pool);
  const loses = unsent.length > 0 ? ambiguous : nullableNumbers(relations);
  if (probe === 'knows_numbers' || (probe === 'plain' && loses.length === 0)) return 'wal2json';
  refuseGenerated(relations, version, probe === 'plain' ? ambiguous : []);
  return 'pgoutput';
}

/**
 * Tables that the plugin of a slot cannot carry, by id, each with its fix. `knowsNumbers` is asked where it matters: whether wal2json
 * tells NaN and the infinities from null.
 */
export async function misfits(
  pool: Pool,
  slot: string,
  version: number,
  relations: readonly Relation[],
  knowsNumbers: () => Promise<boolean>,
): Promise<Map<string, WalhouseError>> {
  const problems = new Map<string, WalhouseError>();
  const plugin = pluginOf(await slotPlugin(pool, slot));
  if (plugin === null) return problems;
  for (const relation of relations) {
    try {
      if (plugin === 'pgoutput') refuseGenerated([relation], version);
      decoderFilter(relation, { plugin, version });
    } catch (error) {
      if (!(error instanceof WalhouseError)) throw error;
      problems.set(relation.id, error);
    }
  }
  if (plugin === 'wal2json') {
    for (const { relation, partitioned, numbers } of await readTraits(pool, relations)) {
      if (partitioned) problems.set(relation.id, partitionedTable(relation.id));
      else if (numbers.length > 0 && !(await knowsNumbers()))
        problems.set(relation.id, losesNumbers(slot, relation, numbers));
    }
  }
  return problems;
}

export async function knowsNumbers(pool: Pool): Promise<boolean> {
  return (await probeWal2json(pool)) === 'knows_numbers';
}

function pluginOf(name: string | null): Plugin | null {
  return name === 'wal2json' || name === 'pgoutput' ? name : null;
}

/**
 * Refuses columns whose values pgoutput does not send: they would stay behind when what they are made from changes.
 * `ambiguous` are the columns on whose account it is not wal2json.
 */
export function refuseGenerated(
  relations: readonly Relation[],
  version: number,
  ambiguous: readonly string[] = [],
): void {
  for (const relation of relations) refuseVirtualIdentity(relation);
  const columns = unsentColumns(relations, version);
  if (columns.length === 0) return;
  const first = columns[0]!;
  const table = quoted(first.relation);
  const drop = `alter table ${table} alter column ${quoteName(first.name)} drop expression`;
  const names = columns.map(({ relation, name }) => `${relation.id}.${name}`).join(', ');
  throw new WalhouseError('table_unsupported', {
    what: `${names} ${columns.length === 1 ? 'is a generated column' : 'are generated columns'}, and pgoutput does not send them.`,
    why:
      ambiguous.length === 0
        ? 'Their values could not be kept up to date.'
        : `wal2json would, but writes NaN as null, which could not be told from null in ${ambiguous.join(', ')}.`,
    fix: `${
      ambiguous.length === 0
        ? 'set source.decoder to wal2json where the server has it, with another source.slot if this one exists'
        : 'make those columns NOT NULL'
    }; or leave it out (tables.${first.relation.id}.exclude: [${first.name}]); or ${drop}`,
  });
}

/** Postgres refuses updates and deletes of a table that is published with such a column in its replica identity. */
function refuseVirtualIdentity(relation: Relation): void {
  const names = relation.selection?.virtual ?? [];
  if (names.length === 0 || relation.replicaIdentity !== 'full') return;
  throw new WalhouseError('table_unsupported', {
    what: `${relation.id} has replica identity FULL and the virtual generated column ${names.join(', ')}.`,
    why: 'Postgres would refuse updates and deletes of the table while a publication has it.',
    fix: `alter table ${quoted(relation)} replica identity default; or alter table ${quoted(relation)} drop column ${quoteName(names[0]!)}, and add it as a stored one`,
    table: relation.id,
  });
}

/** Generated columns among those that are copied, as far as pgoutput does not send them. */
function unsentColumns(
  relations: readonly Relation[],
  version: number,
): { relation: Relation; name: string }[] {
  if (version >= GENERATED_VERSION) return [];
  return relations.flatMap((relation) =>
    relation.columns.filter(({ generated }) => generated).map(({ name }) => ({ relation, name })),
  );
}

function losesNumbers(slot: string, relation: Relation, numbers: readonly string[]): WalhouseError {
  const copy = quoteText(`${slot}_pgoutput`);
  const alter = numbers.map((name) => `alter column ${quoteName(name)} set not null`).join(', ');
  return new WalhouseError('table_unsupported', {
    what: `${numbers.join(', ')} of ${relation.id} may be null, and wal2json here (up to 2.5) writes NaN and the infinities as null.`,
    why: 'A NaN would become a null without a word.',
    fix: `alter table ${quoted(relation)} ${alter}; or, for pgoutput, stop walhouse, select pg_copy_logical_replication_slot(${quoteText(slot)}, ${copy}, false, 'pgoutput'), and set source.slot to ${slot}_pgoutput and source.decoder to pgoutput`,
  });
}

function partitionedTable(id: string): WalhouseError {
  return new WalhouseError('table_unsupported', {
    what: `${id} is partitioned, and the decoder is wal2json.`,
    why: 'wal2json names partitions only, and leaves out those made later.',
    fix: 'set source.decoder to pgoutput, with another source.slot if this one exists',
  });
}

function refuseEncoding(server: Server): void {
  if (server.encoding === 'UTF8') return;
  throw new WalhouseError('source_unsupported', {
    what: `the database's encoding is ${server.encoding}, and the decoder is wal2json.`,
    why: 'wal2json does not convert text to UTF-8.',
    fix: 'set source.decoder to pgoutput, with another source.slot if this one exists',
  });
}

function quoted({ schema, name }: Relation): string {
  return `${quoteName(schema)}.${quoteName(name)}`;
}

interface Traits {
  readonly relation: Relation;
  readonly partitioned: boolean;
  /** Nullable columns of a number type itself, and what conditions read of them; those of a domain come as strings from wal2json, and so keep NaN. */
  readonly numbers: readonly string[];
}

async function readTraits(pool: Pool, relations: readonly Relation[]): Promise<Traits[]> {
  const { rows } = await pool.query<{ oid: number; partitioned: boolean; numbers: string[] }>(
    `select c.oid::int8::float8 as oid, c.relkind = 'p' as partitioned,
            coalesce((select array_agg(a.attname::text order by a.attnum) from pg_attribute a
                       where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and not a.attnotnull
                         and a.atttypid in ('float4'::regtype, 'float8'::regtype, 'numeric'::regtype)), '{}') as numbers
       from pg_class c where c.oid = any($1::oid[])`,
    [relations.map(({ oid }) => oid)],
  );
  const found = new Map(rows.map((row) => [row.oid, row]));
  return relations.map((relation) => {
    const { partitioned = false, numbers = [] } = found.get(relation.oid) ?? {};
    const copied = numbers.filter((name) => relation.columns.some((column) => column.name === name));
    const read = (relation.selection?.whereColumns ?? []).filter(mayHideNumbers).map(({ name }) => name);
    return { relation, partitioned, numbers: [...new Set([...copied, ...read])] };
  });
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
