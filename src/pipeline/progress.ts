import type { Lsn } from './lsn.js';

interface Waiter {
  readonly lsn: Lsn;
  readonly resolve: (reached: boolean) => void;
  readonly timer: NodeJS.Timeout;
}

/** A position of the source's WAL that was its end at a known time. */
interface Sighting {
  readonly lsn: Lsn;
  readonly atMs: number;
}

/** How many callers may wait for a position at once. */
export const WAITERS_MAX = 10_000;
/** How many sightings of the source's end are kept while we are behind; older ones give way, which only overstates the lag. */
const SIGHTINGS_MAX = 1_000;

/**
 * How far we are: the durable position, who waits for it, and how old what we know is.
 *
 * Freshness is never guessed from keepalives (the server sends them while it is far behind itself). It
 * comes from two facts: a transaction's own commit time, and sightings of the source's WAL end at a time on our
 * clock, which count once the durable position has reached them.
 */
export class Progress {
  readonly #now: () => number;
  #durable: Lsn | null = null;
  #confirmed: Lsn | null = null;
  #sourceEnd: Lsn | null = null;
  #committedAtUs: bigint | null = null;
  #freshAtMs: number | null = null;
  #sightings: Sighting[] = [];
  #waiters = new Set<Waiter>();

  constructor(now: () => number) {
    this.#now = now;
  }

  get durable(): Lsn | null {
    return this.#durable;
  }

  get confirmed(): Lsn | null {
    return this.#confirmed;
  }

  get sourceEnd(): Lsn | null {
    return this.#sourceEnd;
  }

  /** Commit time of the newest transaction that is durable, where one is known. */
  get committedAtUs(): bigint | null {
    return this.#committedAtUs;
  }

  /** Milliseconds since what we hold was known to be all there was; null before anything is known. */
  get lagMs(): number | null {
    return this.#freshAtMs === null ? null : Math.max(0, Math.round(this.#now() - this.#freshAtMs));
  }

  get lagBytes(): bigint | null {
    return bytesBetween(this.#durable, this.#sourceEnd);
  }

  get waiting(): boolean {
    return this.#waiters.size > 0;
  }

  /** The durable position moves on; it never goes back within a run. */
  advance(lsn: Lsn, committedAtUs: bigint | null): void {
    if (committedAtUs !== null && (this.#committedAtUs === null || committedAtUs > this.#committedAtUs)) {
      this.#committedAtUs = committedAtUs;
      this.freshen(Number(committedAtUs / 1000n));
    }
    if (this.#durable !== null && lsn <= this.#durable) return;
    this.#durable = lsn;
    this.#settle();
    for (const waiter of this.#waiters) {
      if (waiter.lsn <= lsn) this.#release(waiter, true);
    }
  }

  /** What was known belongs to another history: another cluster, or a beginning from nothing. Those who wait go on waiting. */
  restart(): void {
    this.#durable = null;
    this.#confirmed = null;
    this.#sourceEnd = null;
    this.#committedAtUs = null;
    this.#freshAtMs = null;
    this.#sightings = [];
  }

  confirmedUpTo(lsn: Lsn): void {
    if (this.#confirmed === null || lsn > this.#confirmed) this.#confirmed = lsn;
  }

  /** The source's WAL ended at `lsn` when we asked, at `atMs` on our clock (taken before asking). */
  sighted(lsn: Lsn, atMs: number): void {
    this.#sourceEnd = lsn;
    this.#sightings.push({ lsn, atMs });
    if (this.#sightings.length > SIGHTINGS_MAX) this.#sightings.shift();
    this.#settle();
  }

  /** Where the source's WAL ends is not known any more. */
  unsighted(): void {
    this.#sourceEnd = null;
    this.#sightings = [];
  }

  /** At `atMs` on our clock, what is durable now was all there was. */
  freshen(atMs: number): void {
    if (this.#freshAtMs === null || atMs > this.#freshAtMs) this.#freshAtMs = atMs;
  }

  /** Resolves true once `lsn` is durable, false when `timeoutMs` passes before or the signal is aborted. */
  waitFor(lsn: Lsn, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.#durable !== null && this.#durable >= lsn) return Promise.resolve(true);
    if (timeoutMs <= 0 || signal?.aborted === true || this.#waiters.size >= WAITERS_MAX)
      return Promise.resolve(false);
    return new Promise((resolve) => {
      const leave = (): void => this.#release(waiter, false);
      const waiter: Waiter = {
        lsn,
        resolve: (reached) => {
          signal?.removeEventListener('abort', leave);
          resolve(reached);
        },
        timer: setTimeout(() => this.#release(waiter, false), timeoutMs),
      };
      this.#waiters.add(waiter);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  /** Lets everybody who waits go, unsatisfied. */
  close(): void {
    for (const waiter of this.#waiters) this.#release(waiter, false);
  }

  #release(waiter: Waiter, reached: boolean): void {
    clearTimeout(waiter.timer);
    this.#waiters.delete(waiter);
    waiter.resolve(reached);
  }

  #settle(): void {
    if (this.#durable === null) return;
    while (this.#sightings.length > 0 && this.#sightings[0]!.lsn <= this.#durable) {
      this.freshen(this.#sightings.shift()!.atMs);
    }
  }
}

/** From one position to another, 0 where that is behind it; null where one is not known. */
export function bytesBetween(from: Lsn | null, to: Lsn | null): bigint | null {
  if (from === null || to === null) return null;
  return to > from ? to - from : 0n;
}
