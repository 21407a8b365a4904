import type { ClientBase } from 'pg';
import { WalhouseError } from '../pipeline/errors.js';
import type { Relation } from '../pipeline/relation.js';
import { quoteName } from './connection.js';
import { entryOf, look, published, type Entry, type Look, type PublicationRow } from './publication-look.js';
import { GENERATED_VERSION } from './row-filter.js';
import { undone } from './undone.js';

/** How long a lock on a table that is to be published is waited for: the others wait as well. */
const LOCK_MS = 2_000;

export interface PublicationSet {
  readonly done: 'created' | 'changed' | 'kept';
  /** Tables that could not be published yet, by id: each is locked by somebody. */
  readonly locked: ReadonlyMap<string, WalhouseError>;
}

/**
 * Creates the publication, or brings an existing one up to exactly what is given: these tables, with the columns and rows that are
 * selected of each, every kind of change, partitions under their root's name. A publication of all tables or of a
 * schema is refused rather than narrowed: somebody else made it, and for other readers.
 *
 * It must run before the slot is made, or before a table's snapshot is taken: what was changed before a table was
 * published is not sent. For the same reason `onDiffering` is told, before anything is altered, of tables whose entry was not as it should be.
 * A table that somebody has locked is left out, and said.
 */
export async function ensurePublication(
  client: ClientBase,
  name: string,
  relations: readonly Relation[],
  version: number,
  onDiffering: (ids: readonly string[]) => Promise<void> = () => Promise.resolve(),
): Promise<PublicationSet> {
  const entries = relations.map((relation) => entryOf(relation, version));
  const before = await look(client, name, entries, version);
  const { publication } = before;
  if (publication !== null) await refuseWider(client, name, publication);
  if (publication !== null && !before.settingsDiffer && !before.tablesDiffer) return KEPT;
  if (before.differing.length > 0) await onDiffering(before.differing);
  const alterations = await alterationsOf(client, name, entries, before, version);
  const statements = alterations.flatMap((alteration) => alteration.statements);
  const locked = new Map<string, WalhouseError>();
  await client.query('savepoint walhouse_publication');
  try {
    await client.query(`set local lock_timeout = ${LOCK_MS}`);
    for (const alteration of alterations) {
      const refused = await tryAlteration(client, alteration);
      if (refused !== null && alteration.table !== null) locked.set(alteration.table, refused);
    }
  } catch (error) {
    await client.query('rollback to savepoint walhouse_publication');
    // Somebody else keeps it, and it has all that is wanted: what it has besides is passed over.
    const { code } = error as { code?: string };
    if (code === '42501' && before.differing.length === 0 && !before.settingsDiffer) return KEPT;
    if (code === '42501') throw mayNot(name, statements, error);
    if (code === '42P01') await refuseGone(client, relations);
    for (const entry of entries) await tryEntry(client, entry);
    throw error;
  }
  const after = await look(client, name, entries, version);
  const wrong = after.differing.filter((id) => !locked.has(id));
  if (after.settingsDiffer || wrong.length > 0)
    throw new WalhouseError('schema_changed', {
      what: `publication "${name}" is not as it was just made: ${wrong.join(', ') || 'its settings'}.`,
      why: 'A table was dropped or altered in the same moment, or another program alters the publication.',
      fix: 'nothing, the tables are looked at again; if it comes again and again, find who alters the publication',
      ...(wrong[0] === undefined ? {} : { table: wrong[0] }),
    });
  return { done: publication === null ? 'created' : 'changed', locked };
}

const KEPT: PublicationSet = { done: 'kept', locked: new Map() };

/** What is altered at once. */
interface Alteration {
  /** The table that it is about, where the table is wanted. */
  readonly table: string | null;
  readonly statements: readonly string[];
}

/** Only what differs is altered: each statement takes a lock on its table, which somebody may hold for hours. */
async function alterationsOf(
  client: ClientBase,
  name: string,
  entries: readonly Entry[],
  { publication, settingsDiffer, found, wrong }: Look,
  version: number,
): Promise<Alteration[]> {
  const quoted = quoteName(name);
  const settings = `publish = 'insert, update, delete, truncate', publish_via_partition_root = true${
    version >= GENERATED_VERSION ? ', publish_generated_columns = stored' : ''
  }`;
  if (publication === null) {
    const tables = entries.map(published).join(', ');
    const list = tables === '' ? '' : `for table ${tables} `;
    return [{ table: null, statements: [`create publication ${quoted} ${list}with (${settings})`] }];
  }
  const unwanted = [...found.keys()].filter((oid) => !entries.some(({ relation }) => relation.oid === oid));
  const { rows } = await client.query<{ schema: string; name: string }>(
    `select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.oid = any($1::oid[]) order by c.oid`,
    [unwanted],
  );
  const drop = (table: { readonly schema: string; readonly name: string }): string =>
    `alter publication ${quoted} drop table only ${quoteName(table.schema)}.${quoteName(table.name)}`;
  return [
    ...(settingsDiffer
      ? [{ table: null, statements: [`alter publication ${quoted} set (${settings})`] }]
      : []),
    ...rows.map((row) => ({ table: null, statements: [drop(row)] })),
    ...entries
      .filter(({ relation }) => wrong.includes(relation.id))
      .map((entry) => ({
        table: entry.relation.id,
        statements: [
          ...(found.has(entry.relation.oid) ? [drop(entry.relation)] : []),
          `alter publication ${quoted} add table ${published(entry)}`,
        ],
      })),
  ];
}

