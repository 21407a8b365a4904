import type { ClientBase } from 'pg';
import { WalhouseError } from '../pipeline/errors.js';
import type { Column, Relation } from '../pipeline/relation.js';
import { columnType, withoutDomains, type TypeRow } from './column-type.js';
import { quoteName } from './connection.js';
import { REPLICA_IDENTITIES, chooseKey, type IdentityColumn, type IndexRow } from './identity.js';
import { similarNames } from './similar-names.js';

interface TableRow {
  readonly id: string;
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `pg_class.relkind`. */
  readonly kind: string;
  readonly persistence: string;
  readonly identity: string;
  readonly comment: string | null;
}

interface ColumnRow extends IdentityColumn {
  readonly table: number;
  readonly type: number;
  readonly modifier: number;
  readonly virtual: boolean;
  readonly comment: string | null;
}

const TABLES = `
  select n.nspname || '.' || c.relname as id, c.oid::int8::float8 as oid, n.nspname as schema, c.relname as name,
         c.relkind as kind, c.relpersistence as persistence, c.relreplident as identity,
         obj_description(c.oid, 'pg_class') as comment
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where n.nspname || '.' || c.relname = any($1::text[]) and c.relkind in ('r', 'p', 'v', 'm', 'f')`;

const COLUMNS = `
  select a.attrelid::int8::float8 as table, a.attnum, a.attname as name, a.atttypid::int8::float8 as type,
         a.atttypmod as modifier, a.attnotnull as "notNull", a.attgenerated <> '' as generated,
         a.attgenerated = 'v' as virtual,
         col_description(a.attrelid, a.attnum) as comment
    from pg_attribute a
   where a.attrelid = any($1::oid[]) and a.attnum > 0 and not a.attisdropped
   order by a.attrelid, a.attnum`;

const INDEXES = `
  select i.indrelid::int8::float8 as table, i.indexrelid::int8::float8 as oid, c.relname as name,
         i.indisprimary as "isPrimary", i.indisreplident as "isReplicaIdentity",
         i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null as usable,
         (string_to_array(i.indkey::text, ' ')::int4[])[1:i.indnkeyatts] as attnums
    from pg_index i join pg_class c on c.oid = i.indexrelid
   where i.indrelid = any($1::oid[])`;

const TYPES = `
  with recursive needed(oid) as (
    select unnest($1::oid[])
    union
    select part.oid
      from needed join pg_type t on t.oid = needed.oid
           cross join lateral (
             select nullif(t.typbasetype, 0)
             union all
             select e.oid from pg_type e where e.oid = t.typelem and e.typarray = t.oid
           ) part(oid)
     where part.oid is not null
  )
  select t.oid::int8::float8 as oid, n.nspname as schema, t.typname as name, t.typtype as kind,
         t.typbasetype::int8::float8 as base, t.typtypmod as "baseModifier",
         coalesce((select e.oid from pg_type e where e.oid = t.typelem and e.typarray = t.oid), 0)::int8::float8 as element,
         (select array_agg(l.enumlabel::text order by l.enumsortorder) from pg_enum l where l.enumtypid = t.oid) as labels
    from needed join pg_type t on t.oid = needed.oid join pg_namespace n on n.oid = t.typnamespace`;

const TYPE_TEXTS = `
  select format_type(t.oid, t.modifier) as text
    from unnest($1::oid[], $2::int4[]) with ordinality t(oid, modifier, place) order by t.place`;

/** Partitions whose replica identity is not their root's: their old rows would be read wrongly. */
const ODD_PARTITIONS = `
  select root.oid::int8::float8 as root, n.nspname as schema, c.relname as name
    from pg_class root cross join lateral pg_partition_tree(root.oid) tree
         join pg_class c on c.oid = tree.relid join pg_namespace n on n.oid = c.relnamespace
   where root.oid = any($1::oid[]) and root.relkind = 'p' and tree.isleaf and c.relreplident <> root.relreplident
   order by 1, 2, 3`;

