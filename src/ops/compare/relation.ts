import type { ClientBase } from 'pg';

import { WalhouseError } from '../../pipeline/errors.js';
import type { ComparedType } from './canonical.js';

/** The part of a relation that the comparison needs; the pipeline's `Relation` is one. */
export interface ComparedRelation {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly type: ComparedType }[];
  /** Indexes into `columns`; when it is empty the whole row is the key. */
  readonly key: readonly number[];
  /** The condition, as SQL, of the rows that are copied. */
  readonly where?: string | undefined;
}

/** What the configuration copies of a table; left out, all of it. */
export interface ComparedSelection {
  readonly exclude?: readonly string[] | undefined;
  readonly only?: readonly string[] | undefined;
  readonly where?: string | undefined;
}

/**
 * Reads a table's columns and primary key from the catalog, for comparing tables without a running service.
 * Throws `table_missing` when there is no such table, or it has no columns.
 */
export async function readComparedRelation(
  client: ClientBase,
  schema: string,
  name: string,
  { exclude, only, where }: ComparedSelection = {},
): Promise<ComparedRelation> {
  const { rows } = await client.query<{
    name: string;
    type: string;
    element: string | null;
    key: number | null;
  }>(
    `with recursive base as (
       select attribute.attnum, attribute.attname, attribute.atttypid as type
       from pg_attribute attribute
       where attribute.attrelid = to_regclass(format('%I.%I', $1::text, $2::text))
         and attribute.attnum > 0 and not attribute.attisdropped
       union all
       -- A domain is compared as the type that it stands on.
       select base.attnum, base.attname, pg_type.typbasetype
       from base join pg_type on pg_type.oid = base.type and pg_type.typtype = 'd'
     )
     select base.attname as name, pg_type.typname as type, element.typname as element,
            array_position(primary_key.conkey, base.attnum) as key
     from base
     join pg_type on pg_type.oid = base.type and pg_type.typtype <> 'd'
     left join pg_type element on element.oid = pg_type.typelem and pg_type.typcategory = 'A'
     left join pg_constraint primary_key
       on primary_key.conrelid = to_regclass(format('%I.%I', $1::text, $2::text)) and primary_key.contype = 'p'
     where ($3::text[] is null or base.attname = any($3)) and base.attname <> all($4::text[])
     order by base.attnum`,
    [schema, name, only ?? null, exclude ?? []],
  );
  if (rows.length === 0) {
    throw new WalhouseError('table_missing', {
      what: `there is no table ${schema}.${name} in the source, or the role cannot see it.`,
      why: 'It cannot be compared.',
      fix: 'correct the name in the configuration, or grant the role usage on the schema',
    });
  }
  const key = rows
    .map((row, index) => ({ index, place: row.key }))
    .filter((column): column is { index: number; place: number } => column.place !== null)
    .sort((a, b) => a.place - b.place)
    .map(({ index }) => index);
  const columns = rows.map(({ name: column, type, element }) => ({
    name: column,
    type: element === null ? { name: type } : { name: type, element: { name: element } },
  }));
  return { schema, name, columns, key, ...(where === undefined ? {} : { where }) };
}
