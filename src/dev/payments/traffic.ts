import { setTimeout as sleep } from 'node:timers/promises';

import pg from 'pg';

import type { Log } from '../../pipeline/log.js';
import type { Micros } from './instant.js';
import { copyInitialData, createPaymentsSchema, isLoaded, readState } from './load.js';
import { generateProfiles } from './merchants.js';
import { nextOperation } from './next-operation.js';
import { merchantsOf, OPERATION_KINDS, type Operation, type OperationKind } from './operation.js';
import { Random } from './random.js';
import { applyOperation, largestMerchant, type TrafficState } from './state.js';
import { executeOperation } from './statements.js';

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

export interface InitialLoad {
  readonly merchants: number;
  readonly payments: number;
  readonly days: number;
}

export interface TrafficReport {
  readonly seed: number;
  /** Transactions by kind, as far as they were committed (or, for `roll_back`, rolled back). */
  readonly operations: Readonly<Record<OperationKind, number>>;
  readonly transactions: number;
  readonly rows: number;
  /** Transactions that were run again after a deadlock or a lost connection. */
  readonly retries: number;
  /** Every merchant that a transaction concerned: whose own row or payments may have changed. */
  readonly touchedMerchants: ReadonlySet<bigint>;
}

export interface Traffic {
  /** Makes the tables and fills them; rows that are there already stay, and nothing is loaded then. */
  loadInitial(load: InitialLoad): Promise<{ loaded: boolean }>;
  /** Begins the live traffic; resolves once it runs. */
  start(): Promise<void>;
  /** Lets what is under way finish, and makes no further change before `resume`. */
  pause(): Promise<void>;
  resume(): void;
  /** Lets what is under way finish, closes all connections and reports. Rejects with what ended the traffic early, if anything did. */
  stop(): Promise<TrafficReport>;
  /** The one that gets most payments; null before there are any. */
  largestMerchantId(): bigint | null;
}

const CONNECTIONS = 4;
/** When the database cannot keep up by so much, what is overdue is dropped rather than sent in one burst. */
const BEHIND_MAX_MS = 2_000;
const RETRIES_MAX = 100;
const RETRY_PAUSE_MS = 200;
const PAUSE_LOOK_MS = 20;

/** Believable life on the payments domain: initial data and a repeatable sequence of changes on a few connections. */
export function createPaymentsTraffic(options: TrafficOptions): Traffic {
  return new PaymentsTraffic(options);
}

class PaymentsTraffic implements Traffic {
  readonly #options: TrafficOptions;
  readonly #pool: pg.Pool;
  readonly #random: Random;
  readonly #stopping = new AbortController();
  readonly #operations = Object.fromEntries(OPERATION_KINDS.map((kind) => [kind, 0])) as Record<
    OperationKind,
    number
  >;
  readonly #touched = new Set<bigint>();
  #state: TrafficState | null = null;
  #workers: Promise<void>[] = [];
  #failure: Error | null = null;
  #rows = 0;
  #retries = 0;
  /** Where the sequence's clock stood at operation 0, in microseconds since 1970, and the same moment on our own clock. */
  #sequenceStart: Micros = 0;
  #clockStartMs = 0;
  #skippedMs = 0;
  #executing = 0;
  #paused = false;

  constructor(options: TrafficOptions) {
    this.#options = options;
    this.#random = new Random(options.seed, 1);
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

  async loadInitial({ merchants, payments, days }: InitialLoad): Promise<{ loaded: boolean }> {
    const { seed, startAt = new Date() } = this.#options;
    const profiles = generateProfiles(merchants, new Random(seed, 5));
    return this.#withClient(async (client) => {
      await createPaymentsSchema(client);
      if (await isLoaded(client)) return { loaded: false };
      const until = startAt.getTime() * 1000;
      this.#state = await copyInitialData(client, { profiles, seed, payments, days, until });
      return { loaded: true };
    });
  }

  async start(): Promise<void> {
    if (this.#workers.length > 0) throw new Error('the traffic runs already');
    const { startAt = new Date(), seed, connections = CONNECTIONS } = this.#options;
    const state = this.#state ?? (await this.#withClient((client) => readState(client, seed)));
    if (state.profiles.length === 0) throw new Error('public.merchants is empty: load initial data first');
    this.#state = state;
    this.#sequenceStart = startAt.getTime() * 1000;
    this.#clockStartMs = performance.now();
    this.#workers = Array.from({ length: connections }, () => this.#work(state));
  }

  async pause(): Promise<void> {
    this.#paused = true;
    while (this.#executing > 0) await sleep(PAUSE_LOOK_MS);
  }

  resume(): void {
    this.#paused = false;
  }

  async stop(): Promise<TrafficReport> {
    this.#stopping.abort();
    await Promise.all(this.#workers);
    if (!this.#pool.ended) await this.#pool.end();
    if (this.#failure !== null) throw this.#failure;
    return {
      seed: this.#options.seed,
      operations: { ...this.#operations },
      transactions: Object.values(this.#operations).reduce((sum, count) => sum + count, 0),
      rows: this.#rows,
      retries: this.#retries,
      touchedMerchants: this.#touched,
    };
  }

  largestMerchantId(): bigint | null {
    const largest = this.#state === null ? undefined : largestMerchant(this.#state);
    return largest === undefined ? null : BigInt(largest.id);
  }

  /** One connection's share: takes the next operation of the common sequence when it is due, and runs it. */
  async #work(state: TrafficState): Promise<void> {
    const { signal } = this.#stopping;
    try {
      while (!signal.aborted) {
        const { operation, dueInMs } = this.#take(state);
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

  #take(state: TrafficState): { operation: Operation; dueInMs: number } {
    const atMs = (state.operations * 1000) / this.#options.ratePerSecond;
    const operation = nextOperation(state, this.#random, this.#sequenceStart + Math.round(atMs * 1000));
    applyOperation(state, operation);
    let dueInMs = this.#clockStartMs + this.#skippedMs + atMs - performance.now();
    if (dueInMs < -BEHIND_MAX_MS) {
      this.#skippedMs -= dueInMs;
      dueInMs = 0;
    }
    return { operation, dueInMs };
  }

  async #execute(operation: Operation): Promise<void> {
    // Before the attempt: a commit counts even when its answer is lost.
    if (operation.commit) for (const id of merchantsOf(operation)) this.#touched.add(BigInt(id));
    for (let attempt = 1; ; attempt++) {
      try {
        const rows = await this.#withClient((client) => executeOperation(client, operation));
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
    this.#operations[operation.kind]++;
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
  return BROKEN_CONNECTION.includes(code ?? '') || error.message.startsWith('Connection terminated');
}
