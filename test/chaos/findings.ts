/** What was found to be otherwise than promised, and how often what was done. */
export class Findings {
  readonly startedAt = performance.now();
  readonly violations: string[] = [];
  readonly steps: string[] = [];
  readonly #counts = new Map<string, number>();
  readonly #tell: (line: string) => void;
  readonly #broken = new AbortController();

  readonly #verbose: boolean;

  /** `verbose`: every note is told. */
  constructor(tell: (line: string) => void, verbose: boolean) {
    this.#tell = tell;
    this.#verbose = verbose;
  }

  /** Aborted at the first violation. */
  get broken(): AbortSignal {
    return this.#broken.signal;
  }

  count(what: string, times = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + times);
  }

  counted(what: string): number {
    return this.#counts.get(what) ?? 0;
  }

  /** Counts whose name begins with `prefix:`, by the rest of the name, most frequent first. */
  countsOf(prefix: string): [string, number][] {
    return [...this.#counts]
      .filter(([name]) => name.startsWith(`${prefix}:`))
      .map(([name, count]): [string, number] => [name.slice(prefix.length + 1), count])
      .sort(([, a], [, b]) => b - a);
  }

  /** Keeps what was done and when, for whoever has to understand a violation. */
  note(line: string): void {
    this.steps.push(`${this.at()} ${line}`);
    if (this.#verbose) this.#tell(`${this.at()} ${line}`);
  }

  tell(line: string): void {
    this.note(line);
    if (!this.#verbose) this.#tell(line);
  }

  violation(text: string): void {
    if (this.violations.length < VIOLATIONS_MAX) {
      this.violations.push(`${this.at()} ${text}`);
      this.tell(`VIOLATION ${text}`);
    }
    this.#broken.abort();
  }

  at(): string {
    return `${((performance.now() - this.startedAt) / 1000).toFixed(2).padStart(7)} s`;
  }
}

/** The first tell most; the rest are its echo. */
const VIOLATIONS_MAX = 20;
