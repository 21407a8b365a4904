import { DAY, HOUR, type Micros, WEEK } from '../instant.js';
import { cumulate, type Random } from '../random.js';

/** A row of spending.transactions under its columns' names, as it goes to Postgres in JSON. */
export interface TransactionRow {
  readonly transaction_id: number;
  readonly customer_id: number;
  readonly transaction_date: string;
  readonly transaction_amount: string;
  readonly product_category: string | null;
  readonly transaction_type: string;
  readonly status: string;
  readonly reverses: number | null;
  readonly last_modified: string;
}

/**
 * How customers buy: the BG/NBD and gamma-gamma models, with the parameters that clickhouse/spending/6_spending_value_parameters.sql
 * forecasts by. Time is in weeks.
 */
const MODEL = { r: 1.2, alpha: 5, a: 0.7, b: 3.5, p: 6, q: 4, gamma: 25 };

export const CATEGORIES: readonly (string | null)[] = [
  'Groceries', 'Restaurants', 'Travel', 'Electronics', 'Clothing', 'Health', 'Home & garden', 'Books', 'Café', 'Energy', 'Sports', null,
]; // prettier-ignore
const CATEGORY_SUMS = cumulate([30, 18, 5, 7, 10, 6, 7, 4, 6, 4, 2, 1]);

/** Moments at which a new customer buys, from the first purchase until the customer leaves or `until` comes. */
export function* purchasesOf(first: Micros, until: Micros, random: Random): Generator<Micros> {
  const rate = gamma(MODEL.r, random) / MODEL.alpha;
  const leaving = beta(MODEL.a, MODEL.b, random);
  let at = first;
  while (at < until) {
    yield at;
    // By the model a customer may leave after a repeat purchase, not after the first.
    if (at !== first && random.chance(leaving)) return;
    at += Math.round((-Math.log(1 - random.next()) / rate) * WEEK);
  }
}

/** A customer's own level of spending. */
export function spendRate(random: Random): number {
  return gamma(MODEL.q, random) / MODEL.gamma;
}

/** `12.3400`: what is spent at once, by a customer's level. */
export function spend(rate: number, random: Random): string {
  const cents = Math.max(1, Math.round((100 * gamma(MODEL.p, random)) / rate));
  return `${Math.min(cents, 99_999_999) / 100}`;
}

export function category(random: Random): string | null {
  return CATEGORIES[random.weighted(CATEGORY_SUMS)] ?? null;
}

/** A moment by day, so that purchases are not all at one hour. */
export function inTheDay(at: Micros, random: Random): Micros {
  return Math.floor(at / DAY) * DAY + Math.round(random.between(7, 22) * HOUR);
}

/** Marsaglia and Tsang's method; shapes below one by way of the next. */
function gamma(shape: number, random: Random): number {
  if (shape < 1) return gamma(shape + 1, random) * (1 - random.next()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const normal = random.normal();
    const v = (1 + c * normal) ** 3;
    if (v > 0 && Math.log(1 - random.next()) < 0.5 * normal * normal + d - d * v + d * Math.log(v))
      return d * v;
  }
}

function beta(a: number, b: number, random: Random): number {
  const one = gamma(a, random);
  return one / (one + gamma(b, random));
}
