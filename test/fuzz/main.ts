import { CORPORA, fuzzDecoder } from './decoder-fuzz.js';

/**
 * The long run: `npm run fuzz`, a million damaged messages per decoder. `WALHOUSE_FUZZ_SEED` replays, `WALHOUSE_FUZZ_ROUNDS`
 * changes how many. Exit code 1, with the seed and the round, on the first that gives neither a change nor a typed error.
 */
const STEP = 100_000;
const rounds = Number(process.env['WALHOUSE_FUZZ_ROUNDS'] ?? 1_000_000);
const seed = Number(process.env['WALHOUSE_FUZZ_SEED'] ?? Date.now() % 2 ** 31);

for (const corpus of CORPORA) {
  const startedAt = performance.now();
  let refused = 0;
  let longestMs = 0;
  let residentMax = 0;
  for (let done = 0; done < rounds; done += STEP) {
    // Every step has a seed of its own, so that one of them can be replayed alone.
    const result = fuzzDecoder(corpus, seed + done, Math.min(STEP, rounds - done));
    refused += result.refused;
    longestMs = Math.max(longestMs, result.longestMs);
    residentMax = Math.max(residentMax, process.memoryUsage.rss());
  }
  const seconds = (performance.now() - startedAt) / 1000;
  process.stdout.write(
    `${corpus.name}: seed ${seed}, ${rounds} messages in ${seconds.toFixed(1)} s, ${refused} refused, ` +
      `slowest ${longestMs.toFixed(1)} ms, at most ${(residentMax / 2 ** 20).toFixed(0)} MiB resident\n`,
  );
}
