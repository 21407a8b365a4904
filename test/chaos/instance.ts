import { setTimeout as sleep } from 'node:timers/promises';
import { ERROR_POLICY } from '../../src/pipeline/errors.js';
import { Walhouse, type WalhouseOptions } from '../support/walhouse.js';
import type { Findings } from './findings.js';

/** How long after an end that it was not told to make the process is started again, as a supervisor would. */
const RESTART_MS = 300;
const LEAVE_MS_MAX = 35_000;

/** One `walhouse run`, kept running as a supervisor would keep it, unless a step says otherwise. */
export class Instance {
  readonly name: string;
  readonly walhouse: Walhouse;
  readonly #findings: Findings;
  #wanted = false;
  #ending = false;
  #armed = false;
  #from = 0;
  #life: Promise<void> = Promise.resolve();

  constructor(name: string, options: WalhouseOptions, findings: Findings) {
    this.name = name;
    this.walhouse = new Walhouse(options);
    this.#findings = findings;
  }

  /** Whether it is there to be asked. */
  get up(): boolean {
    return this.#wanted && !this.#ending;
  }

  async start(failpoint?: string): Promise<void> {
    await this.#life;
    this.#wanted = true;
    this.#ending = false;
    this.#armed = failpoint !== undefined;
    this.#from = this.walhouse.output.length;
    await this.walhouse.start(failpoint === undefined ? {} : { WALHOUSE_FAILPOINT: failpoint });
    this.#life = this.#watch();
  }

  async kill(): Promise<void> {
    this.#ending = true;
    this.#wanted = false;
    await this.walhouse.kill();
    await this.#life;
  }

  /** SIGTERM; it has to leave with exit code 0 in time. */
  async terminate(): Promise<void> {
    this.#ending = true;
    this.#wanted = false;
    const late = new AbortController();
    const code = await Promise.race([
      this.walhouse.stop(),
      sleep(LEAVE_MS_MAX, 'too late' as const, { signal: late.signal }).catch(() => 'too late' as const),
    ]);
    late.abort();
    // A process that was refused at its start at this very moment has its own code.
    const refused = code === 2 && this.#lastWords().policy === 'retry';
    // Before it listens it has taken on nothing, and ends as any process does.
    const early = code === 'SIGTERM' && !this.walhouse.output.slice(this.#from).includes('the API listens');
    if (code !== 0 && !refused && !early)
      this.#findings.violation(
        `${this.name} left after SIGTERM with ${String(code)}: ${this.#lastWords().text}`,
      );
    if (code === 'too late') await this.walhouse.kill();
    await this.#life;
  }

  async suspend(forMs: number): Promise<void> {
    const { pid } = this.walhouse;
    if (pid === undefined || !this.up) return;
    try {
      process.kill(pid, 'SIGSTOP');
      await sleep(forMs);
      process.kill(pid, 'SIGCONT');
    } catch {
      // It has ended meanwhile.
    }
  }

  /** Waits for the failpoint that it was started with; false when it was not met in time. */
  async died(withinMs: number): Promise<boolean> {
    const patience = new AbortController();
    const died = await Promise.race([
      this.#life.then(() => true),
      sleep(withinMs, false, { signal: patience.signal }).catch(() => false),
    ]);
    patience.abort();
    return died;
  }

  /** Waits until the failpoint that it was started with has stopped it; false when it was not met in time. */
  async asleep(withinMs: number): Promise<boolean> {
    const until = performance.now() + withinMs;
    while (performance.now() < until && !this.#findings.broken.aborted) {
      if (this.#stateInKernel() === 'T') return true;
      await sleep(50);
    }
    return false;
  }

  /** Empty where the process has just ended. */
  #stateInKernel(): string {
    try {
      return this.walhouse.stateInKernel();
    } catch {
      return '';
    }
  }

  wake(): void {
    this.walhouse.signal('SIGCONT');
  }

  /** Looks at what this run has logged so far for what must never be there. */
  inspectLog(): void {
    const { output } = this.walhouse;
    const bad = output
      .slice(this.#from)
      .split('\n')
      .find((line) => /"kind":"internal"|mistake of our own|UnhandledPromise|Unhandled 'error'/.test(line));
    if (bad !== undefined) this.#findings.violation(`${this.name} logged ${bad.slice(0, 2_000)}`);
  }

  async close(): Promise<void> {
    this.#ending = true;
    this.#wanted = false;
    await this.walhouse.close();
    await this.#life;
  }

  async #watch(): Promise<void> {
    for (;;) {
      const how = await this.walhouse.ended();
      this.inspectLog();
      if (this.#stopped()) return;
      if (how === 'SIGKILL' && this.#armed) return;
      const { policy, kind, text } = this.#lastWords();
      if (how !== 2 || policy !== 'retry') {
        this.#findings.violation(`${this.name} ended by itself with ${String(how)}: ${text}`);
        return;
      }
      // At its first contact it says what is wrong and leaves; who started it starts it again.
      this.#findings.count(`refused:${kind}`);
      await sleep(RESTART_MS);
      if (this.#stopped()) return;
      this.#from = this.walhouse.output.length;
      await this.walhouse.start();
      if (this.#stopped()) {
        await this.walhouse.kill();
        return;
      }
    }
  }

  /** Asked anew after every wait. */
  #stopped(): boolean {
    return this.#ending;
  }

  #lastWords(): { kind: string; policy: string | undefined; text: string } {
    const lines = this.walhouse.output.slice(this.#from).trim().split('\n');
    for (const line of lines.toReversed()) {
      const kind = /^([a-z_]+): /.exec(line)?.[1];
      if (kind !== undefined && Object.hasOwn(ERROR_POLICY, kind))
        return { kind, policy: ERROR_POLICY[kind as keyof typeof ERROR_POLICY], text: line };
    }
    return { kind: '', policy: undefined, text: lines.slice(-6).join('\n') };
  }
}
