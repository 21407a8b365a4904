import type { KnownPayment } from './book.js';
import { DAY, HOUR, type Micros, MINUTE, SECOND, WEEK } from '../instant.js';
import { generateAddress, generateMerchantText, type MerchantProfile, profileOf } from './merchants.js';
import { OPERATION_KINDS, type Operation, type OperationKind, type Statement } from './operation.js';
import { generateCents, generatePayment, ingestionDelay, type Payment, settledStatus } from './payment.js';
import { cumulate, type Random } from '../random.js';
import type { TrafficState } from './state.js';

/** How often each kind comes; the open payments are settled about as fast as they come in. */
const FREQUENCY: Record<OperationKind, number> = {
  pay: 40,
  settle: 40,
  checkout: 4,
  correct_amount: 5,
  pay_late: 4,
  redate_out: 2,
  redate_in: 2,
  redate_edge: 1,
  redate_expired: 0.5,
  reassign: 2,
  delete: 2.5,
  new_merchant: 0.4,
  edit_merchant: 1,
  roll_back: 1.4,
  import_file: 0.1,
  settle_all: 0.1,
};
const FREQUENCY_SUMS = cumulate(OPERATION_KINDS.map((kind) => FREQUENCY[kind]));

const RETENTION = 2 * 365.25 * DAY;
const IMPORT_PAYMENTS_MAX = 400;

/**
 * The next operation of the sequence. Reads the state and draws from `random`, and touches nothing else: the same state,
 * random numbers and `now` (microseconds since 1970) give the same operation. Follow it with `applyOperation`.
 */
export function nextOperation(state: TrafficState, random: Random, now: Micros): Operation {
  const wanted = OPERATION_KINDS[random.weighted(FREQUENCY_SUMS)] ?? 'pay';
  const statements = STATEMENTS[wanted](state, random, now);
  // Where there is nothing to change (no payment known, none open), a payment is made instead.
  const kind = statements === null ? 'pay' : wanted;
  return {
    kind,
    index: state.operations,
    statements: statements ?? [insertOne(state, random, now)],
    commit: kind !== 'roll_back',
  };
}

type Maker = (state: TrafficState, random: Random, now: Micros) => Statement[] | null;

