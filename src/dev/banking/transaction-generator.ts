import { DAY, HOUR, type Micros, MINUTE, SECOND } from '../instant.js';
import { cumulate, Random } from '../random.js';
import {
  type Bank,
  bankOf,
  type Consumer,
  consumerOf,
  COUNTRIES,
  type Merchant,
  merchantOf,
} from './parties.js';
import {
  AMOUNT_LIMIT,
  AMOUNT_MAX,
  type Fault,
  FAULTS,
  type Generated,
  type Transaction,
  UNIT,
} from './transaction.js';

export interface TransactionGeneratorOptions {
  /** How many there are at first; their ids begin at 1. */
  readonly consumers: number;
  readonly merchants: number;
  readonly banks: number;
  /** Transactions a second of the generator's own clock, on average. */
  readonly rate: number;
  /** Repeats a run. */
  readonly seed: number;
  /** Share of the transactions that have a fault, 0 to 1. */
  readonly errorRate: number;
  /** Where the generator's own clock begins; now, if left out. */
  readonly startAt?: Date | undefined;
  /** The id of the first transaction; 1, if left out. */
  readonly firstId?: number | undefined;
}

/** Ids that belong to nobody are so far above those that do; some of them belong to somebody later. */
const UNKNOWN_AHEAD = 5;
const NOT_CODES = ['XX', 'UK', 'EN', 'ZZ', 'de', 'DEU', 'EU', '??'];
const NO_MERCHANT = ['Cash withdrawal', 'Transfer', 'Standing order', 'Rent'];
const FIELDS = [
  'amount',
  'creationDate',
  'executionDate',
  'label',
  'countryCode',
  'consumerId',
  'bankId',
] as const;

/**
 * Transactions of a population of consumers, merchants and banks: each consumer with its own bank, country, hours, amounts and preferred
 * merchants, and the given share of them wrong in one of the ways of `FAULTS`. Knows no database and waits for nothing: an endless
 * sequence that the same options and `startAt` repeat.
 *
 *     const generator = new TransactionGenerator({ consumers: 100, merchants: 20, banks: 3, rate: 50, seed: 1, errorRate: 0.02 });
 *     for (const { transaction, fault } of generator) ...
 *
 * @throws RangeError where a number of parties is not a whole number above zero, the rate is not above zero, or the error rate no share
 */
export class TransactionGenerator implements Iterable<Generated> {
  readonly consumers: Consumer[];
  readonly merchants: Merchant[];
  readonly banks: readonly Bank[];
  readonly #options: TransactionGeneratorOptions;
  readonly #random: Random;
  #consumerWeights: number[];
  #merchantWeights: number[];
  #clock: Micros;
  #nextId: number;

