import { setTimeout as sleep } from 'node:timers/promises';

import pg from 'pg';

import type { Log } from '../pipeline/log.js';
import type { Micros } from './instant.js';

/** One source transaction. */
export interface Operation {
  /** What it is, in the words of its domain: `pay`, `settle`, `roll_back`. */
  readonly kind: string;
  /** Runs it as one transaction and resolves to the number of rows it changed; 0 when it was rolled back. */
  run(client: pg.ClientBase): Promise<number>;
}

/** What a domain's traffic consists of. Nothing in it waits, retries or holds a connection: that is what `LiveTraffic` does. */
export interface Generator {
  /** Makes the tables where they are missing and fills them; resolves to false where there are rows already, and changes none of them. */
  load(client: pg.ClientBase): Promise<boolean>;
  /** Learns from the tables where to go on. Called once before the first `next`, also right after a `load`. */
  begin(client: pg.ClientBase): Promise<void>;
  /**
   * The next transaction of the sequence, at this moment of its clock. Pure: what it returns depends on the seed, on what `begin` saw
   * and on the moments, so the same seed repeats a run.
   */
  next(at: Micros): Operation;
}

export interface TrafficOptions {
  /** A role that owns the tables. */
  readonly url: string;
  readonly seed: number;
  /** Transactions a second; most change one row, some a few hundred. */
  readonly ratePerSecond: number;
  readonly log: Log;
  /** Connections in use at once, so that transactions overlap and commit out of order. */
  readonly connections?: number;
  /** The clock of the sequence; the same seed and start give the same operations with the same dates. */
  readonly startAt?: Date;
}

export interface TrafficReport {
  /** Transactions by kind, as far as they ended: committed, or rolled back on purpose. */
  readonly operations: Readonly<Record<string, number>>;
  readonly transactions: number;
  readonly rows: number;
  /** Transactions that were run again after a deadlock or a lost connection. */
  readonly retries: number;
}

const CONNECTIONS = 4;
/** When the database cannot keep up by so much, what is overdue is dropped rather than sent in one burst. */
const BEHIND_MAX_MS = 2_000;
const RETRIES_MAX = 100;
const RETRY_PAUSE_MS = 200;
const PAUSE_LOOK_MS = 20;

/** Runs a generator's transactions at a rate, on a few connections, through deadlocks and restarts of the server. */
export class LiveTraffic {
  readonly #generator: Generator;
  readonly #options: TrafficOptions;
  readonly #pool: pg.Pool;
  readonly #stopping = new AbortController();
  readonly #operations: Record<string, number> = {};
  #workers: Promise<void>[] = [];
  #failure: Error | null = null;
  #taken = 0;
  #rows = 0;
  #retries = 0;
  /** Where the sequence's clock stood at its first operation, in microseconds since 1970, and the same moment on our own clock. */
  #sequenceStart: Micros = 0;
  #clockStartMs = 0;
  #skippedMs = 0;
  #executing = 0;
  #paused = false;

