import { Backoff, sleep } from '../pipeline/backoff.js';
import type { Log } from '../pipeline/log.js';
import type { Progress } from '../pipeline/progress.js';
import { slotWarning, type SlotHealth, type SlotWarning } from '../pipeline/slot-health.js';
import type { Source } from '../pipeline/source.js';

/** How often the source is asked where its WAL ends, and how much of it the slot holds back. */
const LOOK_MS = 1_000;
const SLOT_MS = 5_000;

/**
 * Watches the source from outside the stream, whatever becomes of that: how much WAL the slot holds back, which grows most while nobody
 * streams, and, for an instance that does not stream, where the WAL ends. A source that cannot be asked is no failure; then
 * that is not known.
 */
export class SourceWatch {
  readonly #openSource: () => Promise<Source>;
  readonly #progress: Progress;
  readonly #isStreaming: () => boolean;
  readonly #slotName: () => string;
  readonly #log: Log;
  readonly #closing = new AbortController();
  #slot: SlotHealth | null = null;
  #warning: SlotWarning | null = null;
  #askedSlotAtMs = Number.NEGATIVE_INFINITY;
  #source: Source | null = null;
  #looking: Promise<void> | null = null;

  constructor(options: {
    openSource: () => Promise<Source>;
    slotName: () => string;
    /** Of an instance that does not stream: what it knows of the source. */
    progress: Progress;
    /** This instance streams, so it knows where the WAL ends without being told. */
    isStreaming: () => boolean;
    log: Log;
  }) {
    this.#openSource = options.openSource;
    this.#slotName = options.slotName;
    this.#progress = options.progress;
    this.#isStreaming = options.isStreaming;
    this.#log = options.log;
  }

  /** null where there is none, or the source cannot be asked. */
  get slot(): SlotHealth | null {
    return this.#slot;
  }

  /** What a person should do about it, long before it is lost. */
  get warning(): SlotWarning | null {
    return this.#warning;
  }

  start(): void {
    this.#looking ??= this.#lookOn();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    // Also ends a question that a silent network keeps from its answer.
    await this.#source?.close();
    await this.#looking;
  }

  async #lookOn(): Promise<void> {
    const { signal } = this.#closing;
    const backoff = new Backoff({ firstMs: LOOK_MS, longestMs: 30_000 });
    while (!signal.aborted) {
      await this.#look(() => backoff.reset());
      this.#progress.unsighted();
      this.#slot = null;
      await sleep(backoff.nextMs(), signal);
    }
  }

  /** Until the source cannot be asked any more. */
  async #look(onSight: () => void): Promise<void> {
    const { signal } = this.#closing;
    try {
      const source = await this.#openSource();
      this.#source = source;
      while (!signal.aborted) {
        if (!this.#isStreaming()) {
          const askedAtMs = Date.now();
          this.#progress.sighted(await source.currentLsn(), askedAtMs);
        }
        await this.#lookAtSlot(source);
        onSight();
        await sleep(LOOK_MS, signal);
      }
    } catch (error) {
      this.#log.debug({ err: error }, 'looking at the source failed');
    } finally {
      await this.#source?.close();
      this.#source = null;
    }
  }

  async #lookAtSlot(source: Source): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.#askedSlotAtMs < SLOT_MS) return;
    this.#askedSlotAtMs = nowMs;
    this.#slot = await source.slotHealth();
    const before = this.#warning;
    this.#warning = this.#slot === null ? null : slotWarning(this.#slotName(), this.#slot);
    if (this.#warning === null) {
      if (before !== null) this.#log.info({ slot: this.#slotName() }, 'the slot is out of danger');
      return;
    }
    if (before !== null) return;
    const { kind, what, why, fix } = this.#warning;
    this.#log.warn({ slot: this.#slotName(), kind }, `${kind}: ${what} ${why} Fix: ${fix}`);
  }
}
