import { Random } from '../random.js';

export interface Consumer {
  readonly id: number;
  readonly name: string;
  /** Ids of merchants, the most liked first; spelt as in the source. */
  readonly preferedMerchants: readonly number[];
  /** What the table does not say: where the consumer lives and banks, how often and how much it pays. */
  readonly homeCountry: string;
  readonly bankId: number;
  readonly weight: number;
  /** Mean of the natural logarithm of its amounts, in whole units of money. */
  readonly logAmount: number;
  /** Hour of the day, UTC, around which it pays. */
  readonly hour: number;
}

export interface Merchant {
  readonly id: number;
  readonly name: string;
  readonly zipcode: string;
  readonly weight: number;
}

export interface Bank {
  readonly id: number;
  readonly name: string;
  readonly zipcode: string;
}

const FIRST = ['Ana', 'Björn', 'Chidi', 'Dorota', 'Émile', 'Fatima', 'Goran', 'Hana', 'Ines', 'Jun', 'Kwame', 'Léa', 'Mehmet', 'Nora']; // prettier-ignore
const LAST = ["O'Neill", 'Silva', 'Müller', 'Nowak', 'García', 'Rossi', 'Çelik', 'Andersson', 'Dubois', 'Nguyễn', 'van den Berg', '山本']; // prettier-ignore
const OWNERS = [
  'Harbour',
  'Old Mill',
  'Zoë’s',
  'Northgate',
  'Bluebird',
  'Castle',
  'Lantern',
  'Granite',
  'Hill & Vale',
  'Łódź',
];
const TRADES = [
  'Coffee',
  'Books',
  'Pharmacy',
  'Bakery',
  'Hotel',
  'Garage',
  'Travel',
  'Grocers',
  'Cycles',
  'Toys',
  'Rail',
  'Telecom',
];
const BANKS = ['Savings Bank', 'Trust', 'Sparkasse', 'Crédit', 'Cooperative', 'Banco'];
/** Where people live, and after the first six where they travel. */
export const COUNTRIES = [
  'DE',
  'FR',
  'ES',
  'PT',
  'NL',
  'PL',
  'IT',
  'AT',
  'CH',
  'GB',
  'US',
  'SE',
  'JP',
  'TR',
  'BR',
] as const;
const HOME_COUNTRIES = COUNTRIES.slice(0, 6);

/** The exponent of the long tail of merchants. */
const TAIL_EXPONENT = 0.9;

/** Streams of one seed, a block of them for each kind of party. */
const STREAM = { consumer: 10_000_000, merchant: 20_000_000, bank: 30_000_000 } as const;

/** The consumer of that id: the same for the same seed and the same numbers of merchants and banks, whoever else there is. */
export function consumerOf(id: number, seed: number, merchants: number, banks: number): Consumer {
  const random = new Random(seed, STREAM.consumer + id);
  const wanted = random.below(6);
  const prefered = new Set<number>();
  // A small id is a large merchant, so preferences fall on them.
  for (let draw = 0; draw < wanted; draw++) prefered.add(1 + Math.floor(merchants * random.next() ** 2));
  return {
    id,
    name: `${random.pick(FIRST)} ${random.pick(LAST)}`,
    preferedMerchants: [...prefered],
    homeCountry: random.pick(HOME_COUNTRIES),
    bankId: 1 + random.below(banks),
    weight: Math.exp(0.8 * random.normal()),
    logAmount: 2.8 + 0.5 * random.normal(),
    hour: Math.floor(random.between(7, 21)),
  };
}

export function merchantOf(id: number, seed: number): Merchant {
  const random = new Random(seed, STREAM.merchant + id);
  return {
    id,
    name: `${random.pick(OWNERS)} ${random.pick(TRADES)} ${id}`,
    zipcode: zipcode(random),
    weight: id ** -TAIL_EXPONENT,
  };
}

export function bankOf(id: number, seed: number): Bank {
  const random = new Random(seed, STREAM.bank + id);
  return { id, name: `${random.pick(OWNERS)} ${random.pick(BANKS)}`, zipcode: zipcode(random) };
}

function zipcode(random: Random): string {
  return String(random.below(100_000)).padStart(5, '0');
}