/** Null where it is done; where its table is locked, why it is not. */
async function tryAlteration(
  client: ClientBase,
  { table, statements }: Alteration,
): Promise<WalhouseError | null> {
  await client.query('savepoint walhouse_alteration');
  try {
    for (const statement of statements) await client.query(statement);
    await client.query('release savepoint walhouse_alteration');
    return null;
  } catch (error) {
    if ((error as { code?: string }).code !== '55P03') throw error;
    await client.query('rollback to savepoint walhouse_alteration');
    return new WalhouseError('source_lock_timeout', {
      what: `${table ?? 'a table that is not followed any more'} is locked, so the publication could not be altered within ${LOCK_MS / 1_000} s.`,
      why: 'Somebody holds the table: a migration, VACUUM or CREATE INDEX perhaps. Until it is published, its changes are not sent.',
      fix: 'nothing, it is tried again; to see who holds it: select * from pg_locks where granted',
      cause: error,
    });
  }
}

/** Throws `config_invalid` where Postgres does not take the table's condition into a publication; leaves nothing behind. */
export async function tryPublished(client: ClientBase, relation: Relation, version: number): Promise<void> {
  await tryEntry(client, entryOf(relation, version));
}

/** Throws where a table has gone since the catalog was read. */
async function refuseGone(client: ClientBase, relations: readonly Relation[]): Promise<void> {
  const { rows } = await client.query<{ id: string }>(
    `select n.nspname || '.' || c.relname as id from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.oid = any($1::oid[])`,
    [relations.map(({ oid }) => oid)],
  );
  const gone = relations.find((relation) => !rows.some(({ id }) => id === relation.id));
  if (gone === undefined) return;
  throw new WalhouseError('schema_changed', {
    what: `${gone.id} has just been dropped or renamed.`,
    why: 'It cannot be published under that name.',
    fix: 'nothing, the catalog is looked at again',
    table: gone.id,
  });
}

/** The statements are for somebody else, who need not find out what is selected of each table. */
function mayNot(name: string, statements: readonly string[], cause: unknown): WalhouseError {
  return new WalhouseError('source_permission', {
    what: `publication "${name}" is not as configured, and this role may not make it so: ${(cause as Error).message}.`,
    why: 'What it does not publish never comes.',
    fix: `as the owner of the tables and the publication: ${statements.join('; ')}`,
    cause,
  });
}

async function tryEntry(client: ClientBase, entry: Entry): Promise<void> {
  if (entry.where === null) return;
  const statement = `create publication walhouse_try_${process.pid} for table ${published(entry)}`;
  try {
    await undone(client, () => client.query(statement));
  } catch (error) {
    const { code, message, detail } = error as { code?: string; message?: string; detail?: string };
    // Anything else, a missing right or a standby, is not about the condition.
    if (code !== '0A000' && code !== '42P17' && code !== '42P10') return;
    const { id } = entry.relation;
    throw new WalhouseError('config_invalid', {
      what: `tables.${id}.where, ${entry.where}, is refused by Postgres: ${message!}${detail === undefined ? '' : ` (${detail.replace(/\.$/, '')})`}.`,
      why: 'With pgoutput the publication itself chooses the rows, so that the others never leave the server.',
      fix: `write a condition on columns of ${id} and constants, as in SQL: country = 'DE' and amount > 0`,
      table: id,
      cause: error,
    });
  }
}

async function refuseWider(client: ClientBase, name: string, publication: PublicationRow): Promise<void> {
  const schemas = await client.query<{ present: boolean }>(
    `select to_regclass('pg_catalog.pg_publication_namespace') is not null as present`,
  );
  let wider = publication.puballtables ? 'all tables' : null;
  if (wider === null && schemas.rows[0]!.present) {
    const { rows } = await client.query('select from pg_publication_namespace where pnpubid = $1', [
      publication.oid,
    ]);
    if (rows.length > 0) wider = 'whole schemas';
  }
  if (wider === null) return;
  throw new WalhouseError('publication_conflict', {
    what: `publication "${name}" publishes ${wider}.`,
    why: 'Walhouse keeps its publication to the configured tables and will not narrow one that others may read.',
    fix: `choose another source.publication, or drop publication ${quoteName(name)}`,
  });
}
