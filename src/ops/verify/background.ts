import { sleep } from '../../pipeline/backoff.js';
import { asWalhouseError } from '../../pipeline/errors.js';
import type { Log } from '../../pipeline/log.js';
import type { VerifyStatus } from '../status.js';
import type { Verified } from './verify.js';

/** The first round begins so long after the start, or after `every` where that is shorter. */
const FIRST_MS = 60_000;
/** How often it is looked whether a snapshot has begun. */
const LOOK_MS = 500;
/** A table that was given up for a snapshot so often waits for the next round. */
const TRIES_MAX = 3;

export interface BackgroundVerifyOptions {
  readonly everyMs: number;
  readonly tables: readonly string[];
  /** Compares one table and the marts that it feeds. Ends soon after `signal`. */
  readonly verify: (table: string, signal: AbortSignal) => Promise<Verified>;
  /** Whether everything streams and nothing is, or waits to be, snapshotted. */
  readonly isFree: () => boolean;
  readonly log: Log;
  readonly now?: () => number;
}

/**
 * Verifies one table after another, again and again, for as long as nothing else wants the source: a snapshot that begins has the
 * comparison given up at once. It only tells: what differs is in status, the metrics and the log, with what to type.
 */
export class BackgroundVerify {
  readonly results = new Map<string, VerifyStatus>();
  readonly #options: BackgroundVerifyOptions;
  readonly #now: () => number;
  readonly #closing = new AbortController();
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

  async #rounds(): Promise<void> {
    const { everyMs, tables, log } = this.#options;
    const { signal } = this.#closing;
    await sleep(Math.min(FIRST_MS, everyMs), signal);
    while (!signal.aborted) {
      const startedAtMs = this.#now();
      for (const table of tables) {
        if (signal.aborted) return;
        await this.#table(table);
      }
      const tookMs = this.#now() - startedAtMs;
      log.debug({ tables: tables.length, tookMs }, 'every table was verified');
      await sleep(Math.max(0, everyMs - tookMs), signal);
    }
  }

  async #table(table: string): Promise<void> {
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
    const before = this.results.get(table);
    this.results.set(table, {
      at: before?.at ?? null,
      position: before?.position ?? null,
      verdict: 'not_compared',
      differences: before?.differences ?? null,
      complete: before?.complete ?? true,
      error,
    });
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
