import { Random } from '../random.js';
import { DAY, HOUR, type Micros } from '../instant.js';
import {
  cumulativeWeights,
  generateMerchantText,
  type MerchantProfile,
  type MerchantText,
} from './merchants.js';
import { generatePayment, ingestionDelay, type Payment, settledStatus } from './payment.js';

/** Share of the initial payments that lie beyond two years, so that retention has something to hide. */
const EXPIRED_SHARE = 0.01;
const EXPIRED_FROM_DAYS = 735;
const EXPIRED_TO_DAYS = 1_000;

/** How much is paid in each hour of the day (UTC) and on each day of the week (Sunday first), relative to each other. */
const HOURS = [3, 2, 1, 1, 1, 2, 4, 7, 9, 11, 12, 14, 16, 14, 12, 12, 13, 15, 17, 18, 15, 11, 8, 5];
const WEEKDAYS = [0.7, 0.95, 0.9, 0.95, 1, 1.25, 1.3];

/** The merchants' texts, in the order of `profiles`. */
export function* initialMerchants(
  profiles: readonly MerchantProfile[],
  seed: number,
): Generator<{ id: number; text: MerchantText }> {
  const random = new Random(seed, 2);
  for (const { id } of profiles) yield { id, text: generateMerchantText(id, random) };
}

/**
 * `count` payments over the `days` before `until`, oldest first with ids from 1, following the rhythm of day and week and
 * growing a little from month to month. A hundredth of them is older than two years. Made one at a time, so any
 * number fits in memory.
 */
export function* initialPayments(
  profiles: readonly MerchantProfile[],
  seed: number,
  count: number,
  days: number,
  until: Micros,
): Generator<Payment> {
  const random = new Random(seed, 3);
  const byRank = cumulativeWeights(profiles);
  const expired = Math.min(count, Math.ceil(count * EXPIRED_SHARE));
  let id = 1;
  const spans = [
    hoursOf(expired, until - EXPIRED_TO_DAYS * DAY, until - EXPIRED_FROM_DAYS * DAY),
    hoursOf(count - expired, until - days * DAY, until),
  ];
  for (const span of spans) {
    for (const { from, to, payments } of span) {
      for (const paidAt of instantsIn(from, to, payments, random)) {
        const profile = profiles[random.weighted(byRank)];
        if (profile === undefined) throw new Error('initial payments need at least one merchant');
        const ingestedAt = Math.min(paidAt + ingestionDelay(random), until);
        const payment = generatePayment(id++, profile, paidAt, ingestedAt, random);
        yield { ...payment, status: settledStatus(until - paidAt, profile, random) };
      }
    }
  }
}

interface HourOfPayments {
  readonly from: Micros;
  readonly to: Micros;
  readonly payments: number;
}

/** Deals `count` payments to the hours between two instants, exactly `count` in all. */
function* hoursOf(count: number, from: Micros, to: Micros): Generator<HourOfPayments> {
  let total = 0;
  for (let at = from; at < to; at += HOUR) total += weightOf(at, from, to);
  let sum = 0;
  let dealt = 0;
  for (let at = from; at < to; at += HOUR) {
    sum += weightOf(at, from, to);
    const last = at + HOUR >= to;
    const due = last ? count : Math.floor((count * sum) / total);
    yield { from: at, to: Math.min(at + HOUR, to), payments: due - dealt };
    dealt = due;
  }
}

function weightOf(at: Micros, from: Micros, to: Micros): number {
  const moment = new Date(at / 1000);
  const growth = 0.7 + (0.6 * (at - from)) / (to - from);
  return (HOURS[moment.getUTCHours()] ?? 1) * (WEEKDAYS[moment.getUTCDay()] ?? 1) * growth;
}

function instantsIn(from: Micros, to: Micros, count: number, random: Random): number[] {
  const instants = Array.from({ length: count }, () => Math.floor(random.between(from, to)));
  return instants.sort((a, b) => a - b);
}
