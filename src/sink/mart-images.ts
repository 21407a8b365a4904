import { askedKeys } from './asked-keys.js';
import { qualified, quoteName } from './identifier.js';
import { IS_DELETED, VERSION, type Databases } from './names.js';
import type { TablePlan } from './plan.js';
import type { Server } from './server.js';

/** A row that a mart shows, as far as its columns are called like the source's. */
export interface MartImage {
  /** By the plan's columns, as TabSeparated; blanks where the mart does not have the column. */
  readonly fields: readonly string[];
  readonly version: bigint;
}

/**
 * What a mart shows of some keys, put so that the mart's own feed finds the same place for it: with it a tombstone in landing hides a row of
 * the mart that no row of landing stands behind. Empty where the mart has not all of the key's columns under their names, or
 * keeps no versions. `keys` as `encodedKey` writes them.
 */
export async function martImages(
  server: Server,
  databases: Databases,
  target: string,
  plan: TablePlan,
  keys: readonly string[],
): Promise<MartImage[]> {
  const doing = `looking for rows of ${plan.id} in ${target}`;
  const columns = await server.rows<{ name: string; type: string }>(
    'select name, type from system.columns where database = {database:String} and table = {target:String}',
    doing,
    { database: databases.views, target },
  );
  const [table] = await server.rows<{ sorting_key: string }>(
    'select sorting_key from system.tables where database = {database:String} and name = {target:String}',
    doing,
    { database: databases.views, target },
  );
  const types = new Map(columns.map(({ name, type }) => [name, type]));
  const keyNames = plan.relation.key.map((index) => plan.columns[index]!.name);
  if (table === undefined || ![...keyNames, VERSION, IS_DELETED].every((name) => types.has(name))) return [];
  const place = table.sorting_key
    .split(', ')
    .map((name) => name.replaceAll('`', ''))
    .filter((name) => name !== VERSION);
  if (!place.every((name) => types.has(name))) return [];

  const shared = plan.columns.filter(({ name }) => types.has(name));
  const by = place.map(quoteName).join(', ');
  const casts = keyNames.map((name, i) => `cast(k${i} as ${types.get(name)!})`).join(', ');
  let answer = '';
  for (const { table: asked, params } of askedKeys(plan, keys)) {
    answer += await server.tabSeparated(
      `select ${shared.map(({ name }) => quoteName(name)).join(', ')}, ${VERSION} from (
       select * from ${qualified(databases.views, target)}
        where (${keyNames.map(quoteName).join(', ')}) in (select ${casts} from ${asked})
        order by ${by}, ${VERSION} desc limit 1 by ${by})
      where ${IS_DELETED} = 0`,
      doing,
      params,
    );
  }
  const blanks = plan.columns.map(({ stored }) => stored.blank.toString('latin1'));
  const positions = shared.map((column) => plan.columns.indexOf(column));
  return answer
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const values = line.split('\t');
      const fields = [...blanks];
      positions.forEach((position, i) => (fields[position] = values[i]!));
      return { fields, version: BigInt(values.at(-1)!) };
    });
}
