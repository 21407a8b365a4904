import { sleep } from '../pipeline/backoff.js';
import { asWalhouseError, type WalhouseError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import type { Lsn } from '../pipeline/lsn.js';
import { Progress } from '../pipeline/progress.js';
import { QUESTION_MS, type Sink, type Stored, type StoredTable } from '../pipeline/sink.js';

/** How often ClickHouse is asked, and how often while somebody waits for a position. */
const LOOK_MS = 100;
const LOOK_SOON_MS = 20;
/** The instance that writes knows its positions itself, and only makes sure in time that it still is the one. */
const LOOK_OURS_MS = 750;
/** Table states are for people, who look less often. */
const TABLES_MS = 1_000;

/** What can be read without writing. */
type Readable = Pick<Sink, 'stored' | 'loadTables'>;

/**
 * How far the instance that writes has come, read from what it stores: by standbys and by instances that only read, and by the
 * writer itself, to know that it still is the writer.
 *
 * What was read counts for `QUESTION_MS` from before it was asked for. By then either it was read again, or nobody knows whether it is
 * still so. The writer in its turn waits for longer between storing a position and whatever makes older ones untrue.
 */
export class StoredPositions {
  /** How far, and how old what is known is. */
  readonly progress: Progress;
  readonly #sink: Readable;
  readonly #log: Log;
  readonly #now: () => number;
  readonly #closing = new AbortController();
  #stored: Stored | null = null;
  #tables: readonly StoredTable[] = [];
  #failure: WalhouseError | null = null;
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #oursAtMs = Number.NEGATIVE_INFINITY;
  #askedTablesAtMs = Number.NEGATIVE_INFINITY;
  #identity = '';
  #looking: Promise<void> | null = null;
  #lookingAtTables: Promise<void> | null = null;
  #hurry = new AbortController();

  constructor(options: { sink: Readable; log: Log; now?: () => number }) {
    this.#sink = options.sink;
    this.#log = options.log;
    this.#now = options.now ?? Date.now;
    this.progress = new Progress(this.#now);
  }

  start(): void {
    this.#looking ??= this.#lookOn();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#hurry.abort();
    this.progress.close();
    await this.#looking;
  }

  /** On `performance.now()`'s clock: until then what was read may be used. */
  get goodUntilMs(): number {
    return this.#askedAtMs + QUESTION_MS;
  }

  /** What was read last; null when that is too long ago to count. */
  get stored(): Stored | null {
    return performance.now() < this.goodUntilMs ? this.#stored : null;
  }

  /** The cluster and database that positions are of; the same text for the same. */
  get identity(): string {
    return this.#identity;
  }

  /** Who wrote last, however long ago that was read. */
  get owner(): Stored['owner'] {
    return this.#stored?.owner ?? null;
  }

  /** This process was the one that writes when that was read last; null when that is too long ago to count. */
  get isOurs(): boolean | null {
    const { stored } = this;
    return stored === null ? null : stored.owner?.isUs === true;
  }

  /** As `goodUntilMs`, from the last time that this process was found to be the one that writes. */
  get oursUntilMs(): number {
    return this.#oursAtMs + QUESTION_MS;
  }

  /** How each table stands; read every second or so while another instance writes. */
  get tables(): readonly StoredTable[] {
    return this.#tables;
  }

  /** Why nothing could be read. */
  get failure(): WalhouseError | null {
    return this.#failure;
  }

  /** Reads again now; false when that failed. What was asked before the call has been answered after it. */
  async look(): Promise<boolean> {
    const askedAtMs = performance.now();
    const askedAt = this.#now();
    try {
      this.#found(await this.#sink.stored(), askedAtMs, askedAt);
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  /** See `Progress.waitFor`. */
  waitFor(lsn: Lsn, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    const reached = this.progress.waitFor(lsn, timeoutMs, signal);
    this.#hurry.abort();
    return reached;
  }

  async #lookOn(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      await this.look();
      // Not waited for: a network that has gone silent keeps this longer than what positions depend on.
      this.#lookingAtTables ??= this.#lookAtTables().finally(() => (this.#lookingAtTables = null));
      this.#hurry = new AbortController();
      const { waiting } = this.progress;
      // What we store ourselves we are not told sooner by asking; whoever waits is told by the replicator.
      const ms = this.isOurs === true ? LOOK_OURS_MS : waiting ? LOOK_SOON_MS : LOOK_MS;
      await sleep(ms, waiting ? this.#closing.signal : this.#hurry.signal);
    }
  }

  async #lookAtTables(): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.#askedTablesAtMs < TABLES_MS || this.#stored?.owner == null) return;
    // How its own tables stand the instance that writes knows better.
    if (this.isOurs === true) return;
    this.#askedTablesAtMs = nowMs;
    try {
      this.#tables = await this.#sink.loadTables();
    } catch (error) {
      this.#failed(error);
    }
  }

  #found(stored: Stored, askedAtMs: number, askedAt: number): void {
    if (askedAtMs < this.#askedAtMs) return; // Somebody has asked later and was answered sooner.
    if (this.#failure !== null) this.#log.info({}, 'what is stored can be read again');
    this.#failure = null;
    this.#stored = stored;
    this.#askedAtMs = askedAtMs;
    if (stored.owner?.isUs === true) this.#oursAtMs = askedAtMs;
    const { checkpoint } = stored;
    const identity = checkpoint === null ? '' : JSON.stringify(checkpoint.identity);
    if (identity !== this.#identity) this.progress.restart();
    this.#identity = identity;
    if (checkpoint === null) return;
    this.progress.advance(checkpoint.appliedLsn, checkpoint.committedAtUs);
    // All of it had happened before it was answered, so this can only overstate the lag.
    if (checkpoint.lagMs !== null) this.progress.freshen(askedAt - checkpoint.ageMs - checkpoint.lagMs);
  }

  #failed(error: unknown): void {
    if (this.#closing.signal.aborted) return;
    const failure = asWalhouseError(error);
    if (this.#failure?.kind !== failure.kind)
      this.#log.warn({ kind: failure.kind }, `what is stored cannot be read: ${failure.message}`);
    this.#failure = failure;
  }
}
