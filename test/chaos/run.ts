import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPaymentsTraffic } from '../../src/dev/payments/generator.js';
import type { LiveTraffic } from '../../src/dev/traffic.js';
import { silentLog } from '../../src/pipeline/log.js';
import { Findings } from './findings.js';
import { inspect } from './inspection.js';
import { describe, LANES, Plan, type Lane, type Round } from './plan.js';
import { Readers } from './readers.js';
import { RowsWriter } from './rows.js';
import { Hand } from './steps.js';
import { Transfers } from './transfers.js';
import { World } from './world.js';

export interface ChaosOptions {
  readonly seed: number;
  /** When this is over no further round begins. */
  readonly minutes: number;
  readonly decoder: 'wal2json' | 'pgoutput' | 'auto';
  readonly tell: (line: string) => void;
  /** Tells every step as it is done. */
  readonly verbose: boolean;
  readonly signal: AbortSignal;
}

export interface ChaosResult {
  readonly findings: Findings;
  readonly seconds: number;
  readonly rounds: number;
  readonly decoder: 'wal2json' | 'pgoutput';
  readonly transactions: number;
  /** Where everything is that one needs to understand a violation; null where nothing is left. */
  readonly kept: string | null;
}

const INITIAL = { merchants: 120, payments: 8_000, days: 60 };
const TRAFFIC_PER_SECOND = 60;
const TRANSFER_EVERY_MS = 25;
const ROWS_EVERY_MS = 40;
const ROWS_WRITERS = 2;
const CONSISTENT_MS_MAX = 90_000;

/** Rounds of breaking everything, each ended by a comparison of everything, until the time is over or something is wrong. */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const { seed, tell } = options;
  const findings = new Findings(tell, options.verbose);
  const dir = mkdtempSync(join(tmpdir(), 'walhouse-chaos-'));
  // Postgres does not run as root, and has to get in.
  chmodSync(dir, 0o711);
  const from = performance.now();
  let rounds = 0;
  let transactions = 0;
  let world: World | null = null;
  try {
    world = await World.open({ dir, decoder: options.decoder, seed, findings });
    tell(
      `seed ${seed}, ${world.decoder}, Postgres ${world.postgres.version}, ClickHouse ${world.clickhouse.version}`,
    );
    const run = new Run(world, seed);
    transactions = await run.go(from + options.minutes * 60_000, options.signal, () => (rounds += 1));
  } catch (error) {
    findings.violation(`the run itself failed: ${error instanceof Error ? error.stack : String(error)}`);
  }
  const bad = findings.violations.length > 0;
  if (bad && world !== null) keep(dir, world, findings);
  await world?.close().catch((error: unknown) => findings.note(`closing: ${String(error)}`));
  if (!bad) rmSync(dir, { recursive: true, force: true });
  return {
    findings,
    seconds: Math.round((performance.now() - from) / 1000),
    rounds,
    decoder: world?.decoder ?? 'pgoutput',
    transactions,
    kept: bad ? dir : null,
  };
}

class Run {
  readonly #world: World;
  readonly #plan: Plan;
  readonly #hand: Hand;
  readonly #transfers: Transfers;
  readonly #readers: Readers;
  readonly #writers: RowsWriter[];
  readonly #traffic: LiveTraffic;

