import type { Client } from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import { WalhouseError } from '../pipeline/errors.js';
import type { Lsn } from '../pipeline/lsn.js';
import type { Relation } from '../pipeline/relation.js';
import type { RetentionCut, Snapshot, SnapshotReader } from '../pipeline/source.js';
import { connect, destroy, quoteName, quoteText, type Target } from './connection.js';
import { CopyDecoder } from './copy-decoder.js';
import { readKeyedRows } from './keyed-rows.js';
import { isKept } from './retention-cut.js';
import type { ExportedSnapshot } from './slot.js';
import { sourceError } from './source-error.js';

/** Connections that read at once, over all tables of a snapshot. */
const READERS_MAX = 4;
/** A table is cut into ranges of at least so many bytes. */
const RANGE_BYTES_MIN = 64 * 1024 * 1024;
const RANGES_PER_READER = 4;
const COPY_BUFFER_BYTES = 256 * 1024;

export interface SnapshotOptions {
  readonly url: string;
  readonly target: Target;
  readonly exported: ExportedSnapshot;
  /** The replication connection that exported it, and keeps it alive. */
  readonly holder: Client;
  /** Called once, when the snapshot is closed. */
  readonly onClose: () => void;
}

/** Rows of tables as they were at the consistent point, through COPY, over a few connections that share one snapshot. */
export class PostgresSnapshot implements Snapshot {
  readonly consistentPoint: Lsn;
  readonly #options: SnapshotOptions;
  readonly #idle: Client[] = [];
  readonly #readers = new Set<Client>();
  readonly #waiting: (() => void)[] = [];
  #busy = 0;
  #closed = false;
  #holderLost: Error | null = null;

  constructor(options: SnapshotOptions) {
    this.#options = options;
    this.consistentPoint = options.exported.consistentPoint;
    options.holder.on('error', (error) => (this.#holderLost ??= error));
  }

  async estimateRows(relation: Relation): Promise<number> {
    const rows = await this.#withReader(async (reader) => {
      if (relation.selection?.where != null) return estimateSelected(reader, relation);
      const result = await reader.query<{ rows: number }>(
        `select coalesce(sum(greatest(c.reltuples, 0)), 0)::float8 as rows
           from pg_class root
                left join lateral pg_partition_tree(root.oid) tree on root.relkind = 'p' and tree.isleaf
                join pg_class c on c.oid = coalesce(tree.relid, root.oid)
          where root.oid = $1`,
        [relation.oid],
      );
      return result.rows[0]?.rows ?? 0;
    });
    return Math.round(rows);
  }

