import type { ClientBase } from 'pg';
import { WalhouseError } from '../pipeline/errors.js';
import type { Relation } from '../pipeline/relation.js';
import { quoteName } from './connection.js';

interface PublicationRow {
  readonly oid: number;
  readonly puballtables: boolean;
  readonly pubinsert: boolean;
  readonly pubupdate: boolean;
  readonly pubdelete: boolean;
  readonly pubtruncate: boolean;
  readonly pubviaroot: boolean;
}

/**
 * Creates the publication, or brings the tables of an existing one to exactly those given, whole: no row filters, no column
 * lists, every kind of change, partitions under their root's name. A publication of all tables or of a schema is refused
 * rather than narrowed: somebody else made it, and for other readers.
 *
 * It must run before the slot is made, or before a table's snapshot is taken: what was changed before a table was
 * published is not sent.
 */
export async function ensurePublication(
  client: ClientBase,
  name: string,
  relations: readonly Relation[],
): Promise<'created' | 'changed' | 'kept'> {
  const { rows } = await client.query<{ publication: PublicationRow }>(
    'select to_jsonb(p) as publication from pg_publication p where pubname = $1',
    [name],
  );
  const tables = relations
    // Children by inheritance are tables of their own; a root's partitions come along all the same.
    .map(({ schema, name: table }) => `only ${quoteName(schema)}.${quoteName(table)}`)
    .join(', ');
  const quoted = quoteName(name);
  const publication = rows[0]?.publication;
  if (publication === undefined) {
    await client.query(
      `create publication ${quoted} for table ${tables}
         with (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)`,
    );
    return 'created';
  }
  await refuseWider(client, name, publication);
  let changed = false;
  const { pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot } = publication;
  if (!(pubinsert && pubupdate && pubdelete && pubtruncate && pubviaroot)) {
    await client.query(
      `alter publication ${quoted}
         set (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)`,
    );
    changed = true;
  }
  if (!(await publishesExactly(client, publication.oid, relations))) {
    await client.query(`alter publication ${quoted} set table ${tables}`);
    changed = true;
  }
  return changed ? 'changed' : 'kept';
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

async function publishesExactly(
  client: ClientBase,
  publication: number,
  relations: readonly Relation[],
): Promise<boolean> {
  const { rows } = await client.query<{
    entry: { prrelid: string | number; prqual?: unknown; prattrs?: unknown };
  }>('select to_jsonb(r) as entry from pg_publication_rel r where prpubid = $1', [publication]);
  const published = new Set(rows.map(({ entry }) => Number(entry.prrelid)));
  const whole = rows.every(
    ({ entry }) => (entry.prqual ?? null) === null && (entry.prattrs ?? null) === null,
  );
  return whole && published.size === relations.length && relations.every(({ oid }) => published.has(oid));
}
