import type { Client } from 'pg';
import { WalhouseError } from '../../pipeline/errors.js';
import type { Relation } from '../../pipeline/relation.js';
import { quoteName } from '../../source/connection.js';

/** How many keys one question names. */
const KEYS_AT_ONCE = 5_000;

/** A key's columns in Postgres, each with its type as it is written in a cast. */
export type CastColumns = readonly { readonly name: string; readonly type: string }[];

/** The named columns of a table with their types. */
export async function castsOf(
  client: Client,
  relation: Relation,
  names: readonly string[],
): Promise<CastColumns> {
  const { rows } = await client.query<{ name: string; type: string }>(
    'select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute where attrelid = $1 and not attisdropped',
    [relation.oid],
  );
  return names.map((name) => ({ name, type: rows.find((row) => row.name === name)!.type }));
}

/** The key as Postgres prints it; `config_invalid` where a text is no value of its column. */
export async function canonicalKey(
  client: Client,
  relation: Relation,
  texts: readonly string[],
): Promise<string[]> {
  const columns = await castsOf(
    client,
    relation,
    relation.key.map((column) => relation.columns[column]!.name),
  );
  try {
    const { rows } = await client.query<{ texts: string[] }>(
      `select array[${columns.map(({ type }, i) => `(($${i + 1}::text)::${type})::text`).join(', ')}] as texts`,
      [...texts],
    );
    return rows[0]!.texts;
  } catch (cause) {
    // Postgres's own words would repeat the key.
    if (
      typeof (cause as { code?: unknown }).code !== 'string' ||
      !/^22/.test((cause as { code: string }).code)
    )
      throw cause;
    throw new WalhouseError('config_invalid', {
      what: `--key is no key of ${relation.id}.`,
      why: `Its columns are ${columns.map(({ name, type }) => `${name} (${type})`).join(', ')}.`,
      fix: 'write the key as Postgres prints it',
    });
  }
}

/** How many rows have these values in these columns; a piece of keys at a time. */
export async function countRows(
  client: Client,
  relation: Relation,
  columns: CastColumns,
  keys: readonly (readonly string[])[],
): Promise<number> {
  let count = 0;
  for (let first = 0; first < keys.length; first += KEYS_AT_ONCE) {
    const some = keys.slice(first, first + KEYS_AT_ONCE);
    const values = columns.map((_, i) => some.map((key) => key[i]!));
    const names = columns.map(({ name }) => quoteName(name)).join(', ');
    const casts = columns.map(({ type }, i) => `u.c${i}::${type}`).join(', ');
    const { rows } = await client.query<{ count: string }>(
      `select count(*)::text as count from ${quoteName(relation.schema)}.${quoteName(relation.name)}
        where (${names}) in (select ${casts} from unnest(${columns.map((_, i) => `$${i + 1}::text[]`).join(', ')}) as u(${columns
          .map((_, i) => `c${i}`)
          .join(', ')}))`,
      values,
    );
    count += Number(rows[0]!.count);
  }
  return count;
}