/** Configured tables that are partitions of configured tables. */
const TWICE = `
  select leaf.oid::int8::float8 as leaf, root.relid::oid::int8::float8 as root
    from unnest($1::oid[]) leaf(oid) cross join lateral pg_partition_ancestors(leaf.oid) root
   where root.relid <> leaf.oid and root.relid = any($1::oid[])`;

const ALL_TABLES = `
  select n.nspname || '.' || c.relname as id
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
   where c.relkind in ('r', 'p') and c.relpersistence <> 't'
     and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')
   order by 1 limit 10000`;

/** Tables as the catalog describes them, and why others among those that were asked for cannot be followed. */
export interface Examined {
  /** In the order that was asked for. */
  readonly relations: readonly Relation[];
  /** By id: missing, no ordinary or partitioned table, without a usable replica identity. */
  readonly problems: ReadonlyMap<string, WalhouseError>;
}

/** Reads the tables called `ids` (`schema.name`, unquoted). Throws the typed error of the first that cannot be followed. */
export async function readRelations(
  client: ClientBase,
  ids: readonly string[],
): Promise<readonly Relation[]> {
  const { relations, problems } = await examineTables(client, ids);
  for (const id of ids) {
    const problem = problems.get(id);
    if (problem !== undefined) throw problem;
  }
  return relations;
}

/** Reads the tables called `ids` (`schema.name`, unquoted), each by itself: one that cannot be followed is a problem of its own. */
export async function examineTables(client: ClientBase, ids: readonly string[]): Promise<Examined> {
  const problems = new Map<string, WalhouseError>();
  const judge = <T>(id: string, work: () => T): T | null => {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof WalhouseError)) throw error;
      problems.set(id, error);
      return null;
    }
  };
  const tables = (await client.query<TableRow>(TABLES, [ids])).rows;
  let names: string[] | null = null;
  const chosen: TableRow[] = [];
  for (const id of ids) {
    const found = tables.filter((table) => table.id === id);
    if (found.length === 0) names ??= await allTables(client);
    const table = judge(id, () => only(id, found, names ?? []));
    if (table !== null) chosen.push(table);
  }
  const oids = chosen.map((table) => table.oid);
  const columns = (await client.query<ColumnRow>(COLUMNS, [oids])).rows;
  const indexes = (await client.query<IndexRow & { table: number }>(INDEXES, [oids])).rows;
  const typed = await readTypes(client, columns);
  const twice = (await client.query<{ leaf: number; root: number }>(TWICE, [oids])).rows;
  const odd = await client.query<{ root: number; schema: string; name: string }>(ODD_PARTITIONS, [oids]);
  const relations = chosen.flatMap((table): Relation[] => {
    const own = columns.filter((column) => column.table === table.oid);
    const replicaIdentity = REPLICA_IDENTITIES[table.identity] ?? 'nothing';
    const key = judge(table.id, () => {
      const root = twice.find(({ leaf }) => leaf === table.oid)?.root;
      if (root !== undefined) throw publishedTwice(table.id, chosen.find(({ oid }) => oid === root)!.id);
      const partition = odd.rows.find(({ root }) => root === table.oid);
      if (partition !== undefined) throw oddPartition(table, partition, replicaIdentity);
      return chooseKey(
        { schema: table.schema, name: table.name, identity: replicaIdentity },
        own,
        indexes.filter((index) => index.table === table.oid),
      );
    });
    if (key === null) return [];
    return [
      {
        oid: table.oid,
        schema: table.schema,
        name: table.name,
        id: table.id,
        columns: own.map(typed),
        key,
        replicaIdentity,
        comment: table.comment,
      },
    ];
  });
  return { relations, problems };
}

/** The one table of this name. */
function only(id: string, found: readonly TableRow[], names: readonly string[]): TableRow {
  const [table] = found;
  if (table === undefined) throw missing(id, names);
  if (found.length > 1) throw ambiguous(id, found);
  refuseUnsupported(table);
  return table;
}

async function allTables(client: ClientBase): Promise<string[]> {
  return (await client.query<{ id: string }>(ALL_TABLES)).rows.map((row) => row.id);
}