  constructor(options: TransactionGeneratorOptions) {
    const { consumers, merchants, banks, rate, seed, errorRate, startAt = new Date(), firstId = 1 } = options;
    for (const [name, count] of Object.entries({ consumers, merchants, banks, firstId })) {
      if (!Number.isSafeInteger(count) || count < 1)
        throw new RangeError(`${name} is ${count}, and must be a whole number above zero`);
    }
    if (!(rate > 0 && rate < Infinity)) throw new RangeError(`rate is ${rate}, and must be above zero`);
    if (!(errorRate >= 0 && errorRate <= 1))
      throw new RangeError(`errorRate is ${errorRate}, and must be from 0 to 1`);
    this.#options = options;
    this.#random = new Random(seed, 1);
    const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);
    this.consumers = upTo(consumers).map((id) => consumerOf(id, seed, merchants, banks));
    this.merchants = upTo(merchants).map((id) => merchantOf(id, seed));
    this.banks = upTo(banks).map((id) => bankOf(id, seed));
    this.#consumerWeights = cumulate(this.consumers.map(({ weight }) => weight));
    this.#merchantWeights = cumulate(this.merchants.map(({ weight }) => weight));
    this.#clock = startAt.getTime() * 1000;
    this.#nextId = firstId;
  }

  /** The next transaction by the generator's own clock, which moves on by 1 / rate seconds on average. */
  next(): Generated {
    // Independent arrivals: the time between two is exponential.
    this.#clock += Math.round((-Math.log(1 - this.#random.next()) / this.#options.rate) * SECOND);
    return this.at(this.#clock);
  }

  *[Symbol.iterator](): Generator<Generated, never> {
    for (;;) yield this.next();
  }

  /** The next transaction, carried out at `moment`. What is too old or in the future is so as seen from `now`. */
  at(moment: Micros, now: Micros = moment): Generated {
    const transaction = this.#sound(moment);
    if (!this.#random.chance(this.#options.errorRate)) return { transaction, fault: null };
    const fault = this.#random.pick(FAULTS);
    return { transaction: { ...transaction, ...this.#changeFor(fault, transaction, now) }, fault };
  }

  /** An id for a row that is made elsewhere, such as a duplicate. */
  takeId(): number {
    return this.#nextId++;
  }

  /** One more consumer, which pays from now on. */
  addConsumer(): Consumer {
    const { seed, merchants, banks } = this.#options;
    const consumer = consumerOf(this.consumers.length + 1, seed, merchants, banks);
    this.consumers.push(consumer);
    this.#consumerWeights = cumulate(this.consumers.map(({ weight }) => weight));
    return consumer;
  }

  /** One more merchant, which is paid from now on. */
  addMerchant(): Merchant {
    const merchant = merchantOf(this.merchants.length + 1, this.#options.seed);
    this.merchants.push(merchant);
    this.#merchantWeights = cumulate(this.merchants.map(({ weight }) => weight));
    return merchant;
  }

  /** A new amount such as a consumer pays. */
  amountOf(consumer: Pick<Consumer, 'logAmount'>): number {
    const units = Math.exp(consumer.logAmount + 0.9 * this.#random.normal());
    const amount = Math.round(units * 100) * (UNIT / 100);
    // Foreign money leaves more decimals than two.
    const odd = this.#random.chance(0.1) ? this.#random.below(UNIT / 100) : 0;
    return Math.min(Math.max(amount + odd, 1), AMOUNT_MAX);
  }

  #sound(moment: Micros): Transaction {
    const random = this.#random;
    const consumer = this.consumers[random.weighted(this.#consumerWeights)]!;
    const merchant = random.chance(0.1) ? null : this.#merchantFor(consumer);
    // Most are entered seconds before they are carried out, some days before.
    const delay = random.chance(0.9) ? random.between(0, 30 * SECOND) : random.between(HOUR, 3 * DAY);
    return {
      id: this.#nextId++,
      amount: this.amountOf(consumer),
      creationDate: moment - Math.round(delay),
      executionDate: moment,
      label: merchant === null ? random.pick(NO_MERCHANT) : `Card payment ${merchant.name}`,
      countryCode: random.chance(0.9) ? consumer.homeCountry : random.pick(COUNTRIES),
      consumerId: consumer.id,
      bankId: random.chance(0.93) ? consumer.bankId : 1 + random.below(this.banks.length),
      merchantId: merchant === null ? null : merchant.id,
    };
  }

  #merchantFor({ preferedMerchants }: Consumer): Merchant {
    const random = this.#random;
    if (preferedMerchants.length > 0 && random.chance(0.6))
      return this.merchants[
        preferedMerchants[Math.floor(preferedMerchants.length * random.next() ** 2)]! - 1
      ]!;
    return this.merchants[random.weighted(this.#merchantWeights)]!;
  }

  /** What makes a sound transaction a faulty one. */
  #changeFor(fault: Fault, { amount, creationDate }: Transaction, now: Micros): Partial<Transaction> {
    const random = this.#random;
    switch (fault) {
      case 'missing field': {
        const field = random.pick(FIELDS);
        return { [field]: field === 'label' && random.chance(0.5) ? '' : null };
      }
      case 'amount zero':
        return { amount: 0 };
      case 'amount negative':
        return { amount: -(amount ?? 1) };
      case 'amount above the bound':
        return { amount: AMOUNT_MAX + 1 + random.below(AMOUNT_LIMIT - AMOUNT_MAX) };
      case 'older than retention': {
        const executionDate = this.#tooOld(now);
        return { executionDate, creationDate: executionDate - Math.min(now - (creationDate ?? now), DAY) };
      }
      case 'in the future':
        return { executionDate: now + Math.round(random.between(10 * MINUTE, 40 * DAY)) };
      case 'unknown country':
        return { countryCode: random.pick(NOT_CODES) };
      case 'unknown party': {
        const beyond = 1 + random.below(UNKNOWN_AHEAD);
        const party = random.below(3);
        if (party === 0) return { consumerId: this.consumers.length + beyond };
        return party === 1
          ? { bankId: this.banks.length + beyond }
          : { merchantId: this.merchants.length + beyond };
      }
    }
  }

  /** Two years back: in the day that retention is cutting through, or before it. */
  #tooOld(now: Micros): Micros {
    const cut = new Date(now / 1000);
    cut.setUTCFullYear(cut.getUTCFullYear() - 2);
    const edge = cut.getTime() * 1000;
    const endOfDay = Math.ceil((edge + 1) / DAY) * DAY;
    return Math.floor(
      this.#random.chance(0.5)
        ? this.#random.between(edge, endOfDay)
        : edge - this.#random.between(MINUTE, 200 * DAY),
    );
  }
}
