import type { Server } from './server.js';
import { formatMicros } from './times.js';

/** As it is stored; 64-bit numbers as text. */
type StateRow = Readonly<Record<string, string | readonly string[]>>;

interface Saved<Row> {
  readonly row: Row;
  readonly savedUs: bigint;
}

export interface StateTableOptions {
  readonly server: Server;
  /** Quoted. A ReplacingMergeTree(saved_at). */
  readonly table: string;
  readonly key: string;
  /** All that is read but `saved_at`, as in `select`. */
  readonly columns: string;
  /** Of what it keeps the state, for people. */
  readonly of: string;
}

/**
 * A small table of which each key's newest row counts. Nobody writes it but its owner, who therefore remembers what it has read and written; who is
 * not reads it anew. What is written is newer than what it replaces, even when a clock has gone back meanwhile. One thing is done after the
 * other, so that no change takes back another.
 */
export class StateTable<Row extends StateRow> {
  readonly #options: StateTableOptions;
  #rows: Map<string, Saved<Row>> | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: StateTableOptions) {
    this.#options = options;
  }

  /** Others may have owned it meanwhile. */
  forget(): Promise<void> {
    return this.#inTurn(async () => {
      this.#rows = null;
    });
  }

  /** All rows, as they stand there now. */
  load(): Promise<Row[]> {
    return this.#inTurn(async () => {
      this.#rows = null;
      return Array.from((await this.#all()).values(), ({ row }) => row);
    });
  }

  /** The owner's: it is what it was when that was read. */
  find(key: string): Promise<Row | undefined> {
    return this.#inTurn(async () => (await this.#all()).get(key)?.row);
  }

  /** The owner's. Resolves to the row that `change` made of the one before. */
  update(key: string, change: (before: Row | undefined) => Row): Promise<Row> {
    return this.#inTurn(async () => {
      const rows = await this.#all();
      const before = rows.get(key);
      const row = change(before?.row);
      const nowUs = BigInt(Date.now()) * 1_000n;
      const savedUs = before === undefined || before.savedUs < nowUs ? nowUs : before.savedUs + 1n;
      // If it fails nobody knows whether it was stored.
      this.#rows = null;
      await this.#options.server.insertRows(
        this.#options.table,
        [{ ...row, saved_at: formatMicros(savedUs) }],
        `saving the state of ${key}`,
      );
      this.#rows = rows.set(key, { row, savedUs });
      return row;
    });
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(task);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #all(): Promise<Map<string, Saved<Row>>> {
    if (this.#rows !== null) return this.#rows;
    const { server, table, key, columns, of } = this.#options;
    const found = await server.rows<Row & { saved_us: string }>(
      `select ${columns}, toString(toUnixTimestamp64Micro(saved_at)) as saved_us from ${table} final`,
      `reading the state of ${of}`,
    );
    this.#rows = new Map(
      found.map(({ saved_us: savedUs, ...row }) => [
        row[key] as string,
        { row: row as unknown as Row, savedUs: BigInt(savedUs) },
      ]),
    );
    return this.#rows;
  }
}
