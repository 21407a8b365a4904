import type { Random } from '../random.js';

export interface AccountText {
  readonly company: string;
  readonly address: string;
  readonly person: string;
  readonly phone: string;
  readonly gender: 'F' | 'M';
}

export interface SkuText {
  readonly id: string;
  readonly name: string;
  readonly description: string;
}

const FAMILIES = [
  'Contreras', "O'Neill", 'Łukaszewski', 'Fitzgerald', 'Nguyễn', 'Björk', 'Hernández', 'Baker', 'van der Meer', 'Okafor', 'Rossi',
  'Yıldız', 'Schneider', 'Moreau', 'Whitfield', 'Castellanos', 'Abdi', 'Kowalczyk', 'Tanaka', 'Petrov',
]; // prettier-ignore
const FIRST_NAMES: readonly (readonly [string, 'F' | 'M'])[] = [
  ['Chelsey', 'F'], ['Todd', 'M'], ['Zoë', 'F'], ['Amadou', 'M'], ['Ingrid', 'F'], ['Rafael', 'M'], ['Mei', 'F'], ['Oleh', 'M'],
]; // prettier-ignore
const FORMS = ['', ' Ltd', ' & Sons', ' GmbH', ', Inc.', ' S.A.', ' "Direct"'];
const TOWNS = ['Leeds', 'Porto', 'Zürich', 'Lyon', 'Kraków', 'Aarhus', 'Cork', 'Bologna', 'Tartu', 'Utrecht'];
const STREETS = ['High Street', 'Mill Lane', 'Rua Augusta', 'Bahnhofstraße', 'Station Road', 'Quay'];
const KINDS = [
  'Bearing',
  'Valve',
  'Gasket',
  'Pump',
  'Filter',
  'Relay',
  'Coupling',
  'Cable drum',
  'Hinge',
  'Gauge',
];
const MAKES = ['brass', 'steel', 'sealed', 'compact', 'heavy-duty', 'high-pressure', 'insulated', 'spare'];
const USES = ['cold stores', 'presses', 'conveyors', 'greenhouses', 'lifts', "ships' galleys", 'water works'];

/** Commas, quotes and accents among them, as in any real list of companies. */
export function accountText(random: Random): AccountText {
  const [first, gender] = random.pick(FIRST_NAMES);
  const partner = random.chance(0.5) ? `-${random.pick(FAMILIES)}` : random.pick(FORMS);
  return {
    company: `${random.pick(FAMILIES)}${partner}`,
    address: `${random.pick(STREETS)} ${1 + random.below(240)}, ${digits(5, random)} ${random.pick(TOWNS)}`,
    person: `${first} ${random.pick(FAMILIES)}`,
    phone: phone(random),
    gender,
  };
}

export function phone(random: Random): string {
  return `${digits(3, random)}-${digits(3, random)}-${digits(4, random)}x${digits(3, random)}`;
}

export function skuText(index: number, random: Random): SkuText {
  const make = random.pick(MAKES);
  return {
    id: `${index % 10}-${digits(5, random)}-${String(index).padStart(3, '0')}-X`,
    name: `${make[0]!.toUpperCase()}${make.slice(1)} ${random.pick(KINDS).toLowerCase()}`,
    description: `for ${random.pick(USES)}`,
  };
}

function digits(count: number, random: Random): string {
  let text = '';
  while (text.length < count) text += String(random.below(10));
  return text;
}
