import type { Random } from '../random.js';
import type { Transaction } from './transaction.js';

/** A transaction that may still be changed, and what the traffic knows of its fate. */
export interface Known {
  transaction: Transaction;
  /** What is left of it after compensations, as far as the traffic made them; in hundred-thousandths. */
  left: number;
  /** It is the same as another one, by mistake. */
  readonly isDuplicate: boolean;
}

/** Rows whose later fate the traffic follows; older ones stay as they are. */
const KNOWN_MAX = 4_000;

/** A bounded memory of transactions, with the duplicates at hand. */
export class Book {
  readonly #known: Known[] = [];
  readonly #places = new Map<number, number>();

  add(transaction: Transaction, isDuplicate = false): void {
    const known: Known = { transaction, left: transaction.amount ?? 0, isDuplicate };
    if (this.#known.length < KNOWN_MAX) {
      this.#places.set(transaction.id, this.#known.push(known) - 1);
      return;
    }
    const place = transaction.id % KNOWN_MAX;
    this.#places.delete(this.#known[place]!.transaction.id);
    this.#known[place] = known;
    this.#places.set(transaction.id, place);
  }

  get(id: number): Known | undefined {
    const place = this.#places.get(id);
    return place === undefined ? undefined : this.#known[place];
  }

  remove(id: number): void {
    const place = this.#places.get(id);
    if (place === undefined) return;
    this.#places.delete(id);
    const last = this.#known.pop()!;
    if (last.transaction.id === id) return;
    this.#known[place] = last;
    this.#places.set(last.transaction.id, place);
  }

  /** One that is as `wanted`, looked for among some taken at random; undefined where none of these is. */
  pick(random: Random, wanted: (known: Known) => boolean = () => true): Known | undefined {
    for (let attempt = 0; attempt < 20 && this.#known.length > 0; attempt++) {
      const known = random.pick(this.#known);
      if (wanted(known)) return known;
    }
    return undefined;
  }

  /** A duplicate that nobody has undone, the latest first. */
  pickDuplicate(): Known | undefined {
    return this.#known.findLast(({ isDuplicate, left }) => isDuplicate && left > 0);
  }
}
