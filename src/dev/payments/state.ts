import { Book } from './book.js';
import { cumulativeWeights, type MerchantProfile } from './merchants.js';
import type { Operation, Statement } from './operation.js';

/** What the generator of operations knows. Changed by `applyOperation` only, so a sequence can be repeated. */
export interface TrafficState {
  profiles: MerchantProfile[];
  /** Running sums of the profiles' weights. */
  weights: number[];
  readonly byId: Map<number, MerchantProfile>;
  readonly book: Book;
  nextMerchantId: number;
  nextPaymentId: number;
  operations: number;
}

export function createState(profiles: readonly MerchantProfile[], nextPaymentId = 1): TrafficState {
  return {
    profiles: [...profiles],
    weights: cumulativeWeights(profiles),
    byId: new Map(profiles.map((profile) => [profile.id, profile])),
    book: new Book(),
    nextMerchantId: profiles.reduce((max, profile) => Math.max(max, profile.id), 0) + 1,
    nextPaymentId,
    operations: 0,
  };
}

/** The merchant with the largest share of payments; undefined when there are no merchants. */
export function largestMerchant(state: TrafficState): MerchantProfile | undefined {
  return state.profiles.reduce<MerchantProfile | undefined>(
    (largest, profile) => (largest === undefined || profile.weight > largest.weight ? profile : largest),
    undefined,
  );
}

/**
 * Moves the state on by one operation. One that is rolled back leaves nothing behind but the ids it took, as with the sequences of
 * a real application.
 */
export function applyOperation(state: TrafficState, operation: Operation): void {
  state.operations++;
  for (const statement of operation.statements) {
    takeIds(state, statement);
    if (operation.commit) applyStatement(state, statement);
  }
}

function takeIds(state: TrafficState, statement: Statement): void {
  if (statement.type === 'insert_payments') {
    for (const { id } of statement.payments) state.nextPaymentId = Math.max(state.nextPaymentId, id + 1);
  } else if (statement.type === 'insert_merchant') {
    state.nextMerchantId = Math.max(state.nextMerchantId, statement.profile.id + 1);
  }
}

function applyStatement(state: TrafficState, statement: Statement): void {
  const { book } = state;
  switch (statement.type) {
    case 'insert_payments':
      for (const payment of statement.payments) book.add(payment);
      return;
    case 'set_status':
      book.settle(statement.id, statement.status);
      return;
    case 'set_amount': {
      const payment = book.get(statement.id);
      if (payment !== undefined) payment.cents = statement.cents;
      return;
    }
    case 'set_date': {
      const payment = book.get(statement.id);
      if (payment !== undefined) payment.paidAt = statement.paidAt;
      return;
    }
    case 'set_merchant': {
      const payment = book.get(statement.id);
      if (payment !== undefined) payment.merchantId = statement.newMerchantId;
      return;
    }
    case 'delete_payment':
      book.remove(statement.id);
      return;
    case 'settle_merchant':
      for (const { id } of book.openOf(statement.merchantId)) book.settle(id, statement.status);
      return;
    case 'insert_merchant': {
      const { profile } = statement;
      state.profiles.push(profile);
      state.weights.push((state.weights[state.weights.length - 1] ?? 0) + profile.weight);
      state.byId.set(profile.id, profile);
      return;
    }
    case 'edit_merchant':
      return;
  }
}
