import { setTimeout as sleep } from 'node:timers/promises';

/**
 * How much of the source a verification may take. `--max-load 2` is two connections that query all the time, `0.25` one that queries a
 * quarter of the time: the number of Postgres processes that work for it at once, on average.
 */
export interface Load {
  readonly connections: number;
  /** The share of its time that each connection may query, above 0 and at most 1. */
  readonly share: number;
}

/** Of a comparison that nobody waits for. */
export const LOAD_DEFAULT = 0.25;
export const LOAD_MAX = 16;
/** Shares below this would keep the snapshot open for days. */
export const LOAD_MIN = 0.01;
/** A pause is never longer; what is left of it is made up for by the next ones. */
const PAUSE_MS_MAX = 60_000;

export function loadOf(maxLoad: number): Load {
  const connections = Math.max(1, Math.ceil(maxLoad));
  return { connections, share: maxLoad / connections };
}

/**
 * One connection's share of the time. Every statement waits first until the ones before it have been made up for, so nothing waits once the
 * last has been answered.
 */
export class Pace {
  readonly #load: Load;
  readonly #sleep: (ms: number, signal: AbortSignal | undefined) => Promise<unknown>;
  #owedMs = 0;
  /** How long the connection was busy. */
  busyMs = 0;

  constructor(load: Load, pause: (ms: number, signal: AbortSignal | undefined) => Promise<unknown> = wait) {
    this.#load = load;
    this.#sleep = pause;
  }

  async run<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const pauseMs = Math.min(PAUSE_MS_MAX, this.#owedMs);
    if (pauseMs > 0) await this.#sleep(pauseMs, signal);
    signal?.throwIfAborted();
    this.#owedMs -= pauseMs;
    const startedAt = performance.now();
    try {
      return await work();
    } finally {
      this.#worked(performance.now() - startedAt);
    }
  }

  #worked(tookMs: number): void {
    this.busyMs += tookMs;
    this.#owedMs += tookMs * (1 / this.#load.share - 1);
  }
}

function wait(ms: number, signal: AbortSignal | undefined): Promise<unknown> {
  return sleep(ms, undefined, signal === undefined ? {} : { signal });
}
