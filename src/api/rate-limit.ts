export interface RateLimit {
  /** Requests a second that one caller may make in the long run. */
  readonly perSecond: number;
  /** Requests it may make at once after a rest. */
  readonly burst: number;
}

interface Bucket {
  tokens: number;
  filledAtMs: number;
}

/** How many callers are remembered; beyond it the one that was quiet longest is forgotten, and starts full again. */
export const CALLERS_MAX = 10_000;

/** Parts of tokens add up with binary fractions; who waits as long as it was told must find a whole one. */
const ROUNDING = 1e-6;

/** One token bucket a caller. Pure but for its own memory: the clock is handed in. */
export class RateLimiter {
  readonly #limit: RateLimit;
  readonly #callersMax: number;
  /** In the order of last use: a Map keeps the order of insertion. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(limit: RateLimit, callersMax = CALLERS_MAX) {
    this.#limit = limit;
    this.#callersMax = callersMax;
  }

  get callers(): number {
    return this.#buckets.size;
  }

  /** How many requests a caller may make at once now, as of when it was last heard; all of them where it is not known. */
  left(caller: string): number {
    return Math.floor((this.#buckets.get(caller)?.tokens ?? this.#limit.burst) + ROUNDING);
  }

  /** Takes one request's token: 0 when there was one, otherwise the milliseconds until there is. */
  take(caller: string, nowMs: number): number {
    const { perSecond, burst } = this.#limit;
    const bucket = this.#buckets.get(caller) ?? { tokens: burst, filledAtMs: nowMs };
    // A clock that was set back must not take tokens away.
    const passedMs = Math.max(0, nowMs - bucket.filledAtMs);
    bucket.tokens = Math.min(burst, bucket.tokens + (passedMs * perSecond) / 1000);
    bucket.filledAtMs = nowMs;
    this.#buckets.delete(caller);
    this.#buckets.set(caller, bucket);
    if (this.#buckets.size > this.#callersMax) {
      const oldest = this.#buckets.keys().next();
      if (oldest.done !== true) this.#buckets.delete(oldest.value);
    }
    const missing = 1 - bucket.tokens;
    if (missing <= ROUNDING) {
      bucket.tokens -= 1;
      return 0;
    }
    return Math.ceil(((missing - ROUNDING) * 1000) / perSecond);
  }
}
