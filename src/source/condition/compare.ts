/**
 * Values that can be compared from their text alone, as Postgres prints it under the pinned session settings. `label`, `text` and
 * `padded` are only equal or not: how they are ordered is a matter of their type's declaration or of a collation.
 */
export type ValueClass =
  'number' | 'text' | 'padded' | 'label' | 'bool' | 'uuid' | 'date' | 'timestamp' | 'timestamptz';

/** Below zero, zero or above: how the first stands to the second. */
export type Compare = (a: string, b: string) => number;

export const ORDERED: ReadonlySet<ValueClass> = new Set([
  'number',
  'bool',
  'uuid',
  'date',
  'timestamp',
  'timestamptz',
]);

export const COMPARE: Readonly<Record<ValueClass, Compare>> = {
  number: compareNumbers,
  text: compareBytes,
  // char(n) is printed with the blanks that fill it, which do not count.
  padded: (a, b) => compareBytes(a.replace(/ +$/, ''), b.replace(/ +$/, '')),
  label: compareBytes,
  bool: compareBytes,
  // Always 36 lower-case characters, so that their order is that of the bytes.
  uuid: compareBytes,
  date: compareMoments,
  timestamp: compareMoments,
  timestamptz: compareMoments,
};

/** Says whether a text is one that the class's comparison knows; anything else must not be compared. */
export function isKnown(kind: ValueClass, text: string): boolean {
  switch (kind) {
    case 'number':
      return NUMBER.test(text);
    case 'bool':
      return text === 't' || text === 'f';
    case 'uuid':
      return UUID.test(text);
    case 'date':
    case 'timestamp':
    case 'timestamptz':
      return momentOf(text) !== null;
    default:
      return true;
  }
}

const NUMBER = /^(?:-?[0-9]+(?:\.[0-9]+)?|NaN|-?Infinity)$/;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const MOMENT =
  /^([0-9]{4,7})-([0-9]{2})-([0-9]{2})(?: ([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?(?:\+00)?)?( BC)?$/;

function compareBytes(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** NaN equals itself and is above everything, as in Postgres. */
function rankOf(text: string): number {
  if (text === 'NaN') return 2;
  if (text === 'Infinity') return 1;
  return text === '-Infinity' ? -1 : 0;
}

/** Decimal numbers of any length, digit by digit: no value is rounded. */
function compareNumbers(a: string, b: string): number {
  const rank = rankOf(a) - rankOf(b);
  if (rank !== 0 || rankOf(a) !== 0) return rank;
  const minusA = a.startsWith('-') && /[1-9]/.test(a);
  const minusB = b.startsWith('-') && /[1-9]/.test(b);
  if (minusA !== minusB) return minusA ? -1 : 1;
  const order = compareDigits(a.replace('-', ''), b.replace('-', ''));
  return minusA ? -order : order;
}

function compareDigits(a: string, b: string): number {
  const [wholeA = '', partA = ''] = a.split('.');
  const [wholeB = '', partB = ''] = b.split('.');
  const length = Math.max(wholeA.length, wholeB.length);
  const whole = compareBytes(wholeA.padStart(length, '0'), wholeB.padStart(length, '0'));
  if (whole !== 0) return whole;
  const scale = Math.max(partA.length, partB.length);
  return compareBytes(partA.padEnd(scale, '0'), partB.padEnd(scale, '0'));
}

/** A moment as days and microseconds that order it; days are counted in months of 32, which is enough for that. */
function momentOf(text: string): readonly [days: number, micros: number] | null {
  if (text === 'infinity') return [Infinity, 0];
  if (text === '-infinity') return [-Infinity, 0];
  const match = MOMENT.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour = '0', minute = '0', second = '0', part = '', bc] = match;
  // There is no year 0: 1 BC comes right before 1.
  const signed = bc === undefined ? Number(year) : 1 - Number(year);
  const seconds = (Number(hour) * 60 + Number(minute)) * 60 + Number(second);
  return [
    (signed * 13 + Number(month)) * 32 + Number(day),
    seconds * 1_000_000 + Number(part.padEnd(6, '0')),
  ];
}

function compareMoments(a: string, b: string): number {
  const [daysA, microsA] = momentOf(a)!;
  const [daysB, microsB] = momentOf(b)!;
  if (daysA === daysB) return microsA - microsB;
  return daysA < daysB ? -1 : 1;
}
