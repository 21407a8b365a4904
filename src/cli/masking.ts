import { Masker } from '../sink/mask.js';
import type { Config } from './config.js';

/** What hashes the values of masked columns; undefined where the configuration has no key. */
export function maskerOf({ masking }: Config): Masker | undefined {
  return masking === undefined ? undefined : new Masker(masking.key);
}
