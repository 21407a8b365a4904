import { describe, expect, it } from 'vitest';
import { CORPORA, fuzzDecoder } from '../fuzz/decoder-fuzz.js';

const ROUNDS = 20_000;
const seed = Number(process.env['WALHOUSE_FUZZ_SEED'] ?? Date.now() % 2 ** 31);

describe('damaged messages', () => {
  it.each(CORPORA)(
    `of $name give changes or typed errors, seed ${seed}`,
    (corpus) => {
      const { refused } = fuzzDecoder(corpus, seed, ROUNDS);
      // Some damage is refused and some is not, or nothing was tried.
      expect(refused).toBeGreaterThan(ROUNDS / 10);
      expect(refused).toBeLessThan(ROUNDS);
    },
    30_000,
  );
});
