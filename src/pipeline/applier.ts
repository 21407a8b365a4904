import { Backoff, sleep } from './backoff.js';
import type { BatchNotes, BatchTraces } from './batch-traces.js';
import type { ChangeHandler, TransactionEnd, TransactionStart } from './change.js';
import { asWalhouseError, WalhouseError } from './errors.js';
import { failpoint } from './failpoint.js';
import type { Log } from './log.js';
import type { Lsn } from './lsn.js';
import type { Meter } from './meter.js';
import type { Progress } from './progress.js';
import { rejectable } from './rejectable.js';
import type { Relation } from './relation.js';
import type { Batch, Sink } from './sink.js';
import { DELETE, INSERT, TRUNCATE, UPDATE, type Operation } from './table-report.js';
import type { Span } from './tracer.js';
import type { Tuple } from './tuple.js';
import { ORDINAL_MAX } from './version.js';

export interface BatchLimits {
  readonly batchRowsMax: number;
  readonly batchBytesMax: number;
}

export interface ApplierOptions {
  readonly sink: Sink;
  readonly progress: Progress;
  readonly limits: BatchLimits;
  readonly log: Log;
  readonly backoff?: Backoff;
  /**
   * Rows of transactions before this may have been stored, in part, by an earlier stream that was cut off. Until it is durable
   * nothing is known to be whole.
   */
  readonly wholeFrom: Lsn;
  readonly meter: Meter;
  /** null: nobody wants traces. */
  readonly traces?: BatchTraces | null;
  readonly onChange: (relation: Relation, operation: Operation) => void;
  /** The stream has said something for the first time. */
  readonly onFirst?: () => void;
  /** Stops the socket, so that the source's server waits. */
  readonly pauseReading: () => void;
  readonly resumeReading: () => void;
  /** The durable position moved; called after every batch and when an idle source moves on. */
  readonly onDurable: () => void;
  /** An insert failed and will be tried again after `waitMs`; null once it went through. */
  readonly onRetry: (error: WalhouseError | null, waitMs: number) => void;
}

/** A batch on its way, and what is durable once it is stored. */
interface Ready {
  readonly batch: Batch;
  readonly whole: WholePosition | null;
  /** The batch ends inside a transaction. */
  readonly open: boolean;
  readonly notes: BatchNotes | null;
}

interface WholePosition {
  readonly lsn: Lsn;
  readonly committedAtUs: bigint | null;
}

/**
 * Turns changes into batches and batches into durable positions.
 *
 * One batch is being stored while the next fills. As soon as the insert has returned the next goes, if it ends at a commit; so a
 * lone change leaves at once and under load batches grow by themselves. When the filling batch is full, reading stops until the
 * insert returns. Only a transaction that alone exceeds a batch is split, so a batch holds at most twice its bound (and
 * what one read brings); the durable position moves only past whole transactions.
 */
export class Applier implements ChangeHandler {
  readonly #options: ApplierOptions;
  readonly #backoff: Backoff;
  readonly #traces: BatchTraces | null;
  readonly #stopping = new AbortController();
  #filling: Batch;
  #ready: Ready[] = [];
  #transaction: TransactionStart | null = null;
  #ordinal = 0;
  /** The last whole transaction's end (or a later position known to be empty up to there) not yet handed to a batch. */
  #whole: WholePosition | null = null;
  /** What the filling batch held when the current transaction began. */
  #transactionFrom = { rows: 0, bytes: 0 };
  #draining: Promise<void> | null = null;
  #drainScheduled = false;
  #readingPaused = false;
  #hasHeard = false;
  /** The newest stored batch ended inside a transaction. */
  #partial = false;
  #storing: Promise<void> | null = null;
  #holders = 0;
  #whenQuiet: (() => void)[] = [];
  #whenReleased: (() => void)[] = [];
  #failure: unknown = null;
  readonly #failed = rejectable();

  constructor(options: ApplierOptions) {
    this.#options = options;
    this.#backoff = options.backoff ?? new Backoff({ firstMs: 100, longestMs: 30_000 });
    this.#traces = options.traces ?? null;
    this.#filling = options.sink.openBatch();
  }

  /** Rejects when storing failed for good. */
  get failed(): Promise<never> {
    return this.#failed.promise;
  }

