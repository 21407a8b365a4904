import { cumulate, type Random } from '../random.js';

/** What the traffic knows of a merchant; the database has its name and address. */
export interface MerchantProfile {
  readonly id: number;
  /** Its share of new payments, relative to the others'. */
  readonly weight: number;
  /** Mean of the natural logarithm of its amounts, in whole units of money. */
  readonly logAmount: number;
  readonly rejectionRate: number;
}

/** A row of public.merchants, without its ingestion date. */
export interface MerchantText {
  readonly name: string;
  readonly address: string;
  readonly phone: string;
  readonly email: string;
}

/** The exponent of the long tail: the largest of a few hundred merchants gets about a fifth of all payments. */
const TAIL_EXPONENT = 1.1;
/** One in so many merchants sees many of its payments rejected; the fraud question is about these. */
const SUSPICIOUS_ONE_IN = 40;

/**
 * Merchants 1 to `count`, of very different sizes. The sizes are dealt to the ids at random, so a small id says nothing,
 * and the last id gets no payments at all.
 */
export function generateProfiles(count: number, random: Random): MerchantProfile[] {
  const ranks = Array.from({ length: count }, (_, index) => index + 1);
  for (let index = count - 1; index > 0; index--) {
    const other = random.below(index + 1);
    [ranks[index], ranks[other]] = [ranks[other] ?? 1, ranks[index] ?? 1];
  }
  return ranks.map((rank, index) =>
    profileOf(index + 1, index === count - 1 && count > 1 ? 0 : rank ** -TAIL_EXPONENT, random),
  );
}

export function profileOf(id: number, weight: number, random: Random): MerchantProfile {
  const suspicious = random.below(SUSPICIOUS_ONE_IN) === 0;
  return {
    id,
    weight,
    logAmount: 3.3 + 0.8 * random.normal(),
    rejectionRate: suspicious ? random.between(0.25, 0.6) : random.between(0.01, 0.07),
  };
}

export function cumulativeWeights(profiles: readonly MerchantProfile[]): number[] {
  return cumulate(profiles.map((profile) => profile.weight));
}

const OWNERS = [
  'Harbour', 'Old Mill', "O'Brien", 'Zoë', 'Łódź', 'Northgate', 'Silva', 'Müller', 'Bluebird', 'Castle Street', 'Nguyễn',
  'Kingfisher', 'Rosewood', 'Andersson', 'Moreau', 'Hill & Vale', 'Granite', 'Lantern', 'Papadopoulos', 'Yılmaz', '山本',
]; // prettier-ignore
const TRADES = [
  'Coffee', 'Books', 'Pharmacy', 'Electronics', 'Bakery', 'Hotel', 'Garage', 'Furniture', 'Travel', 'Grocers', 'Optician',
  'Cycles', 'Wine', 'Toys', 'Florist', 'Hardware', 'Records', 'Dental Practice', 'Streaming', 'Tickets',
]; // prettier-ignore
const FORMS = ['', '', '', ' Ltd', ' GmbH', ' S.A.', ' & Sons', ' "Express"'];
const STREETS = [
  'High Street',
  'Mill Lane',
  'Rua Augusta',
  'Bahnhofstraße',
  'Rue de la Paix',
  'Station Road',
  'Quay 4',
];
const TOWNS = ['Leeds', 'Porto', 'Zürich', 'Lyon', 'Kraków', 'Aarhus', 'Cork', 'Bologna', 'Tartu', 'Utrecht'];

/** Text for one merchant; accents, quotes and other scripts among it, as in any real list of merchants. */
export function generateMerchantText(id: number, random: Random): MerchantText {
  const name = `${random.pick(OWNERS)} ${random.pick(TRADES)}${random.pick(FORMS)}`;
  return {
    name,
    address: generateAddress(random),
    phone: `+${random.between(30, 49).toFixed(0)} ${digits(3, random)} ${digits(6, random)}`,
    email: `accounts@merchant-${id}.example`,
  };
}

export function generateAddress(random: Random): string {
  return `${random.pick(STREETS)} ${1 + random.below(240)}, ${digits(5, random)} ${random.pick(TOWNS)}`;
}

function digits(count: number, random: Random): string {
  let text = '';
  while (text.length < count) text += String(random.below(10));
  return text;
}
