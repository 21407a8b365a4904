import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../../src/dev/random.js';
import { formatLsn, lsnFrom, type Lsn } from '../../src/pipeline/lsn.js';
import { NEVER } from './rows.js';
import { COUNTER_MERCHANT, POOL_MERCHANTS, type PoolSums, type Transfers } from './transfers.js';
import { DATABASE, type World } from './world.js';

/** What a caller of the API waits at most; a process that stands still answers nobody. */
const ANSWER_MS_MAX = 20_000;

interface Numbers {
  readonly count: number;
  readonly amount: string;
}
interface Answer {
  readonly as_of: { readonly lsn: string };
  readonly merchants: readonly {
    readonly merchant_id: string;
    readonly found: boolean;
    readonly rejected: Numbers;
    readonly total: Numbers;
  }[];
}

/** Callers that ask all the time, and can tell each answer right or wrong. */
export class Readers {
  readonly #world: World;
  readonly #transfers: Transfers;
  readonly #random: Random;
  #seen = 0;

  constructor(world: World, transfers: Transfers, seed: number) {
    this.#world = world;
    this.#transfers = transfers;
    this.#random = new Random(seed, 41);
  }

  /** Until `signal`; resolves when all have stopped. */
  async run(signal: AbortSignal): Promise<void> {
    const loop = async (everyMs: number, ask: () => Promise<void>): Promise<void> => {
      while (!signal.aborted) {
        await ask();
        await sleep(everyMs, undefined, { signal }).catch(() => undefined);
      }
    };
    await Promise.all([
      loop(60, () => this.askRisk('newest')),
      loop(90, () => this.askRisk(this.#random.pick(['newest', 'at', 'old', 'own'] as const))),
      loop(200, () => this.#readViews()),
      loop(250, () => this.#readMark()),
    ]);
  }

  /**
   * The pool's merchants in one question. `own`: from the position of our own newest commit on; `at`: for the window that ended when the
   * run began; `old`: for one that the mart does not reach.
   */
  async askRisk(how: 'newest' | 'at' | 'old' | 'own'): Promise<void> {
    const { findings, live } = this.#world;
    if (live.length === 0) return;
    const instance = this.#random.pick(live);
    const own = this.#transfers.n;
    const minLsn = how === 'own' ? this.#transfers.afterOf(own) : null;
    const query = new URLSearchParams();
    if (how === 'at') query.set('at', this.#transfers.startAt.toISOString());
    if (how === 'old') query.set('at', this.#transfers.oldAt.toISOString());
    if (minLsn !== null) {
      query.set('min_lsn', formatLsn(minLsn));
      query.set('wait_ms', '2000');
    }
    let answer: { status: number; type: string; text: string };
    try {
      const response = await fetch(`${instance.walhouse.url}/v1/merchants/risk?${query.toString()}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ merchant_ids: [...POOL_MERCHANTS, COUNTER_MERCHANT].map(String) }),
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
      });
      answer = {
        status: response.status,
        type: response.headers.get('content-type') ?? '',
        text: await response.text(),
      };
    } catch {
      // Nobody listens, or who did is gone.
      findings.count('answer:none');
      return;
    }
    if (answer.status === 503) {
      findings.count('answer:503');
      const why = whyNoProblem(answer.type, answer.text);
      if (why !== null) findings.violation(`a 503 of ${instance.name} ${why}: ${answer.text}`);
      return;
    }
    if (answer.status !== 200) {
      findings.violation(`${instance.name} answered ${answer.status}: ${answer.text}`);
      return;
    }
    findings.count(`answer:200 (${how})`);
    this.#judge(instance.name, how, JSON.parse(answer.text) as Answer, minLsn, own);
  }

  #judge(who: string, how: string, answer: Answer, minLsn: Lsn | null, own: number): void {
    const { findings } = this.#world;
    const lsn = lsnFrom(answer.as_of.lsn);
    const wrong = (what: string): void =>
      findings.violation(
        `${who}, asked ${how}, ${what}; the answer states ${answer.as_of.lsn}: ${JSON.stringify(answer.merchants)}`,
      );
    const pool = answer.merchants.filter(({ merchant_id: id }) => id !== String(COUNTER_MERCHANT));
    const counter = answer.merchants.find(({ merchant_id: id }) => id === String(COUNTER_MERCHANT));
    if (answer.merchants.some(({ found }) => !found) || counter === undefined) {
      wrong('does not know a merchant that there is');
      return;
    }
    const expected = this.#transfers.sums(how === 'old' ? 'old' : 'new');
    const sums = addUp(pool);
    if (
      sums.count !== expected.count ||
      sums.rejected !== expected.rejected ||
      sums.amount !== expected.amount
    ) {
      wrong(
        `sees a transaction in part: together ${JSON.stringify(sums)}, always ${JSON.stringify(expected)}`,
      );
    }
    if (minLsn !== null && lsn < minLsn)
      wrong(`states a position before ${formatLsn(minLsn)}, which was asked for`);
    if (how === 'old') return;
    if (counter.total.count !== 1) {
      wrong('sees the one payment of the counting merchant not once');
      return;
    }
    const n = Math.round(Number(counter.total.amount) * 100);
    if (minLsn !== null && n < own)
      wrong(`does not see transaction ${own}, which was committed before it was asked`);
    const why = this.#transfers.whyWrong(n, lsn);
    if (why !== null) wrong(`is not what was there: ${why}`);
  }

  /** What views promise at any moment: no key twice, nothing that was never committed, nothing less than there was. */
  async #readViews(): Promise<void> {
    const { findings } = this.#world;
    try {
      const [row] = await this.#world.ask<{ docs: string; twice: string; never: string; bodies: string }>(
        `select (select count() from ${DATABASE}.docs where id <= 200) as docs,
                (select count() - uniqExact(id) from ${DATABASE}.docs) as twice,
                (select count() from ${DATABASE}.ledger where note = '${NEVER}') as never`,
      );
      findings.count('view read');
      if (row!.docs !== '200')
        findings.violation(`the view of docs shows ${row!.docs} of 200 rows that are never deleted`);
      if (row!.twice !== '0') findings.violation(`the view of docs shows ${row!.twice} keys twice`);
      if (row!.never !== '0')
        findings.violation(`the view of ledger shows ${row!.never} rows that were never committed`);
    } catch (error) {
      this.#excuse(error);
    }
  }

  /** A row that only grows: views never go back, and have at least what the service says is applied. */
  async #readMark(): Promise<void> {
    const { findings } = this.#world;
    const own = this.#transfers.n;
    const after = this.#transfers.afterOf(own);
    const status = await this.#world.status();
    const applied = status?.document.applied_lsn ?? null;
    const least = applied !== null && after !== null && lsnFrom(applied) >= after ? own : 0;
    try {
      const before = this.#seen;
      const rows = await this.#world.ask<{ n: string }>(`select n from ${DATABASE}.marks where id = 1`);
      findings.count('mark read');
      if (rows.length !== 1) {
        findings.violation(`the view of marks shows its one row ${rows.length} times`);
        return;
      }
      const n = Number(rows[0]!.n);
      if (n < least)
        findings.violation(
          `${applied} is said to be applied, and the view of marks shows ${n} where ${least} was committed before it`,
        );
      if (n < before) findings.violation(`the view of marks went back from ${before} to ${n}`);
      this.#seen = Math.max(this.#seen, n);
    } catch (error) {
      this.#excuse(error);
    }
  }

  /** ClickHouse may be away, and before the first snapshot there are no views. Anything else that it says is no excuse. */
  #excuse(error: unknown): void {
    const text = error instanceof Error ? error.message : String(error);
    const away = /fetch failed|terminated|other side closed|socket|aborted/i.test(text);
    if (away) this.#world.findings.count('answer:ClickHouse away');
    else this.#world.findings.violation(`reading a view: ${text.slice(0, 500)}`);
  }
}

function whyNoProblem(type: string, text: string): string | null {
  if (!type.startsWith('application/problem+json')) return `is ${type}, not a problem document`;
  const problem = JSON.parse(text) as { fix?: unknown; status?: unknown };
  return typeof problem.fix === 'string' && problem.fix !== '' ? null : 'has no fix';
}

function addUp(merchants: Answer['merchants']): PoolSums {
  let [count, rejected, cents] = [0, 0, 0n];
  for (const merchant of merchants) {
    count += merchant.total.count;
    rejected += merchant.rejected.count;
    cents += BigInt(merchant.total.amount.replace('.', ''));
  }
  const text = cents.toString().padStart(3, '0');
  return { count, rejected, amount: `${text.slice(0, -2)}.${text.slice(-2)}` };
}
