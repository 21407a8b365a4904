import type { Client } from 'pg';
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
}
