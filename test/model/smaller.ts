/** As many tries as a person who waits for a counterexample will bear. */
export const TRIES_MAX = 60;

/** How often it may still be tried. */
export interface Tries {
  left: number;
}

/**
 * A part of `items`, in their order, that still fails: halves, then smaller and smaller pieces are left out as long as what remains
 * fails. With enough tries no single item can be left out of the result.
 */
export async function smaller<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => Promise<boolean>,
  tries: Tries,
): Promise<readonly T[]> {
  let rest = items;
  let length = Math.ceil(rest.length / 2);
  while (rest.length > 0) {
    let shrunk = false;
    for (let first = 0; first < rest.length && tries.left > 0;) {
      const without = rest.toSpliced(first, length);
      tries.left -= 1;
      if (await fails(without)) {
        rest = without;
        shrunk = true;
      } else first += length;
    }
    if (tries.left <= 0 || (length === 1 && !shrunk)) break;
    length = Math.max(1, Math.min(Math.ceil(length / 2), rest.length));
  }
  return rest;
}
