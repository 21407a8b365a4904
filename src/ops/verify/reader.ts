import pg, { type Client } from 'pg';
import type { Pace } from './load.js';

/** One connection on a snapshot, which asks no faster than it may. */
export class Reader {
  readonly #client: Client;
  readonly #pace: Pace;
  readonly #signal: AbortSignal | undefined;

  constructor(client: Client, pace: Pace, signal: AbortSignal | undefined) {
    this.#client = client;
    this.#pace = pace;
    this.#signal = signal;
  }

  get busyMs(): number {
    return this.#pace.busyMs;
  }

  /** Rows as lists of texts, without names, since a table may have many. */
  async rows(text: string, values: unknown[]): Promise<string[][]> {
    const { rows } = await this.#pace.run(
      () => this.#client.query<string[]>({ text, values, rowMode: 'array' }),
      this.#signal,
    );
    return rows;
  }

  /** As `rows`, one after the other: none is kept, however large they are. `take` must not throw. */
  async each(text: string, values: unknown[], take: (row: (string | null)[]) => void): Promise<void> {
    const ask = (): Promise<void> =>
      new Promise((resolve, reject) => {
        const query = new pg.Query({ text, values }, (error) => (error ? reject(error) : resolve()));
        // A query with a callback keeps its rows otherwise, and `pg` gives each one that may time out a callback.
        this.#client.query(
          Object.assign(query, {
            handleDataRow: ({ fields }: { readonly fields: (string | null)[] }): void => take(fields),
          }),
        );
      });
    await this.#pace.run(ask, this.#signal);
  }
}
