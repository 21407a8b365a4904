import pg from 'pg';
import { expect } from 'vitest';
import { compareRisk, type RiskDifference } from '../../src/ops/compare/risk.js';
import type { Scenario } from '../support/scenario.js';
import { MERCHANTS, type Event, type Question, type Transaction } from './payment-events.js';
import { merchantId, merchantsSql, sqlOf, timestamp, type Stage } from './payment-sql.js';

/** Lanes are dealt out to so many connections, so that transactions overlap. */
const CONNECTIONS = 3;
/** A baseline costs a comparison of every merchant with every other. */
const BASELINE_MERCHANTS_MAX = 60;
const ALONE_MAX = 2;
/** Beyond what a double holds exactly. */
const FIRST_ID = 9_007_199_254_740_993n;

/** Where the two sides first said different things. */
export interface Failure {
  /** How many stops were made before it. */
  readonly stop: number;
  readonly question: Question;
  /** The window's end. */
  readonly at: string;
  readonly lanes: readonly number[];
  readonly differences: readonly RiskDifference[];
}

/** Runs lists of events against one source and one service, and asks both sides at each stop. */
export class PaymentWorld {
  readonly #scenario: Scenario;
  readonly #connections: readonly pg.Client[];
  #first = FIRST_ID;
  /** Answers compared so far, and how many of them were of merchants with payments in the window. */
  compared = 0;
  withPayments = 0;

  private constructor(scenario: Scenario, connections: readonly pg.Client[]) {
    this.#scenario = scenario;
    this.#connections = connections;
  }

  /** The scenario's service has to run. */
  static async open(scenario: Scenario): Promise<PaymentWorld> {
    const connections = Array.from(
      { length: CONNECTIONS },
      () => new pg.Client({ connectionString: scenario.databases.postgresUrl }),
    );
    await Promise.all(connections.map((connection) => connection.connect()));
    return new PaymentWorld(scenario, connections);
  }

  async close(): Promise<void> {
    await Promise.all(this.#connections.map((connection) => connection.end()));
  }

  /** From an empty source and with ids of its own, so that nothing that went wrong before is in the way. */
  async run(events: readonly Event[]): Promise<Failure | null> {
    await this.#scenario.applied();
    const lanes = 1 + Math.max(0, ...events.map((event) => (event.kind === 'transaction' ? event.lane : 0)));
    const stage: Stage = { first: this.#first, now: BigInt(Date.now()) * 1000n };
    this.#first += BigInt(lanes * MERCHANTS);
    await this.#client.query(`truncate payments, merchants; ${merchantsSql(stage, lanes)}`);
    if (events.some((event) => event.kind === 'service' && event.what === 'replay'))
      await this.#scenario.rememberPlace();
    let service: Promise<void> = Promise.resolve();
    let waiting: Transaction[] = [];
    let stops = 0;
    const perform = async () => {
      const transactions = waiting;
      waiting = [];
      await this.#perform(stage, transactions);
    };
    for (const event of events) {
      if (event.kind === 'transaction') {
        // What comes before and after a truncate does so in every run.
        const alone = event.operations.some(({ op }) => op === 'truncate');
        if (alone) await perform();
        waiting.push(event);
        if (alone) await perform();
        continue;
      }
      await perform();
      await service;
      if (event.kind === 'service') {
        service = this.#happen(event.what);
        // It is heard of where it is waited for.
        service.catch(() => undefined);
        continue;
      }
      const failure = await this.#stop(stage, lanes, event.questions);
      if (failure !== null) return { stop: stops, ...failure };
      stops += 1;
    }
    await perform();
    await service;
    return null;
  }

  get #client(): pg.Client {
    return this.#connections[0]!;
  }

  async #perform(stage: Stage, transactions: readonly Transaction[]): Promise<void> {
    await Promise.all(
      this.#connections.map(async (connection, index) => {
        for (const transaction of transactions)
          if (transaction.lane % CONNECTIONS === index) await connection.query(sqlOf(stage, transaction));
      }),
    );
  }

  async #happen(what: Extract<Event, { kind: 'service' }>['what']): Promise<void> {
    const { walhouse } = this.#scenario;
    // A service that has only begun to start can be killed, and nothing else.
    if (what !== 'kill') await this.#scenario.applied();
    switch (what) {
      case 'restart':
        expect(await walhouse.stop()).toBe(0);
        return walhouse.start();
      case 'kill':
        await walhouse.kill();
        return walhouse.start();
      case 'replay':
        return this.#scenario.deliverAgain();
      case 'resync': {
        const response = await fetch(`${walhouse.url}/v1/tables/public.payments/resync`, { method: 'POST' });
        expect(response.status, await response.text()).toBe(202);
      }
    }
  }

  async #stop(
    stage: Stage,
    lanes: number,
    questions: readonly Question[],
  ): Promise<Omit<Failure, 'stop'> | null> {
    const minLsn = await this.#scenario.applied();
    const ids = Array.from({ length: lanes * MERCHANTS }, (_, index) => merchantId(stage, 0, index));
    for (const question of questions) {
      const from = question.baseline === true ? Math.max(0, ids.length - BASELINE_MERCHANTS_MAX) : 0;
      const found = await compareRisk({
        apiUrl: this.#scenario.walhouse.url,
        postgres: this.#client,
        merchantIds: ids.slice(from),
        at: question.end === null ? null : timestamp(stage, question.end),
        question,
        minLsn,
        aloneMax: ALONE_MAX,
      });
      this.compared += found.compared + found.comparedAlone;
      this.withPayments += found.withPayments;
      if (found.equal) continue;
      const wrong = found.differences.map(
        ({ merchantId: id }) => (BigInt(id) - stage.first) / BigInt(MERCHANTS),
      );
      return {
        question,
        at: found.at,
        lanes: [...new Set(wrong.map(Number))],
        differences: found.differences,
      };
    }
    return null;
  }
}
