import type { ChangeHandler, TransactionEnd, TransactionStart } from '../../src/pipeline/change.js';
import type { Lsn } from '../../src/pipeline/lsn.js';
import { silentLog } from '../../src/pipeline/log.js';
import type { Relation } from '../../src/pipeline/relation.js';
import type { ChangeStream, Snapshot } from '../../src/pipeline/source.js';
import type { Tuple } from '../../src/pipeline/tuple.js';
import type { Plugin } from '../../src/source/slot.js';
import { openSource, type PostgresSource, type SourceOptions } from '../../src/source/source.js';
import type { TestDatabases } from '../support/servers.js';

/** A row by column name; columns that were not sent are left out. */
export type Row = Readonly<Record<string, string | null>>;

export type Call =
  | { readonly call: 'begin'; readonly commitLsn: Lsn; readonly committedAtUs: bigint; readonly xid: number }
  | { readonly call: 'insert'; readonly table: string; readonly row: Row }
  | { readonly call: 'update'; readonly table: string; readonly old: Row | null; readonly row: Row }
  | { readonly call: 'delete'; readonly table: string; readonly old: Row }
  | { readonly call: 'truncate'; readonly tables: readonly string[] }
  | { readonly call: 'commit'; readonly commitLsn: Lsn; readonly endLsn: Lsn };

export function rowOf(relation: Relation, tuple: Tuple): Row {
  const row: Record<string, string | null> = {};
  relation.columns.forEach(({ name }, column) => {
    const text = tuple.text(column);
    if (text !== undefined) row[name] = text;
  });
  return row;
}

/** Writes down what a stream says, as plain objects. */
export class Recorder implements ChangeHandler {
  readonly calls: Call[] = [];
  /** The position up to which everything was handed over. */
  reached: Lsn = 0n;
  #waiting: { readonly lsn: Lsn; readonly resolve: () => void }[] = [];

  begin({ commitLsn, committedAtUs, xid }: TransactionStart): void {
    this.calls.push({ call: 'begin', commitLsn, committedAtUs, xid });
  }

  insert(relation: Relation, row: Tuple): void {
    this.calls.push({ call: 'insert', table: relation.id, row: rowOf(relation, row) });
  }

  update(relation: Relation, old: Tuple | null, row: Tuple): void {
    const oldRow = old === null ? null : rowOf(relation, old);
    this.calls.push({ call: 'update', table: relation.id, old: oldRow, row: rowOf(relation, row) });
  }

  delete(relation: Relation, old: Tuple): void {
    this.calls.push({ call: 'delete', table: relation.id, old: rowOf(relation, old) });
  }

  truncate(relations: readonly Relation[]): void {
    this.calls.push({ call: 'truncate', tables: relations.map(({ id }) => id).sort() });
  }

  commit({ commitLsn, endLsn }: TransactionEnd): void {
    this.calls.push({ call: 'commit', commitLsn, endLsn });
    this.#reach(endLsn);
  }

  caughtUp(lsn: Lsn, _sentAtMs: number): void {
    this.#reach(lsn);
  }

  until(lsn: Lsn): Promise<void> {
    if (this.reached >= lsn) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ lsn, resolve }));
  }

  /** Changes alone, without the transactions around them. */
  get changes(): Call[] {
    return this.calls.filter(({ call }) => call !== 'begin' && call !== 'commit');
  }

  #reach(lsn: Lsn): void {
    if (lsn > this.reached) this.reached = lsn;
    this.#waiting = this.#waiting.filter(({ lsn: wanted, resolve }) => {
      if (wanted > this.reached) return true;
      resolve();
      return false;
    });
  }
}

/** Reads a stream into a recorder up to `lsn`, pinging meanwhile; the stream goes on until `stop`. */
export async function readUntil(
  stream: ChangeStream,
  lsn: Lsn,
  recorder = new Recorder(),
): Promise<{ recorder: Recorder; running: Promise<void>; stop: () => Promise<void> }> {
  const running = stream.run(recorder);
  const pinging = setInterval(() => stream.ping(0n), 20);
  try {
    await Promise.race([
      recorder.until(lsn),
      running.then(() => {
        throw new Error('the stream ended before the position');
      }),
    ]);
  } finally {
    clearInterval(pinging);
  }
  return {
    recorder,
    running,
    stop: async () => {
      await stream.close();
      await running;
    },
  };
}

/** A source with its slot and publication made, closed and dropped by `dispose`. */
export interface Prepared {
  readonly source: PostgresSource;
  readonly relations: readonly Relation[];
  readonly snapshot: Snapshot;
  /** Everything up to now, through a stream of its own. */
  read(): Promise<Recorder>;
  dispose(): Promise<void>;
}

export async function prepare(
  databases: TestDatabases,
  decoder: Plugin,
  tables: readonly string[],
  extra: Partial<SourceOptions> = {},
): Promise<Prepared> {
  const name = `${databases.name}_${decoder}`;
  const options: SourceOptions = {
    url: databases.postgresUrl,
    slot: name,
    publication: name,
    decoder,
    tables,
    log: silentLog,
    ...extra,
  };
  const source = await openSource(options);
  const relations = await source.relations();
  await source.ensurePublication();
  const snapshot = await source.createSlot();
  return {
    source,
    relations,
    snapshot,
    read: async () => {
      const { recorder, stop } = await readUntil(source.openStream(relations), await source.currentLsn());
      await stop();
      return recorder;
    },
    dispose: async () => {
      await source.close();
      const dropper = await openSource(options);
      await dropper.dropSlot();
      await dropper.close();
      await databases.postgres(`drop publication if exists "${name}"`);
    },
  };
}
