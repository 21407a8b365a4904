import type { ClientBase } from 'pg';
import { WalhouseError } from '../pipeline/errors.js';
import type { Relation, RelationStamp } from '../pipeline/relation.js';
import type { Survey } from '../pipeline/source.js';
import { readRelations } from './catalog.js';

/** The files of a table, or of all its partitions, and who last defined each column. */
const STAMPS = `
  select root.oid::int8::float8 as oid,
         (select string_agg(pg_relation_filenode(leaf.oid)::text, ',' order by leaf.oid)
            from pg_class leaf
           where leaf.oid = root.oid
              or leaf.oid in (select relid from pg_partition_tree(root.oid) where isleaf)) as files,
         (select string_agg(a.attnum || ':' || a.xmin::text, ',' order by a.attnum)
            from pg_attribute a where a.attrelid = root.oid and a.attnum > 0 and not a.attisdropped) as columns
    from pg_class root where root.oid = any($1::oid[])`;

/** Reads the tables called `ids`; each that cannot be followed becomes an error of its own, in `problems`. */
export async function survey(client: ClientBase, ids: readonly string[]): Promise<Survey> {
  const problems = new Map<string, WalhouseError>();
  let relations: readonly Relation[];
  try {
    relations = await readRelations(client, ids);
  } catch (error) {
    if (!(error instanceof WalhouseError)) throw error;
    const found: Relation[] = [];
    for (const id of ids) {
      try {
        found.push(...(await readRelations(client, [id])));
      } catch (problem) {
        if (!(problem instanceof WalhouseError)) throw problem;
        problems.set(id, problem);
      }
    }
    // What is wrong with several of them together only.
    if (problems.size === 0) throw error;
    relations = found;
  }
  return { relations: await stamped(client, relations), problems };
}

async function stamped(client: ClientBase, relations: readonly Relation[]): Promise<Relation[]> {
  const { rows } = await client.query<{ oid: number } & RelationStamp>(STAMPS, [
    relations.map(({ oid }) => oid),
  ]);
  return relations.map((relation) => {
    const row = rows.find(({ oid }) => oid === relation.oid);
    if (row === undefined) return relation;
    const stamp: RelationStamp = { files: row.files, columns: row.columns };
    return { ...relation, stamp: JSON.stringify(stamp) };
  });
}
