import type { ClientBase } from 'pg';

/** How many ids a generator has for itself; more than a demo uses in a year. */
const BLOCK = 100_000_000;

/**
 * The first of a block of ids of an identity column that nobody else is given, since its sequence goes on behind the block. So a
 * transaction can name its rows' ids, and one that is run again, because its answer was lost, finds its own rows instead of adding
 * them once more. `table` with its schema, as SQL has it.
 */
export async function reserveIds(client: ClientBase, table: string, column: string): Promise<number> {
  const last = await client.query<{ id: string }>(
    `select coalesce(max(${column}), 0)::text as id from ${table}`,
  );
  const first = Number(last.rows[0]?.id ?? 0) + 1;
  await client.query({
    text: 'select setval(pg_get_serial_sequence($1, $2), $3)',
    values: [table, column, first + BLOCK],
  });
  return first;
}