async function readTypes(
  client: ClientBase,
  columns: readonly ColumnRow[],
): Promise<(column: ColumnRow) => Column> {
  const { rows } = await client.query<TypeRow>(TYPES, [[...new Set(columns.map(({ type }) => type))]]);
  const types = new Map(rows.map((row) => [row.oid, row]));
  // format_type is wanted for every type with every modifier that occurs, elements of arrays included.
  const wanted = new Map<string, { oid: number; modifier: number }>();
  const want = (oid: number, modifier: number): void => {
    const resolved = withoutDomains(types, oid, modifier);
    wanted.set(`${resolved.row.oid}:${resolved.modifier}`, {
      oid: resolved.row.oid,
      modifier: resolved.modifier,
    });
    if (resolved.row.element !== 0) want(resolved.row.element, resolved.modifier);
  };
  for (const { type, modifier } of columns) want(type, modifier);
  const pairs = [...wanted.values()];
  const texts = await client.query<{ text: string }>(TYPE_TEXTS, [
    pairs.map(({ oid }) => oid),
    pairs.map(({ modifier }) => modifier),
  ]);
  const textByKey = new Map([...wanted.keys()].map((key, index) => [key, texts.rows[index]!.text]));
  const textOf = (oid: number, modifier: number): string => textByKey.get(`${oid}:${modifier}`)!;
  return ({ name, attnum, type, modifier, notNull, generated, virtual, comment }) => ({
    name,
    attnum,
    type: columnType(types, type, modifier, textOf),
    notNull,
    generated,
    ...(virtual ? { virtual } : {}),
    comment,
  });
}

function missing(id: string, all: readonly string[]): WalhouseError {
  const similar = similarNames(id, all);
  return new WalhouseError('table_missing', {
    what: `table ${id} does not exist in the source.`,
    why: 'There is nothing to copy.',
    fix:
      similar.length === 0
        ? 'correct the name under tables (schema.name, without quotes, case as in Postgres), or remove it; or create the table'
        : `create the table, remove it from tables, or correct the name there; similar ones: ${similar.join(', ')}`,
  });
}

function ambiguous(id: string, found: readonly TableRow[]): WalhouseError {
  return new WalhouseError('table_unsupported', {
    what: `${id} names ${found.length} tables: ${found.map(({ schema, name }) => `${quoteName(schema)}.${quoteName(name)}`).join(' and ')}.`,
    why: 'With dots inside of names Walhouse cannot tell which is meant.',
    fix: 'rename one of them',
  });
}

const REFUSED_KINDS: Readonly<Record<string, string>> = {
  v: 'a view',
  m: 'a materialized view',
  f: 'a foreign table',
};

function refuseUnsupported(table: TableRow): void {
  const persistence = { u: 'an unlogged table', t: 'a temporary table' }[table.persistence];
  const kind = REFUSED_KINDS[table.kind] ?? persistence;
  if (kind === undefined) return;
  throw new WalhouseError('table_unsupported', {
    what: `${table.id} is ${kind}.`,
    why: 'Its changes are not in the WAL, so they cannot be followed.',
    fix:
      table.persistence === 'u'
        ? `alter table ${quoteName(table.schema)}.${quoteName(table.name)} set logged, or remove it from tables`
        : 'name the tables it stands on instead, or remove it from tables',
  });
}

function publishedTwice(leaf: string, root: string): WalhouseError {
  return new WalhouseError('table_unsupported', {
    what: `${leaf} is a partition of ${root}, and both are among tables.`,
    why: `Its changes are published once, under the name of ${root}; a copy under its own name would stand still.`,
    fix: `keep one of them under tables: ${root} with all of its partitions, or the partitions that are wanted`,
  });
}

function oddPartition(
  root: TableRow,
  partition: { schema: string; name: string },
  identity: string,
): WalhouseError {
  const name = `${quoteName(partition.schema)}.${quoteName(partition.name)}`;
  return new WalhouseError('table_no_identity', {
    what: `partition ${partition.schema}.${partition.name} has another replica identity than ${root.id}, which is ${identity.toUpperCase()}.`,
    why: 'Old rows of the partition would be read as if they were whole, or would lack what is needed.',
    fix: `alter table ${name} replica identity ${identity === 'index' ? 'using index INDEX' : identity}`,
  });
}