  begin(transaction: TransactionStart): void {
    this.#heard();
    this.#transaction = transaction;
    this.#ordinal = 0;
    this.#transactionFrom = { rows: this.#filling.rows, bytes: this.#filling.bytes };
    this.#filling.begin(transaction);
    this.#traces?.began(transaction);
  }

  insert(relation: Relation, row: Tuple): void {
    this.#filling.insert(relation, row, this.#nextOrdinal());
    this.#added(relation, INSERT);
  }

  update(relation: Relation, old: Tuple | null, row: Tuple): void {
    this.#filling.update(relation, old, row, this.#nextOrdinal());
    this.#added(relation, UPDATE);
  }

  delete(relation: Relation, old: Tuple): void {
    this.#filling.delete(relation, old, this.#nextOrdinal());
    this.#added(relation, DELETE);
  }

  truncate(relations: readonly Relation[]): void {
    for (const relation of relations) {
      this.#filling.truncate(relation, this.#nextOrdinal());
      this.#added(relation, TRUNCATE);
    }
  }

  passed(): void {
    this.#nextOrdinal();
  }

  commit(transaction: TransactionEnd): void {
    this.#whole = { lsn: transaction.endLsn, committedAtUs: this.#transaction?.committedAtUs ?? null };
    this.#transaction = null;
    this.#traces?.committed();
    if (this.#exceeds(this.#filling.rows, this.#filling.bytes)) {
      this.#cut();
      this.#pauseReading();
    }
    this.#schedule();
  }

  caughtUp(lsn: Lsn): void {
    this.#heard();
    if (this.#whole === null || lsn > this.#whole.lsn) {
      this.#whole = { lsn, committedAtUs: this.#whole?.committedAtUs ?? null };
    }
    this.#schedule();
  }

