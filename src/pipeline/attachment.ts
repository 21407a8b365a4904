import { Applier, type BatchLimits } from './applier.js';
import { endsWithin } from './backoff.js';
import { BatchTraces } from './batch-traces.js';
import { Checkpointer } from './checkpointer.js';
import type { WalhouseError } from './errors.js';
import type { Log } from './log.js';
import type { Lsn } from './lsn.js';
import { NO_METER, type Meter } from './meter.js';
import type { Progress } from './progress.js';
import { rejectable } from './rejectable.js';
import type { Relation } from './relation.js';
import type { Sink } from './sink.js';
import type { ChangeStream, Evolutions, Since, Source, SourceIdentity } from './source.js';
import type { Operation } from './table-report.js';
import type { Tracer } from './tracer.js';

/** How long a clean leave may take to store what is on its way. */
const DRAIN_MS = 10_000;

export interface AttachmentOptions {
  readonly sink: Sink;
  readonly slot: string;
  readonly limits: BatchLimits;
  readonly log: Log;
  /** How often the source is asked where its WAL ends. */
  readonly pollMs?: number;
  /** The shortest time between two checkpoints. */
  readonly checkpointMs?: number;
  readonly meter?: Meter;
  readonly tracer?: Tracer | undefined;
}

export interface AttachmentParts {
  readonly source: Source;
  readonly relations: readonly Relation[];
  readonly identity: SourceIdentity;
  readonly wholeFrom: Lsn;
  /** The tables that are exact at the durable position. */
  readonly exact: () => readonly string[];
  readonly since: Since;
  readonly evolutions: Evolutions;
  /** The server streams to us: the slot is ours. Called once. */
  readonly onStreaming: () => void;
  readonly progress: Progress;
  readonly now: () => number;
  readonly onChange: (relation: Relation, operation: Operation) => void;
  readonly onRetry: (error: WalhouseError | null, waitMs: number) => void;
}

/** One stream's life: the stream, the applier behind it, checkpoints and the timer that asks the source how far it is. */
export class Attachment {
  readonly applier: Applier;
  readonly #parts: AttachmentParts;
  readonly #options: AttachmentOptions;
  readonly #stream: ChangeStream;
  readonly #checkpointer: Checkpointer;
  readonly #poller: NodeJS.Timeout;
  readonly #broken = rejectable();
  #polling = false;
  #paused = false;
  #leaving: Promise<void> | null = null;

  constructor(options: AttachmentOptions, parts: AttachmentParts) {
    this.#options = options;
    this.#parts = parts;
    this.#stream = parts.source.openStream(parts.relations, parts.since, parts.evolutions);
    const traces = options.tracer === undefined ? null : new BatchTraces(options.tracer);
    this.#checkpointer = new Checkpointer({
      sink: options.sink,
      everyMs: options.checkpointMs ?? 100,
      log: options.log,
      confirm: (lsn) => {
        this.#stream.confirm(lsn);
        parts.progress.confirmedUpTo(lsn);
      },
      onFailure: (error) => this.#broken.reject(error),
      traces,
    });
    this.applier = new Applier({
      sink: options.sink,
      progress: parts.progress,
      limits: options.limits,
      log: options.log,
      wholeFrom: parts.wholeFrom,
      pauseReading: () => this.#stream.pause(),
      resumeReading: () => {
        if (!this.#paused) this.#stream.resume();
      },
      onDurable: () => this.#checkpoint(),
      onFirst: parts.onStreaming,
      meter: options.meter ?? NO_METER,
      traces,
      onChange: parts.onChange,
      onRetry: parts.onRetry,
    });
    this.#poller = setInterval(() => void this.#poll(), options.pollMs ?? 250);
  }

  async run(): Promise<void> {
    this.#checkpoint();
    void this.#poll();
    await Promise.race([this.#stream.run(this.applier), this.applier.failed, this.#broken.promise]);
  }

  /** Ends the attachment as if the stream had failed with `error`. */
  fail(error: unknown): void {
    this.#broken.reject(error);
  }

  /** Resolves once the durable position is saved and confirmed. */
  flushCheckpoint(): Promise<void> {
    return this.#checkpointer.flush();
  }

  ping(): void {
    this.#stream.ping(this.#parts.progress.confirmed ?? 0n);
  }

  heartbeat(): void {
    this.#parts.source.heartbeat().catch((error: unknown) => {
      this.#options.log.debug({ err: error }, 'heartbeat failed');
    });
  }

  async pause(): Promise<void> {
    this.#paused = true;
    this.#stream.pause();
    await this.applier.drain();
    await this.#checkpointer.flush();
  }

  resume(): void {
    this.#paused = false;
    this.#stream.resume();
  }

  /** The clean way out: stores and confirms what is whole, then ends the stream. */
  leave(): Promise<void> {
    this.#leaving ??= (async () => {
      this.#stream.pause();
      await endsWithin(
        DRAIN_MS,
        this.applier.drain().then(() => this.#checkpointer.flush()),
      );
      await this.#stream.close();
    })();
    return this.#leaving;
  }

  async close(): Promise<void> {
    clearInterval(this.#poller);
    await this.#leaving;
    await this.#stream.close();
    await this.applier.close();
    await this.#checkpointer.close();
  }

  #checkpoint(): void {
    const { progress, identity } = this.#parts;
    if (progress.durable === null) return;
    this.#checkpointer.save({
      identity,
      slot: this.#options.slot,
      appliedLsn: progress.durable,
      committedAtUs: progress.committedAtUs,
      exact: this.#parts.exact(),
      lagMs: progress.lagMs,
    });
  }

  async #poll(): Promise<void> {
    if (this.#polling) return;
    this.#polling = true;
    try {
      const askedAtMs = this.#parts.now();
      const end = await this.#parts.source.currentLsn();
      const { progress } = this.#parts;
      progress.sighted(end, askedAtMs);
      // Readers elsewhere learn that what they have is still all there is.
      this.#checkpoint();
      if (progress.durable === null || end > progress.durable) this.ping();
    } catch (error) {
      // The stream notices a source that is away; this is only a look at the clock.
      this.#options.log.debug({ err: error }, "asking for the source's position failed");
    } finally {
      this.#polling = false;
    }
  }
}
