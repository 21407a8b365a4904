/**
 * A time in phases. What is done `within` one, whole, may be done beside other such things and inside them; the phase changes when none of
 * it is under way.
 */
export class Phases {
  #within = 0;
  #change: Promise<unknown> | null = null;
  #ended: (() => void)[] = [];

  async within<T>(work: () => Promise<T>): Promise<T> {
    // Not a moment lies between the last look and the count.
    while (this.#change !== null) await this.#change;
    this.#within += 1;
    try {
      return await work();
    } finally {
      this.#within -= 1;
      if (this.#within === 0) for (const resolve of this.#ended.splice(0)) resolve();
    }
  }

  /** Changes come one after the other. */
  async change(work: () => Promise<void>): Promise<void> {
    while (this.#within > 0 || this.#change !== null) {
      if (this.#change !== null) await this.#change;
      else await new Promise<void>((resolve) => this.#ended.push(resolve));
    }
    const change = work();
    this.#change = change.catch(() => undefined).finally(() => (this.#change = null));
    await change;
  }

  /** Resolves when no change is under way. */
  async settled(): Promise<void> {
    while (this.#change !== null) await this.#change;
  }
}
