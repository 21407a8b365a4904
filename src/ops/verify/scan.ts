import type { Client } from 'pg';
import { quoteName } from '../../source/connection.js';
import type { Relation } from '../../pipeline/relation.js';
import type { Reader } from './reader.js';

/** About half a second of work, so that pauses are even and progress is seen. */
const PAGES_EACH = 2_048;
const ROWS_A_PAGE = 64;

/** A part of a table that one statement reads. */
export interface Piece {
  /** Quoted, with its alias `t`. */
  readonly from: string;
  readonly where: string | null;
  readonly pages: number;
}

export interface Extent {
  /** The whole of it, quoted: a partitioned table has no rows of its own; other children are tables of their own. */
  readonly table: string;
  readonly pieces: readonly Piece[];
  /** An estimate. */
  readonly rows: number;
}

/** Cuts a table, or every partition of it, into ranges of pages: each is read once, in the order of the disk, by any number of readers. */
export async function extentOf(client: Client, relation: Relation): Promise<Extent> {
  const { rows } = await client.query<{
    kind: string;
    schema: string;
    name: string;
    pages: number;
    rows: number;
  }>(
    `select root.relkind as kind, n.nspname as schema, c.relname as name, c.reltuples::float8 as rows,
            (pg_relation_size(c.oid) / current_setting('block_size')::int8)::float8 as pages
       from pg_class root
            left join lateral pg_partition_tree(root.oid) tree on root.relkind = 'p'
            join pg_class c on c.oid = coalesce(tree.relid, root.oid)
            join pg_namespace n on n.oid = c.relnamespace
      where root.oid = $1 and c.relkind = 'r'
      order by c.oid`,
    [relation.oid],
  );
  const pieces = rows.flatMap(({ schema, name, pages }) => {
    // Children by inheritance are tables of their own.
    const from = `only ${quoteName(schema)}.${quoteName(name)} t`;
    const ranges: Piece[] = [];
    for (let first = 0; first + PAGES_EACH < pages; first += PAGES_EACH) {
      const where = `t.ctid >= '(${first},0)' and t.ctid < '(${first + PAGES_EACH},0)'`;
      ranges.push({ from, where, pages: PAGES_EACH });
    }
    // The last range is open: the table may have grown since it was measured.
    const last = ranges.length * PAGES_EACH;
    ranges.push({
      from,
      where: last === 0 ? null : `t.ctid >= '(${last},0)'`,
      pages: Math.max(1, pages - last),
    });
    return ranges;
  });
  // A table that was never analysed has no estimate.
  const estimate = rows.map((table) => (table.rows > 0 ? table.rows : table.pages * ROWS_A_PAGE));
  const only = rows[0]?.kind === 'r' ? 'only ' : '';
  return {
    table: `${only}${quoteName(relation.schema)}.${quoteName(relation.name)}`,
    pieces,
    rows: estimate.reduce((sum, count) => sum + count, 0),
  };
}

/** Reads all pieces over the snapshot's connections, each at its pace. The first failure ends it. */
export async function scan(
  readers: readonly Reader[],
  pieces: readonly Piece[],
  work: (reader: Reader, piece: Piece) => Promise<void>,
  onDone: (piece: Piece) => void,
): Promise<void> {
  const queue = [...pieces];
  let failed = false;
  await Promise.all(
    readers.map(async (reader) => {
      for (let piece = queue.shift(); piece !== undefined && !failed; piece = queue.shift()) {
        try {
          await work(reader, piece);
        } catch (error) {
          failed = true;
          throw error;
        }
        onDone(piece);
      }
    }),
  );
}