  async read(relation: Relation, reader: SnapshotReader): Promise<void> {
    const ranges = await this.#withReader((client) => rangesOf(client, relation, reader.cut));
    const queue = [...ranges];
    let failure: { readonly error: unknown } | null = null;
    // Rows of one table go to one writer: a piece and the wait behind it are never mixed with another range's.
    let turn: Promise<void> = Promise.resolve();
    const inTurn = (work: () => Promise<void>): Promise<void> => (turn = turn.then(work));
    const workers = Array.from({ length: Math.min(READERS_MAX, ranges.length) }, async () => {
      for (
        let statement = queue.shift();
        statement !== undefined && failure === null;
        statement = queue.shift()
      ) {
        const sql = statement;
        try {
          await this.#withReader((client) =>
            copyRows(client, sql, relation, reader, inTurn, () => failure !== null),
          );
        } catch (error) {
          // The first counts; the others fail because of it.
          failure ??= { error };
        }
      }
    });
    await Promise.all(workers);
    const failed = failure as { readonly error: unknown } | null;
    if (failed !== null) throw failed.error;
  }

  readKeys(
    relation: Relation,
    keys: readonly (readonly string[])[],
    reader: Pick<SnapshotReader, 'cut' | 'onRow'>,
  ): Promise<readonly (readonly string[])[]> {
    return this.#withReader((client) => readKeyedRows(client, relation, keys, reader));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const wake of this.#waiting.splice(0)) wake();
    for (const reader of this.#readers) destroy(reader);
    destroy(this.#options.holder);
    this.#options.onClose();
    await Promise.resolve();
  }

  async #withReader<T>(work: (client: Client) => Promise<T>): Promise<T> {
    while (this.#busy >= READERS_MAX && !this.#closed) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#refuseClosed();
    this.#busy += 1;
    let client: Client | null = null;
    try {
      client = this.#idle.pop() ?? (await this.#open());
      const result = await work(client);
      this.#idle.push(client);
      return result;
    } catch (error) {
      // Whatever it was doing, its transaction or its stream is of no more use.
      if (client !== null) {
        this.#readers.delete(client);
        destroy(client);
      }
      throw sourceError(error, this.#options.target, 'query');
    } finally {
      this.#busy -= 1;
      this.#waiting.shift()?.();
    }
  }

  async #open(): Promise<Client> {
    const client = await connect(this.#options.url, 'sql');
    this.#readers.add(client);
    this.#refuseClosed(client);
    // Rows that a policy hides would be missing without a word; with row_security off Postgres refuses instead.
    await client.query('set row_security = off');
    await client.query('begin isolation level repeatable read read only');
    try {
      await client.query(`set transaction snapshot ${quoteText(this.#options.exported.snapshotName)}`);
    } catch (error) {
      throw this.#lost(error);
    }
    return client;
  }

  #refuseClosed(client?: Client): void {
    if (!this.#closed) return;
    if (client !== undefined) destroy(client);
    throw this.#lost(new Error('the snapshot was closed'));
  }

  #lost(cause: unknown): WalhouseError {
    return new WalhouseError('source_disconnected', {
      what: 'the snapshot is gone: the connection that held it has ended.',
      why: 'Rows read from now on would be of another moment.',
      fix: 'nothing, the snapshot starts over',
      cause: this.#holderLost ?? cause,
    });
  }
}

/** How many rows the planner expects to meet the condition. */
async function estimateSelected(client: Client, { schema, name, selection }: Relation): Promise<number> {
  const { rows } = await client.query<{ 'QUERY PLAN': readonly { Plan: { 'Plan Rows': number } }[] }>(
    `explain (format json) select from ${quoteName(schema)}.${quoteName(name)} where ${selection!.where!}`,
  );
  return rows[0]?.['QUERY PLAN'][0]?.Plan['Plan Rows'] ?? 0;
}

/** The COPY statements that together read a table: one, or one for each range of pages of a large one. */
async function rangesOf(
  client: Client,
  relation: Relation,
  cut: RetentionCut | undefined,
): Promise<string[]> {
  const { rows } = await client.query<{ kind: string; pages: number; page: number }>(
    `select c.relkind as kind, current_setting('block_size')::float8 as page,
            case when c.relkind = 'r' then pg_relation_size(c.oid) / current_setting('block_size')::int8 else 0 end::float8 as pages
       from pg_class c where c.oid = $1`,
    [relation.oid],
  );
  const table = rows[0];
  if (table === undefined) {
    throw new WalhouseError('table_missing', {
      what: `table ${relation.id} was dropped while its snapshot began.`,
      why: 'There is nothing to copy.',
      fix: 'create it again, or remove it from tables',
    });
  }
  const columns = relation.columns.map(({ name }) => quoteName(name)).join(', ');
  const name = `${quoteName(relation.schema)}.${quoteName(relation.name)}`;
  // A partitioned root has no rows of its own; any other table's children are tables of their own.
  const select = `select ${columns} from ${table.kind === 'p' ? '' : 'only '}${name}`;
  const pagesEach = Math.max(
    Math.ceil(RANGE_BYTES_MIN / table.page),
    Math.ceil(table.pages / (READERS_MAX * RANGES_PER_READER)),
  );
  const statements: string[] = [];
  const kept = cut === undefined ? 'true' : isKept(cut);
  const chosen = relation.selection?.where ?? 'true';
  for (let from = 0; from + pagesEach < table.pages; from += pagesEach) {
    statements.push(`ctid >= '(${from},0)' and ctid < '(${from + pagesEach},0)'`);
  }
  // The last range is open: the table may have grown since it was measured.
  const last = statements.length * pagesEach;
  statements.push(last === 0 ? 'true' : `ctid >= '(${last},0)'`);
  return statements.map((range) => `copy (${select} where ${range} and ${kept} and (${chosen})) to stdout`);
}

async function copyRows(
  client: Client,
  sql: string,
  relation: Relation,
  reader: SnapshotReader,
  inTurn: (work: () => Promise<void>) => Promise<void>,
  cancelled: () => boolean,
): Promise<void> {
  const decoder = new CopyDecoder(relation.columns.length, (row) => reader.onRow(row));
  const stream = client.query(copyTo(sql, { highWaterMark: COPY_BUFFER_BYTES }));
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    if (cancelled()) throw new Error('another range of the table failed');
    await inTurn(async () => {
      if (cancelled()) return;
      decoder.decode(chunk);
      await reader.onChunk();
    });
  }
  decoder.finish();
}
