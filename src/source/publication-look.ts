import type { ClientBase } from 'pg';
import type { Relation } from '../pipeline/relation.js';
import { quoteName } from './connection.js';
import { ConditionRefused, rowCondition } from './row-condition.js';
import { GENERATED_VERSION, publicationFilters, publishedColumns, SELECTIVE_VERSION } from './row-filter.js';

export interface PublicationRow {
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
export interface Entry {
  readonly relation: Relation;
  /** Null: all of them. */
  readonly columns: readonly string[] | null;
  readonly where: string | null;
}

/** How a publication stands to what is wanted. */
export interface Look {
  readonly publication: PublicationRow | null;
  /** Ids of tables whose changes it may have sent otherwise than wanted, or not at all. */
  readonly differing: readonly string[];
  readonly settingsDiffer: boolean;
  /** What it publishes, by the table's oid. */
  readonly found: ReadonlyMap<number, FoundEntry>;
  /** Ids of tables whose own entry is not as it should be. */
  readonly wrong: readonly string[];
  readonly tablesDiffer: boolean;
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

export function entryOf(relation: Relation, version: number): Entry {
  const decoding = { plugin: 'pgoutput', version } as const;
  const where = publicationFilters(relation, decoding) ? relation.selection!.where : null;
  return { relation, columns: publishedColumns(relation, decoding), where };
}

export function published({ relation: { schema, name }, columns, where }: Entry): string {
  // Children by inheritance are tables of their own; a root's partitions come along all the same.
  return [
    `only ${quoteName(schema)}.${quoteName(name)}`,
    ...(columns === null ? [] : [`(${columns.map(quoteName).join(', ')})`]),
    ...(where === null ? [] : [`where (${where})`]),
  ].join(' ');
}

export async function look(
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
  if (publication === null) {
    const nothing = { settingsDiffer: true, tablesDiffer: true, found: new Map<number, FoundEntry>() };
    return { publication, differing: all, wrong: all, ...nothing };
  }
  const { pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot, pubgencols } = publication;
  const isComplete = pubinsert && pubupdate && pubdelete && pubtruncate && pubviaroot;
  const sendsGenerated = version < GENERATED_VERSION || pubgencols === 's';
  const found = await readEntries(client, publication.oid, version);
  const differing: string[] = [];
  const wrong: string[] = [];
  for (const entry of entries) {
    const same = await isPublished(client, entry, found.get(entry.relation.oid));
    if (!same) wrong.push(entry.relation.id);
    const lacks = !sendsGenerated && entry.relation.columns.some(({ generated }) => generated);
    if (!same || !isComplete || lacks) differing.push(entry.relation.id);
  }
  const settingsDiffer = !isComplete || !sendsGenerated;
  const tablesDiffer = wrong.length > 0 || found.size !== entries.length;
  return { publication, differing, wrong, settingsDiffer, tablesDiffer, found };
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