  /**
   * Runs `fn` while nothing is being stored and what is stored ends at a whole transaction. Batches wait meanwhile, so
   * `fn` must be short and bounded.
   */
  async hold<T>(fn: () => Promise<T>): Promise<T> {
    this.#holders += 1;
    try {
      while (!this.#isWhole()) {
        await new Promise<void>((resolve) => this.#whenQuiet.push(resolve));
        if (this.#stopping.signal.aborted) throw new HoldInterrupted();
      }
      return await fn();
    } finally {
      this.#holders -= 1;
      if (this.#holders === 0) callAll(this.#whenReleased);
    }
  }

  /** Stores what whole transactions are there, then stops. For a clean leave; bounded by the caller. */
  async drain(): Promise<void> {
    this.#schedule();
    while (this.#draining !== null || this.#drainScheduled) {
      if (this.#failure !== null) return;
      await (this.#draining ?? sleep(0));
    }
  }

  /** Stops at once: what was not stored will be delivered again. Resolves when no insert is on its way any more. */
  async close(): Promise<void> {
    this.#stopping.abort();
    this.#ready = [];
    callAll(this.#whenQuiet);
    callAll(this.#whenReleased);
    await this.#draining;
  }

  #heard(): void {
    if (this.#hasHeard) return;
    this.#hasHeard = true;
    this.#options.onFirst?.();
  }

  #nextOrdinal(): number {
    if (this.#ordinal >= ORDINAL_MAX)
      throw new Error('a transaction has more changes than a version can number');
    this.#ordinal += 1;
    return this.#ordinal;
  }

  #added(relation: Relation, operation: Operation): void {
    this.#options.onChange(relation, operation);
    const batch = this.#filling;
    const { rows, bytes } = this.#transactionFrom;
    if (batch.sealed || this.#exceeds(batch.rows - rows, batch.bytes - bytes)) {
      this.#cut();
      this.#pauseReading();
      this.#schedule();
    } else if (this.#draining !== null && this.#exceeds(batch.rows, batch.bytes)) {
      // The rest of this transaction belongs to this batch; it is read when the one before is stored.
      this.#pauseReading();
    }
  }

  #exceeds(rows: number, bytes: number): boolean {
    const { batchRowsMax, batchBytesMax } = this.#options.limits;
    return rows >= batchRowsMax || bytes >= batchBytesMax;
  }

  /** Closes the filling batch. Inside a transaction the whole position stays that of the transactions before. */
  #cut(): void {
    this.#ready.push({
      batch: this.#filling,
      whole: this.#whole,
      open: this.#transaction !== null,
      notes: this.#traces?.cut(this.#transaction) ?? null,
    });
    this.#whole = null;
    this.#transactionFrom = { rows: 0, bytes: 0 };
    this.#filling = this.#options.sink.openBatch();
    if (this.#transaction !== null) this.#filling.begin(this.#transaction);
  }

  /** Stores after the current turn, so that all that one read brought goes into one batch. */
  #schedule(): void {
    if (this.#draining !== null || this.#drainScheduled || this.#stopping.signal.aborted) return;
    this.#drainScheduled = true;
    queueMicrotask(() => {
      this.#drainScheduled = false;
      if (this.#draining !== null || this.#stopping.signal.aborted) return;
      this.#draining = this.#storeAll()
        .catch((error: unknown) => {
          // Nothing may be stored after a gap.
          this.#stopping.abort();
          this.#failure = error;
          this.#failed.reject(error);
        })
        .finally(() => {
          this.#draining = null;
          callAll(this.#whenQuiet);
        });
    });
  }

  async #storeAll(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const ready = this.#take();
      if (ready === null) return;
      let span: Span | null = null;
      if (ready.batch.rows > 0 || ready.batch.sealed) {
        await this.#letHoldersIn();
        failpoint('before_insert');
        if (ready.notes !== null) span = this.#traces!.storing(ready.notes, ready.batch, ready.open);
        this.#storing = this.#store(ready.batch, span);
        try {
          await this.#storing;
        } finally {
          this.#storing = null;
        }
        if (this.#stopping.signal.aborted) return;
        failpoint('after_insert');
      }
      // Also of a batch that brought nothing but the end of a transaction whose rows are stored.
      this.#partial = ready.open;
      if (ready.whole !== null) this.#options.progress.advance(ready.whole.lsn, ready.whole.committedAtUs);
      if (span !== null) this.#traces!.stored(span, ready.whole?.lsn ?? null);
      if (ready.whole !== null) this.#options.onDurable();
      if (this.#ready.length === 0) this.#resumeReading();
    }
  }

  async #letHoldersIn(): Promise<void> {
    while (this.#holders > 0 && this.#isWhole() && !this.#stopping.signal.aborted) {
      const released = new Promise<void>((resolve) => this.#whenReleased.push(resolve));
      callAll(this.#whenQuiet);
      await released;
    }
  }

  #isWhole(): boolean {
    const { durable } = this.#options.progress;
    return this.#storing === null && !this.#partial && durable !== null && durable >= this.#options.wholeFrom;
  }

  #take(): Ready | null {
    const first = this.#ready.shift();
    if (first !== undefined) return first;
    // The changes of an open transaction wait for its commit, and those before it in the same batch with them.
    if (this.#whole === null || this.#transaction !== null) return null;
    this.#cut();
    return this.#ready.shift() ?? null;
  }

  async #store(batch: Batch, span: Span | null): Promise<void> {
    const { rows, bytes } = batch;
    const startedAtMs = performance.now();
    for (;;) {
      try {
        await this.#options.sink.store(batch, span);
        this.#options.meter.stored({ rows, bytes, seconds: (performance.now() - startedAtMs) / 1000 });
        if (this.#backoff.attempt > 0) this.#options.onRetry(null, 0);
        this.#backoff.reset();
        return;
      } catch (error) {
        if (!(error instanceof WalhouseError) || error.policy !== 'retry') {
          span?.end(asWalhouseError(error).kind);
          throw error;
        }
        const waitMs = this.#backoff.nextMs();
        span?.note({ 'walhouse.failed_attempts': this.#backoff.attempt });
        this.#options.onRetry(error, waitMs);
        this.#options.log.warn({ kind: error.kind, waitMs, attempt: this.#backoff.attempt }, error.message);
        await sleep(waitMs, this.#stopping.signal);
        if (this.#stopping.signal.aborted) return;
      }
    }
  }

  #pauseReading(): void {
    if (this.#readingPaused) return;
    this.#readingPaused = true;
    this.#options.pauseReading();
  }

  #resumeReading(): void {
    if (!this.#readingPaused) return;
    this.#readingPaused = false;
    this.#options.resumeReading();
  }
}

/** The service is closing, or its stream failed, before a hold could begin. */
export class HoldInterrupted extends Error {}

function callAll(callbacks: (() => void)[]): void {
  for (const callback of callbacks.splice(0)) callback();
}
