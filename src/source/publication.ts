import type { ClientBase } from 'pg';
import { WalhouseError } from '../pipeline/errors.js';
import type { Relation } from '../pipeline/relation.js';
import { quoteName } from './connection.js';
import { ConditionRefused, rowCondition } from './row-condition.js';
import { GENERATED_VERSION, publicationFilters, publishedColumns, SELECTIVE_VERSION } from './row-filter.js';
import { undone } from './undone.js';

interface PublicationRow {
  readonly oid: number;
  readonly puballtables: boolean;
  readonly pubinsert: boolean;
  readonly pubupdate: boolean;
  readonly pubdelete: boolean;
  readonly pubtruncate: boolean;
  readonly pubviaroot: boolean;
  /** Since Postgres 18: `s` for stored ones. */
  readonly pubgencols?: string;
}

/** What is to be published of a table. */
interface Entry {
  readonly relation: Relation;
  /** Null: all of them. */
  readonly columns: readonly string[] | null;
  readonly where: string | null;
}

/** How a publication stands to what is wanted. */
interface Look {
  readonly publication: PublicationRow | null;
  /** Ids of tables whose changes it may have sent otherwise than wanted, or not at all. */
  readonly differing: readonly string[];
  readonly settingsDiffer: boolean;
  readonly tablesDiffer: boolean;
}

/**
 * Creates the publication, or brings an existing one up to exactly what is given: these tables, with the columns and rows that are
 * selected of each, every kind of change, partitions under their root's name. A publication of all tables or of a
 * schema is refused rather than narrowed: somebody else made it, and for other readers.
 *
 * It must run before the slot is made, or before a table's snapshot is taken: what was changed before a table was
 * published is not sent. For the same reason `onDiffering` is told, before anything is altered, of tables whose entry was not as it should be.
 */
export async function ensurePublication(
  client: ClientBase,
  name: string,
  relations: readonly Relation[],
  version: number,
  onDiffering: (ids: readonly string[]) => Promise<void> = () => Promise.resolve(),
): Promise<'created' | 'changed' | 'kept'> {
  const entries = relations.map((relation) => entryOf(relation, version));
  const before = await look(client, name, entries, version);
  const { publication } = before;
  if (publication !== null) await refuseWider(client, name, publication);
  if (publication !== null && !before.settingsDiffer && !before.tablesDiffer) return 'kept';
  if (before.differing.length > 0) await onDiffering(before.differing);
  const quoted = quoteName(name);
  const tables = entries.map(published).join(', ');
  const settings = `publish = 'insert, update, delete, truncate', publish_via_partition_root = true${
    version >= GENERATED_VERSION ? ', publish_generated_columns = stored' : ''
  }`;
  const statements =
    publication === null
      ? [`create publication ${quoted} ${tables === '' ? '' : `for table ${tables}`} with (${settings})`]
      : [
          ...(before.settingsDiffer ? [`alter publication ${quoted} set (${settings})`] : []),
          ...(before.tablesDiffer
            ? [
                tables === ''
                  ? await dropAll(client, publication, quoted)
                  : `alter publication ${quoted} set table ${tables}`,
              ]
            : []),
        ];
  await client.query('savepoint walhouse_publication');
  try {
    for (const statement of statements) await client.query(statement);
  } catch (error) {
    await client.query('rollback to savepoint walhouse_publication');
    // Somebody else keeps it, and it has all that is wanted: what it has besides is passed over.
    const { code } = error as { code?: string };
    if (code === '42501' && before.differing.length === 0 && !before.settingsDiffer) return 'kept';
    if (code === '42501') throw mayNot(name, statements, error);
    if (code === '42P01') await refuseGone(client, relations);
    for (const entry of entries) await tryEntry(client, entry);
    throw error;
  }
  const after = await look(client, name, entries, version);
  if (after.settingsDiffer || after.tablesDiffer)
    throw new WalhouseError('schema_changed', {
      what: `publication "${name}" is not as it was just made: ${after.differing.join(', ') || 'its settings'}.`,
      why: 'A table was dropped or altered in the same moment, or another program alters the publication.',
      fix: 'nothing, the tables are looked at again; if it comes again and again, find who alters the publication',
      ...(after.differing[0] === undefined ? {} : { table: after.differing[0] }),
    });
  return publication === null ? 'created' : 'changed';
}

