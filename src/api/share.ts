import type { MerchantNumbers } from './risk.js';

/** Places of a share. */
const PLACES = 6;

/** The rejected part of a merchant's payments, by number and by amount; null where there is nothing to be a part of. */
export function shareOf(numbers: MerchantNumbers): { count: string | null; amount: string | null } {
  return {
    count: ratio(BigInt(numbers.rejectedCount), BigInt(numbers.totalCount)),
    amount: ratio(...sameScale(numbers.rejectedAmount, numbers.totalAmount)),
  };
}

/** `part / whole` as decimal text with six places, rounded half away from zero; in whole numbers throughout. */
function ratio(part: bigint, whole: bigint): string | null {
  if (whole === 0n) return null;
  const negative = part < 0n !== whole < 0n && part !== 0n;
  const [above, below] = [abs(part), abs(whole)];
  const rounded = (2n * above * 10n ** BigInt(PLACES) + below) / (2n * below);
  const digits = rounded.toString().padStart(PLACES + 1, '0');
  const text = `${digits.slice(0, -PLACES)}.${digits.slice(-PLACES)}`;
  return negative && rounded !== 0n ? `-${text}` : text;
}

/** Two decimal texts as whole numbers of one unit. */
function sameScale(one: string, other: string): [bigint, bigint] {
  const places = Math.max(placesOf(one), placesOf(other));
  return [scaled(one, places), scaled(other, places)];
}

function placesOf(text: string): number {
  return text.split('.')[1]?.length ?? 0;
}

function scaled(text: string, places: number): bigint {
  const [whole = '0', fraction = ''] = text.split('.');
  return BigInt(`${whole}${fraction.padEnd(places, '0')}`);
}

function abs(value: bigint): bigint {
  return value < 0n ? -value : value;
}
