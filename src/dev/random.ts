/**
 * Random numbers that can be repeated: the same seed gives the same sequence on every machine and Node.js version
 * (the generator works on 32-bit integers only). Not for secrets.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** `stream` tells apart several sequences drawn from one seed. */
  constructor(seed: number, stream = 0) {
    this.#a = Math.trunc(seed) | 0;
    this.#b = Math.trunc(seed / 0x1_0000_0000) | 0;
    this.#c = stream | 0;
    // The first outputs still resemble the seed.
    for (let index = 0; index < 20; index++) this.next();
  }

  /** Uniform in [0, 1). Chris Doty-Humphrey's "small fast counting" generator, 32 bits. */
  next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    this.#c |= 0;
    return (sum >>> 0) / 0x1_0000_0000;
  }

  /** A whole number in [0, bound). */
  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  between(from: number, to: number): number {
    return from + this.next() * (to - from);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  /** Standard normal, by Box and Muller. */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.next()));
    return radius * Math.cos(2 * Math.PI * this.next());
  }

  /** Picks an index with a probability proportional to its weight; `cumulative` is the running sum of the weights. */
  weighted(cumulative: readonly number[]): number {
    const point = this.next() * (cumulative[cumulative.length - 1] ?? 0);
    let low = 0;
    let high = cumulative.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((cumulative[middle] ?? 0) > point) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** The running sum that `Random.weighted` takes. */
export function cumulate(weights: Iterable<number>): number[] {
  const sums: number[] = [];
  let sum = 0;
  for (const weight of weights) sums.push((sum += weight));
  return sums;
}
