import type { ClientBase } from 'pg';

/** Runs statements and takes them back, failed or not; inside of a transaction, which goes on, as well as outside of one. */
export async function undone<T>(client: ClientBase, work: () => Promise<T>): Promise<T> {
  const nested = await client.query('savepoint walhouse_undone').then(
    () => true,
    (error: unknown) => {
      if ((error as { code?: string }).code !== '25P01') throw error; // Outside of a transaction there are none.
      return false;
    },
  );
  if (!nested) await client.query('begin');
  try {
    return await work();
  } finally {
    await client.query(
      nested ? 'rollback to savepoint walhouse_undone; release savepoint walhouse_undone' : 'rollback',
    );
  }
}
