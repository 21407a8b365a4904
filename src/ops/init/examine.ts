import type { ClientBase } from 'pg';
import { WalhouseError } from '../../pipeline/errors.js';
import { silentLog } from '../../pipeline/log.js';
import type { Relation } from '../../pipeline/relation.js';
import { Names } from '../../sink/names.js';
import { storedType } from '../../sink/types.js';
import { connect, openPool, parseTarget, quoteName } from '../../source/connection.js';
import { choosePlugin, readServer } from '../../source/server.js';
import { readEach } from '../check/read-each.js';
import { readSourceTables, type SourceTable } from './source-tables.js';

/** A table with what the configuration should say of it. */
export interface ExaminedTable {
  readonly table: SourceTable;
  /** null when it must be left out. */
  readonly relation: Relation | null;
  /** Why it is left out, and what to type; null when it is not. */
  readonly reason: { readonly what: string; readonly fix: string } | null;
  /** Names of columns by which it could be kept for a limited time. */
  readonly dates: readonly string[];
  /** Names of columns that, by these names, tell who somebody is. */
  readonly personal: readonly string[];
  /** Columns that arrive as Postgres's own text although they are no text: `tags text[]`. */
  readonly texts: readonly string[];
}

export interface ExaminedSource {
  readonly database: string;
  readonly host: string;
  readonly tables: readonly ExaminedTable[];
  /** A slot of the usual name exists, so another one is proposed. */
  readonly slotTaken: boolean;
}

/** Text by nature: nobody is surprised to find it as a String. */
const TEXTS = new Set(['text', 'varchar', 'bpchar', 'name', 'char', 'json', 'jsonb', 'xml', 'bytea']);

/** Reads what the configuration is made of; changes nothing. Rejects with a WalhouseError when the source cannot be read. */
export async function examineSource(url: string, schemas: readonly string[] | null): Promise<ExaminedSource> {
  const { host, database } = parseTarget(url);
  const client = await connect(url, 'sql');
  try {
    const tables = await readSourceTables(client, schemas);
    const { rows } = await client.query<{ taken: boolean; database: string }>(
      `select exists (select from pg_replication_slots where slot_name = 'walhouse') as taken,
              current_database() as database`,
    );
    const examined = await examineTables(client, tables);
    return {
      database: rows[0]?.database ?? database,
      host,
      tables: leaveOut(examined, await decoderRefuses(url, examined)),
      slotTaken: rows[0]?.taken ?? false,
    };
  } finally {
    await client.end();
  }
}

/**
 * pgoutput leaves generated columns out, and one table can be why it has to decode all of them. What `run` would say to the tables
 * together, or null.
 */
async function decoderRefuses(
  url: string,
  examined: readonly ExaminedTable[],
): Promise<WalhouseError | null> {
  const relations = examined.flatMap(({ relation }) => relation ?? []);
  if (!relations.some(isGenerated)) return null;
  const pool = openPool(url);
  try {
    const server = await readServer(pool, parseTarget(url));
    // A name that no slot has: what an older one decodes is not asked.
    await choosePlugin({ pool, server, wanted: 'auto', slot: '', relations, log: silentLog });
    return null;
  } catch (error) {
    // Rights and settings that are missing are for `check` to tell.
    return error instanceof WalhouseError && error.kind === 'table_unsupported' ? error : null;
  } finally {
    await pool.end();
  }
}

function isGenerated({ columns }: Relation): boolean {
  return columns.some(({ generated }) => generated);
}

function leaveOut(examined: readonly ExaminedTable[], error: WalhouseError | null): readonly ExaminedTable[] {
  if (error === null) return examined;
  return examined.map((table) => {
    if (table.relation === null || !isGenerated(table.relation)) return table;
    return { ...table, relation: null, reason: error };
  });
}

async function examineTables(client: ClientBase, tables: readonly SourceTable[]): Promise<ExaminedTable[]> {
  const readable = tables.filter(({ isReadable }) => isReadable);
  const relations = await readEach(client, [...new Set(readable.map(({ id }) => id))]);
  const names = new Names();
  return tables.map((table) => {
    const found = relations.get(table.id);
    const reason = reasonAgainst(table, found, names);
    const relation = reason === null && !(found instanceof WalhouseError) ? (found ?? null) : null;
    return {
      table,
      relation,
      reason,
      dates: relation === null ? [] : datesOf(relation),
      personal: relation === null ? [] : personalOf(relation),
      texts: relation === null ? [] : textsOf(relation),
    };
  });
}

function reasonAgainst(
  table: SourceTable,
  found: Relation | WalhouseError | undefined,
  names: Names,
): ExaminedTable['reason'] {
  if (!table.isReadable) {
    return {
      what: 'the role may not read it',
      fix: `grant usage on schema ${quoteName(table.schema)} to ROLE; grant select on ${sourceName(table)} to ROLE`,
    };
  }
  if (table.isFiltered) {
    return {
      what: 'row-level security would hide rows from the snapshot',
      fix: 'alter role ROLE with bypassrls',
    };
  }
  // The part before the first dot must be the schema for the configuration to be read.
  if (table.schema.startsWith('.') || table.schema === '') {
    return { what: 'its name cannot be written as schema.table', fix: 'rename the schema' };
  }
  if (found instanceof WalhouseError) return found;
  try {
    if (found !== undefined) names.claim(found);
    return null;
  } catch (error) {
    if (error instanceof WalhouseError) return error;
    throw error;
  }
}

function datesOf(relation: Relation): string[] {
  return relation.columns
    .filter(({ type }) => type.kind === 'base' && ['date', 'timestamp', 'timestamptz'].includes(type.name))
    .map(({ name }) => name);
}

const PERSONAL =
  /(^|_)(e_?mail|phone|mobile|iban|ssn|passport|birth_?date|date_of_birth|(first|last|full|sur)_?name|address|street|ip)(_|$)/i;

/** Columns of the key cannot be masked. */
function personalOf({ columns, key }: Relation): string[] {
  return columns
    .filter(({ name }, index) => PERSONAL.test(name) && !key.includes(index))
    .map(({ name }) => name);
}

/** `tags text[]` for each column whose ClickHouse type is text and whose Postgres type is not. */
export function textsOf(relation: Relation): string[] {
  return relation.columns
    .filter((column) => !TEXTS.has(column.type.name) && storedType(column).base === 'String')
    .map(({ name, type }) => `${name} ${type.text}`);
}

/** The table as SQL for Postgres wants it, quoted where it must be. */
export function sourceName({ schema, name }: { readonly schema: string; readonly name: string }): string {
  return [schema, name].map((part) => (/^[a-z_][a-z0-9_]*$/.test(part) ? part : quoteName(part))).join('.');
}
