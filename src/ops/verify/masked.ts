import { createHash } from 'node:crypto';
import type { Masker } from '../../sink/mask.js';
import { COLUMN_DIGITS } from './statements.js';

/**
 * Postgres cannot hash masked columns, so their values come from there as they are and are hashed here. The first 64 bits of a row's md5, as ClickHouse's statement has them: over the md5 of the columns that are not masked, and the hashes of
 * those that are.
 */
export function maskedRowSum(masker: Masker, unmasked: string, texts: readonly (string | null)[]): bigint {
  return createHash('md5')
    .update(unmasked + texts.map((text) => framed(masker, text)).join(''))
    .digest()
    .readBigInt64BE(0);
}

/** A piece of md5 for each masked column. */
export function maskedPieces(masker: Masker, texts: readonly (string | null)[]): string {
  const piece = (text: string | null): string =>
    createHash('md5').update(framed(masker, text)).digest('hex').slice(0, COLUMN_DIGITS);
  return texts.map(piece).join('');
}

/** As `framedClickHouse` frames the hash that is stored. */
function framed(masker: Masker, text: string | null): string {
  if (text === null) return '~,';
  const hash = masker.hash(text);
  return `${hash.length}:${hash},`;
}
