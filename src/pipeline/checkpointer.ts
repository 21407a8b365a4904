import { Backoff, sleep } from './backoff.js';
import type { BatchTraces } from './batch-traces.js';
import { asWalhouseError, WalhouseError } from './errors.js';
import { failpoint } from './failpoint.js';
import type { Log } from './log.js';
import type { Lsn } from './lsn.js';
import type { Checkpoint, Sink } from './sink.js';

/** A position that stands still is saved again so often, so that readers elsewhere know that it is still all there is. */
const AGAIN_MS = 1_000;

/**
 * Writes the durable position into ClickHouse, and only then has it confirmed to Postgres; so what Postgres has forgotten
 * ClickHouse remembers having. One write at a time, at most one in `everyMs`, always the newest position.
 */
export class Checkpointer {
  readonly #sink: Sink;
  readonly #everyMs: number;
  readonly #log: Log;
  readonly #confirm: (lsn: Lsn) => void;
  readonly #onFailure: (error: unknown) => void;
  readonly #traces: BatchTraces | null;
  readonly #backoff = new Backoff({ firstMs: 200, longestMs: 10_000 });
  readonly #stopping = new AbortController();
  #wanted: Checkpoint | null = null;
  #saving: Promise<void> | null = null;
  #saved: Checkpoint | null = null;
  #savedAtMs = 0;

  constructor(options: {
    sink: Sink;
    everyMs: number;
    log: Log;
    confirm: (lsn: Lsn) => void;
    onFailure: (error: unknown) => void;
    traces?: BatchTraces | null;
  }) {
    this.#sink = options.sink;
    this.#everyMs = options.everyMs;
    this.#log = options.log;
    this.#confirm = options.confirm;
    this.#onFailure = options.onFailure;
    this.#traces = options.traces ?? null;
  }

  save(checkpoint: Checkpoint): void {
    if (!this.#isNews(checkpoint)) return;
    this.#wanted = checkpoint;
    this.#saving ??= this.#saveAll().finally(() => {
      this.#saving = null;
    });
  }

  /** Resolves when the newest position is saved and confirmed, or saving has failed for good. */
  async flush(): Promise<void> {
    while (this.#saving !== null) await this.#saving;
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#saving;
  }

  #isNews({ appliedLsn, exact }: Checkpoint): boolean {
    const saved = this.#saved;
    if (saved === null || appliedLsn > saved.appliedLsn) return true;
    if (exact.length !== saved.exact.length || exact.some((id) => !saved.exact.includes(id))) return true;
    return performance.now() - this.#savedAtMs >= AGAIN_MS;
  }

  async #saveAll(): Promise<void> {
    while (this.#wanted !== null && !this.#stopping.signal.aborted) {
      const checkpoint = this.#wanted;
      this.#wanted = null;
      const traced = this.#traces?.saving(checkpoint.appliedLsn) ?? null;
      try {
        failpoint('before_checkpoint');
        await this.#sink.saveCheckpoint(checkpoint, traced?.span);
      } catch (error) {
        traced?.failed(asWalhouseError(error).kind);
        if (!(error instanceof WalhouseError) || error.policy !== 'retry') {
          this.#onFailure(error);
          return;
        }
        this.#wanted ??= checkpoint;
        const waitMs = this.#backoff.nextMs();
        this.#log.warn({ kind: error.kind, waitMs }, `the checkpoint could not be saved: ${error.message}`);
        await sleep(waitMs, this.#stopping.signal);
        continue;
      }
      this.#backoff.reset();
      this.#saved = checkpoint;
      this.#savedAtMs = performance.now();
      failpoint('after_checkpoint');
      const confirm = (): void => this.#confirm(checkpoint.appliedLsn);
      if (traced === null) confirm();
      else traced.saved(confirm);
      failpoint('after_confirm');
      if (this.#wanted === null) return;
      await sleep(this.#everyMs, this.#stopping.signal);
    }
  }
}
