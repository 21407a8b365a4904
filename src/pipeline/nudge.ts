import type { Attachment } from './attachment.js';
import type { Progress } from './progress.js';

/** How often a position that somebody waits for is asked for. */
const NUDGE_MS = 10;
/** How long a waited-for position may stand still before a heartbeat pushes the source's WAL on. */
const HEARTBEAT_AFTER_MS = 200;
const HEARTBEAT_EVERY_MS = 1_000;

/** Asks the source again and again while somebody waits for a position, so that an idle one answers at once. */
export class Nudge {
  readonly #progress: Progress;
  readonly #attachment: () => Attachment | null;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | null = null;
  #heartbeatAtMs = 0;

  constructor(progress: Progress, attachment: () => Attachment | null, now: () => number) {
    this.#progress = progress;
    this.#attachment = attachment;
    this.#now = now;
  }

  /** Goes on until nobody waits any more. */
  begin(): void {
    if (!this.#progress.waiting || this.#timer !== null) return;
    this.#heartbeatAtMs = this.#now() + HEARTBEAT_AFTER_MS;
    this.#timer = setInterval(() => this.#nudge(), NUDGE_MS);
    this.#nudge();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #nudge(): void {
    if (!this.#progress.waiting) {
      this.stop();
      return;
    }
    const attachment = this.#attachment();
    attachment?.ping();
    if (this.#now() < this.#heartbeatAtMs) return;
    this.#heartbeatAtMs = this.#now() + HEARTBEAT_EVERY_MS;
    attachment?.heartbeat();
  }
}
