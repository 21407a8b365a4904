import { Backoff, sleep } from '../pipeline/backoff.js';
import type { Log } from '../pipeline/log.js';
import type { Progress } from '../pipeline/progress.js';
import type { Source } from '../pipeline/source.js';

/** How often the source is asked where its WAL ends. */
const LOOK_MS = 1_000;

/**
 * Asks the source where its WAL ends, for an instance that does not stream from it: how far behind it is in bytes is known only so. A
 * source that cannot be asked is no failure; then that is not known.
 */
export class SourceSightings {
  readonly #openSource: () => Promise<Source>;
  readonly #progress: Progress;
  readonly #isWanted: () => boolean;
  readonly #log: Log;
  readonly #closing = new AbortController();
  #looking: Promise<void> | null = null;

  constructor(options: {
    openSource: () => Promise<Source>;
    progress: Progress;
    /** Nothing is connected while it says no. */
    isWanted: () => boolean;
    log: Log;
  }) {
    this.#openSource = options.openSource;
    this.#progress = options.progress;
    this.#isWanted = options.isWanted;
    this.#log = options.log;
  }

  start(): void {
    this.#looking ??= this.#lookOn();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#looking;
  }

  async #lookOn(): Promise<void> {
    const { signal } = this.#closing;
    const backoff = new Backoff({ firstMs: LOOK_MS, longestMs: 30_000 });
    while (!signal.aborted) {
      if (this.#isWanted()) {
        await this.#look(() => backoff.reset());
        this.#progress.unsighted();
      }
      await sleep(this.#isWanted() ? backoff.nextMs() : LOOK_MS, signal);
    }
  }

  /** Until it is not wanted any more, or the source cannot be asked. */
  async #look(onSight: () => void): Promise<void> {
    const { signal } = this.#closing;
    let source: Source | null = null;
    try {
      source = await this.#openSource();
      while (this.#isWanted() && !signal.aborted) {
        const askedAtMs = Date.now();
        this.#progress.sighted(await source.currentLsn(), askedAtMs);
        onSight();
        await sleep(LOOK_MS, signal);
      }
    } catch (error) {
      this.#log.debug({ err: error }, "asking for the source's position failed");
    } finally {
      await source?.close();
    }
  }
}