  constructor(generator: Generator, options: TrafficOptions) {
    this.#generator = generator;
    this.#options = options;
    this.#pool = new pg.Pool({
      connectionString: options.url,
      max: options.connections ?? CONNECTIONS,
      application_name: 'walhouse demo traffic',
    });
    // A connection that breaks is replaced and its query run again; these events, unhandled, would end the process.
    const lost = (error: Error): void =>
      options.log.warn({ error: error.message }, 'traffic lost a connection');
    this.#pool.on('error', lost);
    this.#pool.on('connect', (client) => client.on('error', lost));
  }

  /** Makes the tables and fills them; rows that are there already stay, and nothing is loaded then. */
  async load(): Promise<{ loaded: boolean }> {
    return { loaded: await this.#withClient((client) => this.#generator.load(client)) };
  }

  /** Begins the live traffic; resolves once it runs. */
  async start(): Promise<void> {
    if (this.#workers.length > 0) throw new Error('the traffic runs already');
    const { startAt = new Date(), connections = CONNECTIONS } = this.#options;
    await this.#withClient((client) => this.#generator.begin(client));
    this.#sequenceStart = startAt.getTime() * 1000;
    this.#clockStartMs = performance.now();
    this.#workers = Array.from({ length: connections }, () => this.#work());
  }

  /** Transactions that have ended so far. */
  get transactions(): number {
    return Object.values(this.#operations).reduce((sum, count) => sum + count, 0);
  }

  /** Lets what is under way finish, and makes no further change before `resume`. */
  async pause(): Promise<void> {
    this.#paused = true;
    while (this.#executing > 0) await sleep(PAUSE_LOOK_MS);
  }

  resume(): void {
    this.#paused = false;
  }

  /** Lets what is under way finish, closes all connections and reports. Rejects with what ended the traffic early, if anything did. */
  async stop(): Promise<TrafficReport> {
    this.#stopping.abort();
    await Promise.all(this.#workers);
    if (!this.#pool.ended) await this.#pool.end();
    if (this.#failure !== null) throw this.#failure;
    return {
      operations: { ...this.#operations },
      transactions: this.transactions,
      rows: this.#rows,
      retries: this.#retries,
    };
  }

  /** One connection's share: takes the next operation of the common sequence when it is due, and runs it. */
  async #work(): Promise<void> {
    const { signal } = this.#stopping;
    try {
      while (!signal.aborted) {
        const { operation, dueInMs } = this.#take();
        if (dueInMs > 0) await sleep(dueInMs, undefined, { signal });
        while (this.#paused) await sleep(PAUSE_LOOK_MS, undefined, { signal });
        this.#executing += 1;
        await this.#execute(operation).finally(() => (this.#executing -= 1));
      }
    } catch (error) {
      // Being woken from a pause by `stop` is how a worker ends.
      if (error instanceof Error && error.name === 'AbortError') return;
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
      this.#options.log.error({ error: String(error) }, 'the traffic ended early');
      this.#stopping.abort();
    }
  }

  #take(): { operation: Operation; dueInMs: number } {
    const atMs = (this.#taken++ * 1000) / this.#options.ratePerSecond;
    const operation = this.#generator.next(this.#sequenceStart + Math.round(atMs * 1000));
    let dueInMs = this.#clockStartMs + this.#skippedMs + atMs - performance.now();
    if (dueInMs < -BEHIND_MAX_MS) {
      this.#skippedMs -= dueInMs;
      dueInMs = 0;
    }
    return { operation, dueInMs };
  }

  async #execute(operation: Operation): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        const rows = await this.#withClient((client) => operation.run(client));
        this.#rows += rows;
        break;
      } catch (error) {
        // The commit's answer may have been lost with the connection: then the retry finds its own rows.
        if (attempt > 1 && codeOf(error) === '23505') break;
        if (!isPassing(error) || attempt >= RETRIES_MAX) throw error;
        this.#retries++;
        await sleep(RETRY_PAUSE_MS, undefined, { signal: this.#stopping.signal });
      }
    }
    this.#operations[operation.kind] = (this.#operations[operation.kind] ?? 0) + 1;
  }

  async #withClient<T>(task: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    let broken = true;
    try {
      const result = await task(client);
      broken = false;
      return result;
    } catch (error) {
      // What the server said itself leaves the connection usable; anything else may not.
      broken = codeOf(error) === undefined;
      throw error;
    } finally {
      client.release(broken);
    }
  }
}

/** Runs these as one transaction, or rolls it back at its end where `commit` is false; resolves to the rows changed. */
export async function asTransaction(
  client: pg.ClientBase,
  commit: boolean,
  statements: readonly (() => Promise<number>)[],
): Promise<number> {
  let rows = 0;
  await client.query('begin');
  try {
    for (const statement of statements) rows += await statement();
    await client.query(commit ? 'commit' : 'rollback');
  } catch (error) {
    // The first error is the one to tell of; on a broken connection the rollback happened already.
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
  return commit ? rows : 0;
}

/** The server's SQLSTATE; undefined when the error did not come from the server. */
function codeOf(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined;
}

const PASSING_STATES = ['40P01', '40001', '53300'];
const BROKEN_CONNECTION = ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT'];

/** Deadlocks and serialization failures, a server that goes down or comes up, a connection that broke. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof pg.DatabaseError) {
    const state = error.code ?? '';
    return PASSING_STATES.includes(state) || state.startsWith('57P') || state.startsWith('08');
  }
  const { code } = error as NodeJS.ErrnoException;
  return (
    BROKEN_CONNECTION.includes(code ?? '') ||
    /^(Connection terminated|Client has encountered a connection error)/.test(error.message)
  );
}
