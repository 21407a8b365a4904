import type { Client } from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import type { Relation } from '../pipeline/relation.js';
import type { SnapshotReader } from '../pipeline/source.js';
import { quoteName } from './connection.js';
import { CopyDecoder } from './copy-decoder.js';
import { isKept } from './retention-cut.js';

type Keys = readonly (readonly string[])[];

/**
 * Rows of some keys through COPY, so that their bytes come as in any snapshot. COPY takes no parameters; the keys reach it as settings of
 * the transaction, which do. Gives back the keys as Postgres prints them.
 */
export async function readKeyedRows(
  client: Client,
  relation: Relation,
  keys: Keys,
  { cut, onRow }: Pick<SnapshotReader, 'cut' | 'onRow'>,
): Promise<Keys> {
  const columns = relation.key.map((index) => relation.columns[index]!);
  const lists = columns.map((_, place) => keys.map((texts) => texts[place]));
  const set = columns.map(
    (_, place) => `set_config('walhouse.key${place}', $${place + 1}::text[]::text, true)`,
  );
  await client.query({ text: `select ${set.join(', ')}`, values: lists });

  const settings = columns.map((_, place) => `current_setting('walhouse.key${place}')::text[]`).join(', ');
  const names = columns.map((_, place) => `k${place}`).join(', ');
  const typed = columns.map(({ type }, place) => `asked.k${place}::${type.text} as k${place}`).join(', ');
  const wanted = `(select distinct ${typed} from unnest(${settings}) asked(${names})) wanted`;
  const printed = await client.query<string[]>({
    text: `select ${columns.map((_, place) => `format('%s', wanted.k${place})`).join(', ')} from ${wanted}`,
    rowMode: 'array',
  });

  const table = await client.query<{ kind: string }>('select relkind as kind from pg_class where oid = $1', [
    relation.oid,
  ]);
  // A partitioned root has no rows of its own; any other table's children are tables of their own.
  const only = table.rows[0]?.kind === 'p' ? '' : 'only ';
  const selected = relation.columns.map(({ name }) => `t.${quoteName(name)}`).join(', ');
  const equal = columns.map(({ name }, place) => `t.${quoteName(name)} = wanted.k${place}`).join(' and ');
  const chosen = relation.selection?.where ?? 'true';
  const kept = cut === undefined ? 'true' : isKept(cut);
  const from = `(select * from ${only}${quoteName(relation.schema)}.${quoteName(relation.name)} where (${chosen}) and ${kept}) t`;
  const decoder = new CopyDecoder(relation.columns.length, onRow);
  const stream = client.query(
    copyTo(`copy (select ${selected} from ${wanted} join ${from} on ${equal}) to stdout`),
  );
  for await (const chunk of stream as AsyncIterable<Buffer>) decoder.decode(chunk);
  decoder.finish();
  return printed.rows;
}
