import { HOUR, type Micros, MINUTE, SECOND } from '../instant.js';
import type { MerchantProfile } from './merchants.js';
import { cumulate, type Random } from '../random.js';

export type PaymentStatus = 'Pending' | 'Paid' | 'Rejected';

/** A row of public.payments. Amounts are whole cents, so no arithmetic here can lose one. */
export interface Payment {
  readonly id: number;
  readonly merchantId: number;
  readonly customerId: number;
  readonly cents: number;
  readonly method: string;
  readonly status: PaymentStatus;
  readonly paidAt: Micros;
  readonly ingestedAt: Micros;
}

/** numeric(12,2) ends here. */
const CENTS_MAX = 999_999_999_999;
const CUSTOMERS = 250_000;

const METHODS: readonly (readonly [string, number])[] = [
  ['Visa', 38],
  ['Mastercard', 27],
  ['PayPal', 9],
  ['American Express', 7],
  ['Check', 6],
  ['Bank transfer', 5],
  ['Apple Pay', 4],
  ['Cash', 2.5],
  ['Überweisung', 1],
  ['Gift card', 0.4],
  ["Merchant's credit", 0.1],
];
const METHOD_SUMS = cumulate(METHODS.map(([, weight]) => weight));

/** A new payment to `merchant`: Pending, unless the caller says otherwise. */
export function generatePayment(
  id: number,
  merchant: MerchantProfile,
  paidAt: Micros,
  ingestedAt: Micros,
  random: Random,
): Payment {
  return {
    id,
    merchantId: merchant.id,
    customerId: 1 + random.below(CUSTOMERS),
    cents: generateCents(merchant, random),
    method: METHODS[random.weighted(METHOD_SUMS)]?.[0] ?? 'Visa',
    status: 'Pending',
    paidAt,
    ingestedAt,
  };
}

/** Log-normal around the merchant's own level, with the endings that prices have. */
export function generateCents(merchant: MerchantProfile, random: Random): number {
  const units = Math.floor(Math.exp(merchant.logAmount + 0.75 * random.normal()));
  const ending = random.next();
  const cents =
    ending < 0.35 ? 99 : ending < 0.45 ? 95 : ending < 0.55 ? 50 : ending < 0.7 ? 0 : random.below(100);
  return Math.min(Math.max(units * 100 + cents, 1), CENTS_MAX);
}

/** What became of a payment of the given age: young ones are often still open, old ones hardly ever. */
export function settledStatus(ageUs: Micros, merchant: MerchantProfile, random: Random): PaymentStatus {
  const open = ageUs < 10 * MINUTE ? 0.8 : ageUs < 2 * HOUR ? 0.3 : ageUs < 72 * HOUR ? 0.02 : 0.001;
  if (random.chance(open)) return 'Pending';
  return random.chance(merchant.rejectionRate) ? 'Rejected' : 'Paid';
}

/** Between a payment and its ingestion: seconds as a rule, an hour now and then. */
export function ingestionDelay(random: Random): Micros {
  return Math.min(Math.round(Math.exp(1 + 1.2 * random.normal()) * SECOND), HOUR);
}

/** `120.50`, exactly. */
export function formatCents(cents: number): string {
  const whole = Math.trunc(Math.abs(cents) / 100);
  return `${cents < 0 ? '-' : ''}${whole}.${String(Math.abs(cents) % 100).padStart(2, '0')}`;
}
