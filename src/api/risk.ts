import type { Span } from '../pipeline/tracer.js';
import type { AppliedPosition } from './positions.js';
import type { Micros } from './timestamp.js';

/** One merchant's payments in a window. */
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
  /** Where it was asked for: by merchant, in the order of the methods' names; methods without payments are not there. */
  readonly byMethod?: ReadonlyMap<bigint, readonly MethodNumbers[]>;
  /** Where it was asked for. */
  readonly baseline?: ReadonlyMap<bigint, Baseline>;
}

export interface MethodNumbers extends MerchantNumbers {
  /** null: payments without one. */
  readonly method: string | null;
}

export interface Payment {
  readonly paymentId: string;
  /** RFC 3339. */
  readonly paymentDate: string;
  readonly amount: string;
  readonly method: string | null;
  readonly rejected: boolean;
}

/** As of one position; null payments where there is no such merchant. */
export interface LastPayments {
  readonly applied: AppliedPosition;
  readonly takenAtMs: number;
  readonly window: RiskWindow;
  /** The latest first. */
  readonly payments: readonly Payment[] | null;
}

/** What a merchant's numbers may be set beside. */
export interface Baseline {
  /** The same merchant in the windows before, the latest first; each ends where the one after it begins. */
  readonly previous: readonly { readonly window: RiskWindow; readonly numbers: MerchantNumbers }[];
  /**
   * Other merchants of similar volume in the same window, added up: those that exist and have at least half and at most twice as
   * many payments. Of a merchant without payments there are none.
   */
  readonly peers: MerchantNumbers & { readonly merchants: number };
}

/** How many windows before the one that is asked for a baseline has. */
export const BASELINE_WINDOWS = 4;

/** What is asked of some merchants. */
export interface RiskQuestion {
  /** The window's end; null for now. */
  readonly to: Micros | null;
  readonly windowUs: Micros;
  readonly byMethod: boolean;
  readonly baseline: boolean;
}

/** The seven-day question up to `to`, with what differs from it. */
export function riskQuestion(to: Micros | null, more: Partial<RiskQuestion> = {}): RiskQuestion {
  return { to, windowUs: WINDOW_US, byMethod: false, baseline: false, ...more };
}

/** How far back its data lie. */
export function reachUs({ windowUs, baseline }: RiskQuestion): Micros {
  return baseline ? windowUs * BigInt(1 + BASELINE_WINDOWS) : windowUs;
}

/** How much a question costs: ranges of the mart's index, a pass over the whole mart, or one over landing while nothing is stored. */
export type RiskCost = 'mart' | 'pass' | 'landing';

/**
 * Answers the risk question.
 *
 * `read` takes the position it answers at in the tick in which it is called, so whoever calls it after a position was
 * applied gets an answer at that position or later; all parts of the answer are of that one position. It rejects with a Problem
 * when no true answer can be given, and with the signal's reason when it is aborted.
 */
export interface RiskReader {
  read(
    ids: readonly bigint[],
    question: RiskQuestion,
    signal: AbortSignal,
    span?: Span | null,
  ): Promise<RiskResult>;
  cost(question: RiskQuestion): RiskCost;
}

export interface PaymentsReader {
  /** The latest payments of the last seven days, at most `last` of them; rejects as `RiskReader.read` does. */
  lastPayments(id: bigint, last: number, signal: AbortSignal, span?: Span | null): Promise<LastPayments>;
}

/** The usual window's length: 168 hours, whatever the calendar says. */
export const WINDOW_US: Micros = 168n * 3600n * 1_000_000n;
