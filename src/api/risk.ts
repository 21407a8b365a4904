import type { AppliedPosition } from './positions.js';
import type { Micros } from './timestamp.js';

/** The seven-day numbers of one merchant. */
export interface MerchantNumbers {
  readonly rejectedCount: number;
  /** Decimal text with the column's scale: `120.50`, `0.00`. */
  readonly rejectedAmount: string;
  readonly totalCount: number;
  readonly totalAmount: string;
}

/** `from < payment_date <= to`. */
export interface RiskWindow {
  readonly fromUs: Micros;
  readonly toUs: Micros;
}

/** Answers that are true of one position and one window. */
export interface RiskResult {
  readonly applied: AppliedPosition;
  /** When `applied` was taken, on our clock. */
  readonly takenAtMs: number;
  readonly window: RiskWindow;
  /** By merchant; a merchant that does not exist at the position is not in it, one without payments is, with zeros. */
  readonly merchants: ReadonlyMap<bigint, MerchantNumbers>;
}

/** How much a question costs: an index range of the mart, or a pass over a whole table. */
export type RiskCost = 'mart' | 'landing';

/**
 * Answers the risk question.
 *
 * `read` takes the position it answers at in the tick in which it is called, so whoever calls it after a position was
 * applied gets an answer at that position or later. `to` is the window's end, null for now. It rejects with a Problem
 * when no true answer can be given, and with the signal's reason when it is aborted.
 */
export interface RiskReader {
  read(ids: readonly bigint[], to: Micros | null, signal: AbortSignal): Promise<RiskResult>;
  cost(to: Micros | null): RiskCost;
}

/** The window's length: 168 hours, whatever the calendar says. */
export const WINDOW_US: Micros = 168n * 3600n * 1_000_000n;
