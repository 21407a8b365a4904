import { deadlineProblem } from './clickhouse-failure.js';
import type { Problem } from './problem.js';

/** How long what is read from ClickHouse may take, by route; look-ups of merchants have their own (`CoalesceLimits`). */
export interface Deadlines {
  readonly paymentsMs: number;
  /** All pictures of a page together. */
  readonly picturesMs: number;
  readonly retentionMs: number;
  /** Until an order is remembered; what it begins may take as long as it takes. */
  readonly ordersMs: number;
}

export const DEADLINES: Deadlines = {
  paymentsMs: 2_500,
  picturesMs: 10_000,
  retentionMs: 5_000,
  ordersMs: 30_000,
};

/**
 * Does `work`, and rejects with a 503 Problem once the time is over, whether or not `work` heeds its signal: a server that stands still
 * answers nothing at all. The signal aborts then, and when the caller goes away.
 */
export async function within<T>(
  deadlineMs: number,
  caller: AbortSignal | null,
  work: (signal: AbortSignal) => Promise<T>,
  lateProblem: (deadlineMs: number) => Problem = deadlineProblem,
): Promise<T> {
  const own = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const problem = lateProblem(deadlineMs);
      reject(problem);
      own.abort(problem);
    }, deadlineMs);
  });
  try {
    return await Promise.race([
      work(caller === null ? own.signal : AbortSignal.any([caller, own.signal])),
      late,
    ]);
  } finally {
    clearTimeout(timer);
  }
}
