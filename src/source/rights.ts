import type { ClientBase } from 'pg';
import { WalhouseError } from '../pipeline/errors.js';
import type { Relation } from '../pipeline/relation.js';
import { quoteName, type Target } from './connection.js';

interface RightsRow {
  readonly oid: number;
  readonly entered: boolean;
  readonly readable: boolean;
  readonly hidden: boolean;
  readonly publishable: boolean;
}

const RIGHTS = `
  select wanted.oid::int8::float8 as oid, has_schema_privilege(c.relnamespace, 'usage') as entered,
         (select bool_and(has_column_privilege(wanted.oid, a.attnum, 'select')) from pg_attribute a
           where a.attrelid = wanted.oid and a.attnum > 0 and not a.attisdropped
             and a.attname::text in (select jsonb_array_elements_text(wanted.columns))) as readable,
         row_security_active(wanted.oid) as hidden,
         $2::text is null or pg_has_role(c.relowner, 'usage')
           or exists (select from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
                       where p.pubname = $2 and r.prrelid = wanted.oid) as publishable
    from jsonb_to_recordset($1) wanted(oid oid, columns jsonb) join pg_class c on c.oid = wanted.oid`;

/**
 * Tables that the role may not copy or publish, by id, each with the statement that lets it. `publication` is null where none is
 * needed.
 */
export async function lackingRights(
  client: ClientBase,
  relations: readonly Relation[],
  publication: string | null,
  { user, database, host }: Target,
): Promise<Map<string, WalhouseError>> {
  const wanted = relations.map(({ oid, columns }) => ({ oid, columns: columns.map(({ name }) => name) }));
  const { rows } = await client.query<RightsRow>(RIGHTS, [JSON.stringify(wanted), publication]);
  const problems = new Map<string, WalhouseError>();
  const role = quoteName(user);
  for (const { oid, id, schema, name } of relations) {
    const row = rows.find((candidate) => candidate.oid === oid);
    if (row === undefined) continue;
    const { entered, readable, hidden, publishable } = row;
    const table = `${quoteName(schema)}.${quoteName(name)}`;
    const refuse = (what: string, why: string, fix: string): void => {
      const at = `role "${user}" on ${database}@${host}`;
      problems.set(
        id,
        new WalhouseError('source_permission', { what: `${at} ${what}`, why, fix, table: id }),
      );
    };
    if (!entered)
      refuse(
        `may not use schema ${schema}, where ${id} is.`,
        'Rows that cannot be read cannot be copied.',
        `grant usage on schema ${quoteName(schema)} to ${role}`,
      );
    else if (!readable)
      refuse(
        `may not read ${id}.`,
        'Rows that cannot be read cannot be copied.',
        `grant select on ${table} to ${role}`,
      );
    else if (hidden)
      refuse(
        `does not see all rows of ${id}: row-level security hides some.`,
        'They would be missing in ClickHouse without a word.',
        `alter role ${role} with bypassrls`,
      );
    else if (!publishable)
      refuse(
        `may not publish ${id}, which it does not own.`,
        'What is not in the publication is not sent.',
        `alter table ${table} owner to ${role}; or have its owner: alter publication ${quoteName(publication!)} add table ${table}`,
      );
  }
  return problems;
}