const STATEMENTS: Record<OperationKind, Maker> = {
  pay: (state, random, now) => [insertOne(state, random, now)],

  settle: (state, random) => {
    const payment = state.book.pickOpen(random);
    return payment === undefined ? null : [settle(state, payment, random)];
  },

  // Several changes to the same rows in one transaction: only the last of each may remain.
  checkout: (state, random, now) => {
    const payments = paymentsOfOneBasket(state, random, now, 2 + random.below(4));
    const first = payments[0];
    if (first === undefined) return null;
    const { id, merchantId } = first;
    const statements: Statement[] = [{ type: 'insert_payments', payments }];
    statements.push({ type: 'set_amount', id, merchantId, cents: first.cents + 1 + random.below(500) });
    statements.push({ type: 'set_status', id, merchantId, status: random.chance(0.8) ? 'Paid' : 'Rejected' });
    if (random.chance(0.2)) statements.push({ type: 'delete_payment', id, merchantId });
    return statements;
  },

  correct_amount: (state, random) => {
    const payment = state.book.pick(random);
    if (payment === undefined) return null;
    const merchant = state.byId.get(payment.merchantId);
    const slip = random.chance(0.6) || merchant === undefined;
    const cents = slip
      ? Math.max(1, payment.cents + random.below(201) - 100)
      : generateCents(merchant, random);
    return [{ type: 'set_amount', id: payment.id, merchantId: payment.merchantId, cents }];
  },

  // Ingested now, made earlier: minutes, days, or so long ago that the window has passed it by.
  pay_late: (state, random, now) => {
    const age = random.chance(0.6) ? random.between(MINUTE, 2 * DAY) : random.between(2 * DAY, 30 * DAY);
    return [insertOne(state, random, now - Math.round(age), now)];
  },

  redate_out: (state, random, now) =>
    redate(state, random, (payment) =>
      payment.paidAt > now - WEEK ? now - WEEK - Math.round(random.between(HOUR, 30 * DAY)) : null,
    ),

  redate_in: (state, random, now) =>
    redate(state, random, (payment) =>
      payment.paidAt <= now - WEEK ? now - Math.round(random.between(0, WEEK - HOUR)) : null,
    ),

  // Just inside the window: the clock alone takes it out within seconds, with no further write.
  redate_edge: (state, random, now) =>
    redate(state, random, () => now - WEEK + Math.round(random.between(0, 20 * SECOND))),

  redate_expired: (state, random, now) =>
    redate(state, random, () => now - RETENTION - Math.round(random.between(2 * DAY, 90 * DAY))),

  reassign: (state, random) => {
    const payment = state.book.pick(random);
    const merchant = pickMerchant(state, random);
    if (payment === undefined || merchant.id === payment.merchantId) return null;
    const { id, merchantId } = payment;
    return [{ type: 'set_merchant', id, merchantId, newMerchantId: merchant.id }];
  },

  delete: (state, random) => {
    const payment = state.book.pick(random);
    if (payment === undefined) return null;
    return [{ type: 'delete_payment', id: payment.id, merchantId: payment.merchantId }];
  },

  new_merchant: (state, random, now) => {
    const id = state.nextMerchantId;
    const profile = profileOf(id, random.pick(state.profiles).weight, random);
    const statements: Statement[] = [
      { type: 'insert_merchant', profile, text: generateMerchantText(id, random), ingestedAt: now },
    ];
    // Most come with their first payment, in the same transaction.
    if (random.chance(0.7)) {
      const payment = generatePayment(state.nextPaymentId, profile, now, now, random);
      statements.push({ type: 'insert_payments', payments: [payment] });
    }
    return statements;
  },

  edit_merchant: (state, random) => {
    const merchantId = pickMerchant(state, random).id;
    if (random.chance(0.5)) {
      return [{ type: 'edit_merchant', merchantId, column: 'address', value: generateAddress(random) }];
    }
    const value = random.chance(0.2) ? null : `+44 ${String(random.below(1_000_000_000)).padStart(9, '0')}`;
    return [{ type: 'edit_merchant', merchantId, column: 'phone', value }];
  },

  roll_back: (state, random, now) => {
    const statements: Statement[] = [
      { type: 'insert_payments', payments: paymentsOfOneBasket(state, random, now, 1 + random.below(3)) },
    ];
    const payment = state.book.pick(random);
    if (payment !== undefined) {
      const { id, merchantId } = payment;
      statements.push({ type: 'set_amount', id, merchantId, cents: 66_666_666 });
      statements.push({ type: 'delete_payment', id, merchantId });
    }
    return statements;
  },

  // A file of another system's payments, many merchants and days in one transaction.
  import_file: (state, random, now) => {
    const count = 50 + random.below(IMPORT_PAYMENTS_MAX - 50);
    const payments = Array.from({ length: count }, (_, index) => {
      const merchant = pickMerchant(state, random);
      const paidAt = now - Math.round(random.between(0, 3 * DAY));
      const payment = generatePayment(state.nextPaymentId + index, merchant, paidAt, now, random);
      return { ...payment, status: settledStatus(now - paidAt, merchant, random) };
    });
    return [{ type: 'insert_payments', payments }];
  },

  settle_all: (state, random) => {
    const merchantId = pickMerchant(state, random).id;
    return [{ type: 'settle_merchant', merchantId, status: random.chance(0.9) ? 'Paid' : 'Rejected' }];
  },
};

function pickMerchant(state: TrafficState, random: Random): MerchantProfile {
  const profile = state.profiles[random.weighted(state.weights)];
  if (profile === undefined) throw new Error('traffic needs at least one merchant');
  return profile;
}

function insertOne(state: TrafficState, random: Random, paidAt: Micros, ingestedAt = paidAt): Statement {
  const merchant = pickMerchant(state, random);
  // A live payment was made moments before it was ingested.
  const madeAt = ingestedAt === paidAt ? paidAt - Math.min(ingestionDelay(random), 2 * SECOND) : paidAt;
  const payment = generatePayment(state.nextPaymentId, merchant, madeAt, ingestedAt, random);
  return { type: 'insert_payments', payments: [payment] };
}

function paymentsOfOneBasket(state: TrafficState, random: Random, now: Micros, count: number): Payment[] {
  const merchant = pickMerchant(state, random);
  return Array.from({ length: count }, (_, index) => {
    const payment = generatePayment(state.nextPaymentId + index, merchant, now, now, random);
    return index === 0 ? payment : { ...payment, status: 'Paid' };
  });
}

function settle(state: TrafficState, payment: KnownPayment, random: Random): Statement {
  const rate = state.byId.get(payment.merchantId)?.rejectionRate ?? 0.05;
  const status = random.chance(rate) ? 'Rejected' : 'Paid';
  return { type: 'set_status', id: payment.id, merchantId: payment.merchantId, status };
}

/** Tries a few payments until one is where `newDate` wants it. */
function redate(
  state: TrafficState,
  random: Random,
  newDate: (payment: KnownPayment) => Micros | null,
): Statement[] | null {
  for (let attempt = 0; attempt < 8; attempt++) {
    const payment = state.book.pick(random);
    if (payment === undefined) return null;
    const paidAt = newDate(payment);
    if (paidAt === null) continue;
    return [{ type: 'set_date', id: payment.id, merchantId: payment.merchantId, paidAt }];
  }
  return null;
}
