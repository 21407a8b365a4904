import type { ClientBase } from 'pg';

/** A table of the source as `pg_class` shows it, followed or not. */
export interface SourceTable {
  /** `schema.name`, unquoted. */
  readonly id: string;
  readonly schema: string;
  readonly name: string;
  /** The planner's estimate; null while nobody has analyzed the table. */
  readonly rows: number | null;
  /** With TOAST, without indexes; of a partitioned table, all its partitions. */
  readonly bytes: number;
  readonly isPartitioned: boolean;
  /** The role may use the schema and read the table. */
  readonly isReadable: boolean;
  /** Row-level security hides rows from the role. */
  readonly isFiltered: boolean;
  /** Tables that inherit from it without being its partitions. */
  readonly children: readonly string[];
}

const TABLES = `
  select n.nspname || '.' || c.relname as id, n.nspname as schema, c.relname as name,
         c.relkind = 'p' as "isPartitioned",
         has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select') as "isReadable",
         row_security_active(c.oid) as "isFiltered",
         (select case when bool_or(part.reltuples >= 0) then sum(greatest(part.reltuples, 0)) end
            from pg_class part where part.oid in (select c.oid union select relid from pg_partition_tree(c.oid) where isleaf))::float8
           as rows,
         (select coalesce(sum(pg_table_size(part.oid)), 0)
            from (select c.oid union select relid from pg_partition_tree(c.oid) where isleaf) part(oid))::float8 as bytes,
         coalesce((select array_agg(kn.nspname || '.' || k.relname order by 1)
            from pg_inherits i join pg_class k on k.oid = i.inhrelid join pg_namespace kn on kn.oid = k.relnamespace
           where i.inhparent = c.oid and c.relkind = 'r'), '{}')::text[] as children
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'p', 'f') and not c.relispartition and c.relpersistence <> 't'
     and n.nspname <> 'information_schema' and n.nspname !~ '^pg_'
     and ($1::text[] is null or n.nspname = any($1::text[]))
   order by n.nspname <> 'public', n.nspname, c.relname`;

/** Every table of the database, partitions apart (they come with their root); `schemas` narrows it. */
export async function readSourceTables(
  client: ClientBase,
  schemas: readonly string[] | null,
): Promise<SourceTable[]> {
  return (await client.query<SourceTable>(TABLES, [schemas])).rows;
}
