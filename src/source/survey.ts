import type { ClientBase } from 'pg';
import type { Relation, RelationStamp } from '../pipeline/relation.js';
import type { Survey } from '../pipeline/source.js';
import { examineSelected, type Selections } from './selection.js';

/**
 * The stamps of tables, from catalog tables alone, so that all of it is of the snapshot's moment (functions as `pg_relation_filenode` look
 * at what is there now).
 *
 * A partition was made as one if it was attached by the transaction that made it and some column has not been touched since: ATTACH
 * counts up each column's `attinhcount`, so it leaves none as CREATE TABLE wrote it. Command numbers are lost where a server has
 * recovered from its WAL; an attachment that was not later than the table is taken for such a case. Any other partition is fresh if
 * it is empty now, which is not asked of one that is locked, since the answer would be waited for.
 */
const STAMPS = `
  with recursive locked as materialized (
    select relation from pg_locks where locktype = 'relation' and mode = 'AccessExclusiveLock'
  ),
  tree(root, oid, link, born) as (
    select oid, oid, '', true from pg_class where oid = any($1::oid[]) and relkind = 'p'
    union all
    select tree.root, i.inhrelid,
           tree.link || '/' || i.xmin::text
             || case when to_jsonb(i) ->> 'inhdetachpending' = 'true' then ' pending' else '' end,
           tree.born and exists (
             select from pg_attribute made
                    join pg_attribute own on own.attrelid = made.attrelid and own.attnum > 0
                     and own.xmin = made.xmin and own.cmin = made.cmin
              where made.attrelid = i.inhrelid and made.attnum = -1 and made.xmin = i.xmin
                and made.cmin::text::int8 < i.cmin::text::int8)
      from tree join pg_inherits i on i.inhparent = tree.oid
  )
  select root.oid::int8::float8 as oid, root.relfilenode::text as file,
         (select string_agg(a.attnum || ':' || a.xmin::text, ',' order by a.attnum)
            from pg_attribute a where a.attrelid = root.oid and a.attnum > 0 and not a.attisdropped) as columns,
         root.relnatts::int4 as width,
         (select coalesce(jsonb_object_agg(shown.name, case when shown.same then shown.text else 'false'::jsonb end), '{}')
            from (select a.attname as name,
                         min(case when cardinality(a.attmissingval::text::text[]) = 1
                                  then to_jsonb((a.attmissingval::text::text[])[1]) end ::text)::jsonb as text,
                         bool_and(a.atthasmissing and cardinality(a.attmissingval::text::text[]) = 1)
                           and count(distinct a.attmissingval::text) = 1 as same
                    from pg_attribute a join pg_class c on c.oid = a.attrelid and c.relkind <> 'p'
                   where (c.oid = root.oid or c.oid in (select tree.oid from tree where tree.root = root.oid))
                     and a.attnum > 0 and not a.attisdropped
                   group by a.attname having bool_or(a.atthasmissing)) shown) as missing,
         (select coalesce(jsonb_agg(jsonb_build_object(
                   'oid', leaf.oid::int8, 'link', tree.link, 'file', leaf.relfilenode::text,
                   'fresh', tree.born or case when leaf.oid in (select relation from locked) then false
                                              else coalesce(pg_relation_size(leaf.oid) = 0, false) end)
                   order by leaf.oid), '[]')
            from tree join pg_class leaf on leaf.oid = tree.oid
           where tree.root = root.oid and leaf.relkind <> 'p') as leaves,
         (select t.xmin::text from pg_type t where t.oid = root.reltype) as named
    from pg_class root where root.oid = any($1::oid[])`;

/**
 * Reads the tables called `ids`; each that cannot be followed becomes an error of its own, in `problems`. `client` is in a transaction
 * with one snapshot, so that columns and stamp are of one moment. `byName`: changes are told by their table's name alone.
 */
export async function survey(
  client: ClientBase,
  ids: readonly string[],
  selections: Selections = {},
  byName = false,
): Promise<Omit<Survey, 'misPublished'>> {
  const { relations, problems } = await examineSelected(client, ids, selections);
  return { relations: await stamped(client, relations, byName), problems };
}

async function stamped(
  client: ClientBase,
  relations: readonly Relation[],
  byName: boolean,
): Promise<Relation[]> {
  const { rows } = await client.query<{ oid: number } & Required<RelationStamp>>(STAMPS, [
    relations.map(({ oid }) => oid),
  ]);
  return relations.map((relation) => {
    const row = rows.find(({ oid }) => oid === relation.oid);
    if (row === undefined) return relation;
    const { file, columns, width, leaves, named } = row;
    // What a column that is left out holds stays in the source, also where it is a constant.
    const missing = Object.fromEntries(
      Object.entries(row.missing).filter(([name]) => relation.columns.some((column) => column.name === name)),
    );
    const stamp: RelationStamp = {
      file,
      columns,
      width,
      missing,
      leaves,
      ...(byName ? { named } : {}),
    };
    return { ...relation, stamp: JSON.stringify(stamp) };
  });
}
