import { sleep } from '../../pipeline/backoff.js';
import { asWalhouseError } from '../../pipeline/errors.js';
import type { Log } from '../../pipeline/log.js';
import type { VerifyStatus } from '../status.js';
import type { Verified } from './verify.js';

/** The first round begins so long after the start, or after `every` where that is shorter. */
const FIRST_MS = 60_000;
/** How often it is looked whether a snapshot has begun. */
const LOOK_MS = 500;
/** A timer cannot be set for longer than 24 days. */
const WAIT_MS_MAX = 3_600_000;
/** A table that was given up for a snapshot so often waits for the next round. */
const TRIES_MAX = 3;

export interface BackgroundVerifyOptions {
  /** null: only what is asked for. */
  readonly everyMs: number | null;
  readonly tables: readonly string[];
  /** Compares one table and the marts that it feeds. Ends soon after `signal`. */
  readonly verify: (table: string, signal: AbortSignal) => Promise<Verified>;
  /** Whether everything streams and nothing is, or waits to be, snapshotted. */
  readonly isFree: () => boolean;
  readonly log: Log;
  readonly now?: () => number;
}

const NEVER_COMPARED: VerifyStatus = {
  at: null,
  position: null,
  verdict: 'not_compared',
  differences: null,
  complete: true,
  pending: false,
  error: null,
};

/**
 * Verifies one table after another, again and again, and at once those that somebody asks for, for as long as nothing else wants the source:
 * a snapshot that begins has the comparison given up at once. It only tells: what differs is in status, the metrics and the log, with
 * what to type.
 */
export class BackgroundVerify {
  readonly results = new Map<string, VerifyStatus>();
  readonly #options: BackgroundVerifyOptions;
  readonly #now: () => number;
  readonly #closing = new AbortController();
  /** In the order in which they were asked for. */
  readonly #asked = new Set<string>();
  #wake = new AbortController();
  #running: Promise<void> | null = null;

  constructor(options: BackgroundVerifyOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  start(): void {
    this.#running ??= this.#rounds();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  /** Has these tables compared before all others. */
  ask(tables: readonly string[]): void {
    for (const table of tables) {
      this.#asked.add(table);
      this.#pending(table, true);
    }
    this.#wake.abort();
  }

  async #rounds(): Promise<void> {
    const { everyMs, tables, log } = this.#options;
    let nextAtMs = everyMs === null ? Number.POSITIVE_INFINITY : this.#now() + Math.min(FIRST_MS, everyMs);
    while (await this.#untilDue(nextAtMs)) {
      await this.#theAsked();
      const startedAtMs = this.#now();
      if (everyMs === null || startedAtMs < nextAtMs) continue;
      for (const table of tables) {
        if (this.#closing.signal.aborted) return;
        await this.#table(table);
        await this.#theAsked();
      }
      log.debug({ tables: tables.length, tookMs: this.#now() - startedAtMs }, 'every table was verified');
      nextAtMs = startedAtMs + everyMs;
    }
  }

  /** False once it is to end. */
  async #untilDue(atMs: number): Promise<boolean> {
    const { signal } = this.#closing;
    while (!signal.aborted && this.#asked.size === 0 && this.#now() < atMs) {
      this.#wake = new AbortController();
      const waitMs = Math.min(atMs - this.#now(), WAIT_MS_MAX);
      await sleep(waitMs, AbortSignal.any([signal, this.#wake.signal]));
    }
    return !signal.aborted;
  }

  async #theAsked(): Promise<void> {
    for (const table of this.#asked) {
      if (this.#closing.signal.aborted) return;
      await this.#table(table);
      this.#asked.delete(table);
    }
  }

  async #table(table: string): Promise<void> {
    this.#pending(table, true);
    await this.#compare(table);
    this.#pending(table, false);
  }

  #pending(table: string, pending: boolean): void {
    const before = this.results.get(table);
    // One that was never come to is as unknown as before.
    if (!pending && before?.verdict === 'not_compared' && before.error === null) this.results.delete(table);
    else this.results.set(table, { ...(before ?? NEVER_COMPARED), pending });
  }

  async #compare(table: string): Promise<void> {
    const { isFree, verify, log } = this.#options;
    for (let tries = 1; tries <= TRIES_MAX; tries += 1) {
      while (!isFree()) {
        if (this.#closing.signal.aborted) return;
        await sleep(LOOK_MS, this.#closing.signal);
      }
      const giveUp = new AbortController();
      const signal = AbortSignal.any([giveUp.signal, this.#closing.signal]);
      const watch = setInterval(() => {
        if (!isFree()) giveUp.abort();
      }, LOOK_MS);
      try {
        const verifying = verify(table, signal);
        // A statement that has begun ends by itself, and is not waited for.
        verifying.catch(() => undefined);
        this.#tell(table, await Promise.race([verifying, whenAborted(signal)]));
        return;
      } catch (cause) {
        if (this.#closing.signal.aborted) return;
        if (giveUp.signal.aborted) continue;
        const { kind, what, why, fix } = asWalhouseError(cause);
        this.#notCompared(table, { kind, what, why, fix });
        return;
      } finally {
        clearInterval(watch);
      }
    }
    log.info({ table }, 'it was not verified: snapshots came before it');
  }

  #tell(table: string, { report, tables: [verified] }: Verified): void {
    const rows = verified!.report;
    const failed = rows.error ?? report.marts.find(({ error }) => error !== null)?.error ?? null;
    if (failed !== null) {
      this.#notCompared(table, failed);
      return;
    }
    const inMarts = report.marts.reduce((sum, mart) => sum + mart.missing + mart.extra + mart.different, 0);
    const differences = rows.missing + rows.extra + rows.different + inMarts;
    const isDifferent = rows.verdict === 'different' || inMarts > 0;
    this.results.set(table, {
      at: new Date(this.#now()).toISOString(),
      position: rows.position,
      verdict: isDifferent ? 'different' : rows.verdict,
      differences,
      complete: rows.complete,
      pending: true,
      error: null,
    });
    const { missing, extra, different, position, seconds } = rows;
    const fields = { table, position, missing, extra, different, inMarts, seconds };
    if (!isDifferent) this.#options.log.info(fields, 'verified');
    else {
      this.#options.log.error(
        fields,
        `drift: ${rows.complete ? '' : 'at least '}${differences} rows of ${table} and its marts are not as the source has them. Fix: walhouse verify ${quoted(table)} --repair`,
      );
    }
  }

  /** What was known before stays, with why nothing newer is. */
  #notCompared(table: string, error: NonNullable<VerifyStatus['error']>): void {
    const before = this.results.get(table) ?? NEVER_COMPARED;
    this.results.set(table, { ...before, verdict: 'not_compared', error });
    this.#options.log.warn({ table, kind: error.kind }, `not verified: ${error.what} Fix: ${error.fix}`);
  }
}

function whenAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const give = (): void => reject(new Error('given up'));
    if (signal.aborted) give();
    else signal.addEventListener('abort', give, { once: true });
  });
}

/** As a shell takes it. */
function quoted(table: string): string {
  return /^[\w.]+$/.test(table) ? table : `'${table.replaceAll("'", `'\\''`)}'`;
}
