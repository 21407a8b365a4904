import type { SlotStatus, StandingSample, StatusDocument } from './status.js';

/** How often it is looked how replication stands; what happens in between and is over is not seen. */
const LOOK_MS = 1_000;
/** How far apart the samples are that are kept, and how many: an hour. */
export const SAMPLE_MS = 10_000;
const SAMPLES_MAX = 360;
/** The rate at which a slot holds back more is that of so long a time, once that much of it was seen. */
const RATE_MS = 10 * 60_000;
const RATE_MS_MIN = 30_000;

/** How replication stood in the last hour, and since when it stands as it does. Kept in memory: it begins with the process. */
export class StandingHistory {
  readonly #samples: StandingSample[] = [];
  readonly #now: () => number;
  #state: StatusDocument['state'] | null = null;
  #sinceMs = 0;
  #sampledAtMs = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** The oldest first, `SAMPLE_MS` apart. */
  get samples(): readonly StandingSample[] {
    return this.#samples;
  }

  start(status: () => StatusDocument): void {
    this.#timer ??= setInterval(() => this.look(status()), LOOK_MS).unref();
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** When this state began, RFC 3339, as far as this process has seen. */
  since(state: StatusDocument['state']): string {
    if (state !== this.#state) {
      this.#state = state;
      this.#sinceMs = this.#now();
    }
    return new Date(this.#sinceMs).toISOString();
  }

  look({ lag_ms, lag_bytes, slot, tables }: StatusDocument): void {
    const nowMs = this.#now();
    // A timer that comes a moment early takes its turn all the same.
    if (nowMs - this.#sampledAtMs < SAMPLE_MS - LOOK_MS / 2) return;
    this.#sampledAtMs = nowMs;
    this.#samples.push({
      at: new Date(nowMs).toISOString(),
      lag_ms,
      lag_bytes,
      rows_applied: Object.values(tables).reduce((sum, table) => sum + table.rows_applied, 0),
      slot_held_bytes: slot?.held_bytes ?? null,
    });
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }

  /** After how many seconds the slot is in danger if it goes on holding back more as it did lately; null where it does not, or has no limit. */
  secondsLeft({ held_bytes: held, headroom_bytes: headroom }: SlotStatus): number | null {
    if (headroom === null) return null;
    const nowMs = this.#now();
    const before = this.#samples.find(
      ({ at, slot_held_bytes }) => slot_held_bytes !== null && nowMs - Date.parse(at) <= RATE_MS,
    );
    if (before === undefined) return null;
    const tookMs = nowMs - Date.parse(before.at);
    const grown = held - before.slot_held_bytes!;
    if (tookMs < RATE_MS_MIN || grown <= 0) return null;
    return Math.round((headroom / grown) * (tookMs / 1000));
  }
}