/** Ids of tables that the publication does not publish, or otherwise than configured: somebody has altered it. */
export async function misPublished(
  client: ClientBase,
  name: string,
  relations: readonly Relation[],
  version: number,
): Promise<readonly string[]> {
  const entries = relations.map((relation) => entryOf(relation, version));
  return (await look(client, name, entries, version)).differing;
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

function entryOf(relation: Relation, version: number): Entry {
  const decoding = { plugin: 'pgoutput', version } as const;
  const where = publicationFilters(relation, decoding) ? relation.selection!.where : null;
  return { relation, columns: publishedColumns(relation, decoding), where };
}

function published({ relation: { schema, name }, columns, where }: Entry): string {
  // Children by inheritance are tables of their own; a root's partitions come along all the same.
  return [
    `only ${quoteName(schema)}.${quoteName(name)}`,
    ...(columns === null ? [] : [`(${columns.map(quoteName).join(', ')})`]),
    ...(where === null ? [] : [`where (${where})`]),
  ].join(' ');
}

async function look(
  client: ClientBase,
  name: string,
  entries: readonly Entry[],
  version: number,
): Promise<Look> {
  const { rows } = await client.query<{ publication: PublicationRow }>(
    'select to_jsonb(p) as publication from pg_publication p where pubname = $1',
    [name],
  );
  const publication = rows[0]?.publication ?? null;
  const all = entries.map(({ relation }) => relation.id);
  if (publication === null) return { publication, differing: all, settingsDiffer: true, tablesDiffer: true };
  const { pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot, pubgencols } = publication;
  const isComplete = pubinsert && pubupdate && pubdelete && pubtruncate && pubviaroot;
  const sendsGenerated = version < GENERATED_VERSION || pubgencols === 's';
  const found = await readEntries(client, publication.oid, version);
  const differing: string[] = [];
  let tablesDiffer = found.size !== entries.length;
  for (const entry of entries) {
    const same = await isPublished(client, entry, found.get(entry.relation.oid));
    if (!same) tablesDiffer = true;
    const lacks = !sendsGenerated && entry.relation.columns.some(({ generated }) => generated);
    if (!same || !isComplete || lacks) differing.push(entry.relation.id);
  }
  return { publication, differing, settingsDiffer: !isComplete || !sendsGenerated, tablesDiffer };
}

interface FoundEntry {
  readonly oid: number;
  readonly columns: readonly string[] | null;
  readonly where: string | null;
}

async function readEntries(
  client: ClientBase,
  publication: number,
  version: number,
): Promise<Map<number, FoundEntry>> {
  const { rows } = await client.query<FoundEntry>(
    version < SELECTIVE_VERSION
      ? `select prrelid::int8::float8 as oid, null::text[] as columns, null as where
           from pg_publication_rel where prpubid = $1`
      : `select prrelid::int8::float8 as oid, pg_get_expr(prqual, prrelid) as where,
                (select array_agg(a.attname::text order by a.attnum) from pg_attribute a
                  where a.attrelid = prrelid and a.attnum = any(prattrs::int2[])) as columns
           from pg_publication_rel where prpubid = $1`,
    [publication],
  );
  return new Map(rows.map((row) => [row.oid, row]));
}

async function isPublished(
  client: ClientBase,
  entry: Entry,
  found: FoundEntry | undefined,
): Promise<boolean> {
  if (found === undefined || JSON.stringify(found.columns) !== JSON.stringify(entry.columns)) return false;
  if (found.where === null || entry.where === null) return found.where === entry.where;
  try {
    // Postgres prints a condition otherwise than it was written.
    return (await rowCondition(client, entry.relation, found.where)).text === entry.where;
  } catch (error) {
    if (error instanceof ConditionRefused) return false;
    throw error;
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

/** The statement that takes every table out: `set table` cannot be said of none. */
async function dropAll(client: ClientBase, { oid }: PublicationRow, quoted: string): Promise<string> {
  const { rows } = await client.query<{ schema: string; name: string }>(
    `select n.nspname as schema, c.relname as name
       from pg_publication_rel r join pg_class c on c.oid = r.prrelid join pg_namespace n on n.oid = c.relnamespace
      where r.prpubid = $1`,
    [oid],
  );
  const tables = rows.map(({ schema, name }) => `only ${quoteName(schema)}.${quoteName(name)}`).join(', ');
  return `alter publication ${quoted} drop table ${tables}`;
}