  constructor(world: World, seed: number) {
    this.#world = world;
    this.#plan = new Plan(seed);
    this.#hand = new Hand(world);
    this.#transfers = new Transfers(world, seed);
    this.#readers = new Readers(world, this.#transfers, seed);
    this.#writers = Array.from({ length: ROWS_WRITERS }, (_, place) => new RowsWriter(world, seed, place));
    this.#traffic = createPaymentsTraffic({
      url: world.postgres.url,
      seed,
      ratePerSecond: TRAFFIC_PER_SECOND,
      log: silentLog,
      initial: INITIAL,
    }).traffic;
  }

  /** Resolves to the number of source transactions that were made. */
  async go(endAtMs: number, signal: AbortSignal, onRound: () => void): Promise<number> {
    const { findings } = this.#world;
    await this.#traffic.load();
    await this.#transfers.load();
    await this.#traffic.start();
    const reading = new AbortController();
    let readers: Promise<void> = Promise.resolve();
    try {
      for (;;) {
        const round = this.#plan.nextRound();
        if (round.index === 0) await this.#begin(round);
        if (findings.broken.aborted) break;
        if (round.index === 0)
          readers = this.#readers.run(AbortSignal.any([reading.signal, findings.broken]));
        await this.#round(round);
        if (findings.broken.aborted) break;
        onRound();
        if (performance.now() >= endAtMs || signal.aborted) break;
        this.#traffic.resume();
      }
      reading.abort();
      await readers;
      if (!findings.broken.aborted) await this.#leave();
    } finally {
      reading.abort();
      await readers;
      for (const writer of [this.#transfers, ...this.#writers]) await writer.close();
      this.#traffic.resume();
    }
    const report = await this.#traffic.stop();
    return (
      report.transactions +
      this.#transfers.n +
      this.#writers.reduce((sum, writer) => sum + writer.transactions, 0)
    );
  }

  /** The first snapshot, under the payments' traffic, with a death in it where the plan says so. */
  async #begin(round: Round): Promise<void> {
    const { active, findings } = this.#world;
    const point = round.firstFailpoint;
    if (point !== null) {
      findings.tell(`first start, to die at ${point.name}, pass ${point.passes}`);
      await active.start(`${point.name}:${point.passes}`);
      findings.count((await active.died(15_000)) ? `died at:${point.name}` : 'failpoint not met');
      await active.kill();
    }
    await active.start();
    const until = performance.now() + CONSISTENT_MS_MAX;
    while (performance.now() < until && !findings.broken.aborted) {
      const document = (await this.#world.status())?.document;
      const tables = Object.values(document?.tables ?? {});
      // Until it streams itself it tells of what the one before it has left.
      if (document?.state === 'streaming' && tables.every(({ state }) => state === 'streaming')) return;
      await sleep(100);
    }
    findings.violation('the first snapshot was not complete in time');
  }

  async #round(round: Round): Promise<void> {
    const { findings } = this.#world;
    findings.tell(`round ${round.index + 1}`);
    const writing = new AbortController();
    const signal = AbortSignal.any([writing.signal, findings.broken]);
    const writers = [
      this.#write(() => this.#transfers.step(), TRANSFER_EVERY_MS, signal),
      ...this.#writers.map((writer) => this.#write(() => writer.step(), ROWS_EVERY_MS, signal)),
    ];
    await Promise.all(LANES.map((lane) => this.#lane(lane, round)));
    writing.abort();
    await Promise.all(writers);
    await this.#traffic.pause();
    if (findings.broken.aborted) return;
    await inspect(this.#world, this.#transfers, this.#hand.takeChanges(), this.#hand.lastChangeAtMs);
  }

  async #lane(lane: Lane, round: Round): Promise<void> {
    const { findings } = this.#world;
    for (const { afterMs, action } of round.lanes[lane]) {
      await sleep(afterMs, undefined, { signal: findings.broken }).catch(() => undefined);
      if (findings.broken.aborted) return;
      findings.count(`${lane}:${action.kind}`);
      const text = `${lane}: ${describe(action)}`;
      findings.note(text);
      try {
        await this.#hand.do(action);
        findings.note(`done: ${text}`);
      } catch (error) {
        findings.violation(
          `the run itself failed at ${text}: ${error instanceof Error ? error.stack : String(error)}`,
        );
      }
    }
  }

  async #write(step: () => Promise<void>, everyMs: number, signal: AbortSignal): Promise<void> {
    const { findings } = this.#world;
    try {
      while (!signal.aborted) {
        await step();
        await sleep(everyMs, undefined, { signal }).catch(() => undefined);
      }
    } catch (error) {
      findings.violation(
        `the run itself failed while writing: ${error instanceof Error ? error.stack : String(error)}`,
      );
    }
  }

  /** Everybody leaves cleanly, and nothing of them stays behind. */
  async #leave(): Promise<void> {
    const world = this.#world;
    for (const instance of world.live) await instance.terminate();
    // Longer than a server takes to notice that a link has gone silent.
    const deadline = performance.now() + 15_000;
    for (;;) {
      const { rows } = await world.withPostgres((client) =>
        client.query<{ what: string }>(
          `select backend_type || ' ' || coalesce(state, '') as what from pg_stat_activity where application_name = 'walhouse'
           union all select 'active slot ' || slot_name from pg_replication_slots where active`,
        ),
      );
      if (rows.length === 0) return;
      if (performance.now() > deadline) {
        world.findings.violation(`left behind at the end: ${rows.map(({ what }) => what).join(', ')}`);
        return;
      }
      await sleep(50);
    }
  }
}

function keep(dir: string, world: World, findings: Findings): void {
  mkdirSync(join(dir, 'report'), { recursive: true });
  writeFileSync(join(dir, 'report', 'steps.txt'), `${findings.steps.join('\n')}\n`);
  for (const { name, walhouse } of world.instances)
    writeFileSync(join(dir, 'report', `${name.replace(' ', '-')}.log`), walhouse.output);
}
