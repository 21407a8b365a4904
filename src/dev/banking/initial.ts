import { DAY, HOUR, type Micros } from '../instant.js';
import { Random } from '../random.js';
import { compensationOf, type Transaction } from './transaction.js';
import type { TransactionGenerator } from './transaction-generator.js';

const DAYS = 729;
/** The share that lies in the last month, on top of its part of the whole. */
const RECENT_SHARE = 0.3;
const RECENT_DAYS = 30;
const COMPENSATED_SHARE = 0.01;
const DUPLICATED_SHARE = 0.01;

/** About `count` transactions of the two years before `until`, oldest first, some of them compensated or entered twice by then. */
export function initialTransactions(
  transactions: TransactionGenerator,
  count: number,
  until: Micros,
  seed: number,
): Transaction[] {
  const random = new Random(seed, 3);
  const moments = Array.from({ length: count }, () => momentOf(random, until)).sort((a, b) => a - b);
  const rows: Transaction[] = [];
  for (const moment of moments) {
    const { transaction, fault } = transactions.at(moment, until);
    rows.push(transaction);
    const { amount, executionDate } = transaction;
    if (amount === null || executionDate === null || fault !== null) continue;
    if (random.chance(DUPLICATED_SHARE)) rows.push({ ...transaction, id: transactions.takeId() });
    if (random.chance(COMPENSATED_SHARE)) {
      const part = random.chance(0.5) ? amount : Math.ceil(amount * random.next());
      const later = Math.min(executionDate + Math.round(random.between(HOUR, 10 * DAY)), until);
      rows.push(compensationOf(transaction, transactions.takeId(), Math.max(1, part), later));
    }
  }
  return rows;
}

/** Two thirds of all is paid by day. */
function momentOf(random: Random, until: Micros): Micros {
  const days = random.chance(RECENT_SHARE) ? RECENT_DAYS : DAYS;
  const moment = Math.floor(until - random.next() * days * DAY);
  const hour = Math.floor((moment % DAY) / HOUR);
  return hour < 6 && random.chance(0.8) ? moment - 10 * HOUR : moment;
}
