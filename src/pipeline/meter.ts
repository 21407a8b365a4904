import type { ErrorKind } from './errors.js';

/** Who is told what happens, for metrics: once a batch or a failure, never once a row. Must return at once and not throw. */
export interface Meter {
  /** A batch is stored. `seconds`: from its first insert to the end of the last, waiting and trying again included. */
  stored(batch: { readonly rows: number; readonly bytes: number; readonly seconds: number }): void;
  /** Something failed that passes by itself, and is tried again. */
  retried(reason: ErrorKind): void;
}

export const NO_METER: Meter = { stored: () => undefined, retried: () => undefined };
