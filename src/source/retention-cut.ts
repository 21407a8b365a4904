import type { RetentionCut } from '../pipeline/source.js';
import { quoteName, quoteText } from './connection.js';

/** Dates are held below this before anything is added: beyond it no row is past anything. */
const LATEST = '2290-01-01 00:00:00';

/** The condition that a row is not past the cut. */
export function isKept({ column, keep, moment }: RetentionCut): string {
  const name = quoteName(column);
  const expires = `least(${name}::timestamp, '${LATEST}') + interval '1 ${keep.unit}' * ${keep.count}`;
  return `(${name} is null or ${expires} > ${quoteText(moment)}::timestamp)`;
}
