import type { Span } from '../pipeline/tracer.js';
import { deadlineProblem } from './clickhouse-failure.js';
import { Problem } from './problem.js';
import type { RiskCost, RiskQuestion, RiskReader, RiskResult } from './risk.js';

/** One kind of work with a bound of its own, so that slow questions do not stand before quick ones. */
export type Lane = 'now' | 'at' | 'bulk' | 'pass' | 'landing';

export interface CoalesceLimits {
  /** Queries at once, by lane. */
  readonly queries: Readonly<Record<Lane, number>>;
  /** Merchants in one shared query; a look-up with more has a query of its own. */
  readonly idsPerQuery: number;
  /** Look-ups that may wait in one lane; more are refused at once. */
  readonly waitingMax: number;
  /** From question to answer, waiting included, by what is read. */
  readonly deadlineMs: Readonly<Record<RiskCost, number>>;
}

export const COALESCE_LIMITS: CoalesceLimits = {
  queries: { now: 2, at: 2, bulk: 1, pass: 1, landing: 1 },
  idsPerQuery: 64,
  waitingMax: 2000,
  // Whoever reads the marts has to be done before a new copy takes their place (`QUESTION_MS`).
  deadlineMs: { mart: 2500, pass: 2500, landing: 6000 },
};

/** Told of each query that ends: for metrics. */
export type QueryObserver = (lane: Lane, lookups: number, ok: boolean) => void;

interface Lookup {
  readonly ids: readonly bigint[];
  readonly span: Span | null;
  readonly settle: (outcome: { result: RiskResult } | { error: unknown }) => void;
}

interface Group {
  readonly question: RiskQuestion;
  readonly ids: Set<bigint>;
  readonly lookups: Set<Lookup>;
  readonly abort: AbortController;
}

interface LaneState {
  readonly name: Lane;
  running: number;
  waiting: number;
  readonly queue: Group[];
  /** The last group of each question, which others may still join: none of them has been sent. */
  readonly open: Map<string, Group>;
}

/**
 * Lets concurrent look-ups share queries, with no timer: while a query may go out, a look-up goes at once and alone; while none
 * may, look-ups gather, and the next query takes them all. So one caller pays nothing, and many pay for few queries.
 *
 * A group's position is taken when it is sent, and nobody joins it afterwards; so an answer is never older than its question.
 */
export class Coalescer {
  readonly #reader: RiskReader;
  readonly #limits: CoalesceLimits;
  readonly #observe: QueryObserver;
  readonly #lanes: Readonly<Record<Lane, LaneState>>;

  constructor(
    reader: RiskReader,
    limits: CoalesceLimits = COALESCE_LIMITS,
    observe: QueryObserver = () => {},
  ) {
    this.#reader = reader;
    this.#limits = limits;
    this.#observe = observe;
    this.#lanes = {
      now: lane('now'),
      at: lane('at'),
      bulk: lane('bulk'),
      pass: lane('pass'),
      landing: lane('landing'),
    };
  }

  /** Look-ups that wait for their query to be sent. */
  get waiting(): number {
    return Object.values(this.#lanes).reduce((sum, state) => sum + state.waiting, 0);
  }

  /**
   * Like `RiskReader.read`, and bounded: rejects with a 503 Problem when too many wait already or the deadline passes, and
   * with the signal's reason when the caller has gone away; a query nobody waits for any more is called off.
   */
  read(
    ids: readonly bigint[],
    question: RiskQuestion,
    signal: AbortSignal,
    span: Span | null = null,
  ): Promise<RiskResult> {
    if (signal.aborted) return Promise.reject(asError(signal.reason));
    const cost = this.#reader.cost(question);
    const state = this.#lanes[this.#laneOf(ids, question, cost)];
    const sendNow = state.running < this.#limits.queries[state.name];
    if (!sendNow && state.waiting >= this.#limits.waitingMax)
      return Promise.reject(overloaded(state.waiting));
    const deadlineMs = this.#limits.deadlineMs[cost];

    return new Promise((resolve, reject) => {
      const leave = (error: unknown): void => {
        lookup.settle({ error });
        this.#leave(state, group, lookup);
      };
      const onAbort = (): void => leave(signal.reason);
      const timer = setTimeout(() => leave(deadlineProblem(deadlineMs)), deadlineMs);
      const lookup: Lookup = {
        ids,
        span,
        settle: (outcome) => {
          clearTimeout(timer);
          signal.removeEventListener('abort', onAbort);
          if ('result' in outcome) resolve(outcome.result);
          else reject(asError(outcome.error));
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const group = sendNow ? newGroup(question) : this.#groupToJoin(state, ids, question);
      group.lookups.add(lookup);
      for (const id of ids) group.ids.add(id);
      if (sendNow) this.#send(state, group);
      else state.waiting += 1;
    });
  }

  #laneOf(ids: readonly bigint[], { to }: RiskQuestion, cost: RiskCost): Lane {
    if (cost !== 'mart') return cost;
    if (ids.length > this.#limits.idsPerQuery) return 'bulk';
    return to === null ? 'now' : 'at';
  }

  #groupToJoin(state: LaneState, ids: readonly bigint[], question: RiskQuestion): Group {
    const key = keyOf(question);
    const open = state.open.get(key);
    if (open !== undefined && open.ids.size + ids.length <= this.#limits.idsPerQuery) return open;
    const group = newGroup(question);
    state.open.set(key, group);
    state.queue.push(group);
    return group;
  }

  #send(state: LaneState, group: Group): void {
    state.running += 1;
    // `read` is called in this tick: it takes its position now.
    this.#reader.read([...group.ids], group.question, group.abort.signal, spanOf(group)).then(
      (result) => this.#sent(state, group, { result }),
      (error: unknown) => this.#sent(state, group, { error }),
    );
  }

  #sent(state: LaneState, group: Group, outcome: { result: RiskResult } | { error: unknown }): void {
    this.#observe(state.name, group.lookups.size, 'result' in outcome);
    for (const lookup of group.lookups) lookup.settle(outcome);
    group.lookups.clear();
    state.running -= 1;
    this.#sendNext(state);
  }

  #sendNext(state: LaneState): void {
    while (state.running < this.#limits.queries[state.name]) {
      const group = state.queue.shift();
      if (group === undefined) return;
      this.#shut(state, group);
      state.waiting -= group.lookups.size;
      this.#send(state, group);
    }
  }

  /** Nobody may join it any more. */
  #shut(state: LaneState, group: Group): void {
    const key = keyOf(group.question);
    if (state.open.get(key) === group) state.open.delete(key);
  }

  #leave(state: LaneState, group: Group, lookup: Lookup): void {
    if (!group.lookups.delete(lookup)) return;
    const index = state.queue.indexOf(group);
    if (index === -1) {
      if (group.lookups.size === 0) group.abort.abort(new Error('nobody waits for this query any more'));
      return;
    }
    state.waiting -= 1;
    if (group.lookups.size > 0) return;
    state.queue.splice(index, 1);
    this.#shut(state, group);
  }
}

function lane(name: Lane): LaneState {
  return { name, running: 0, waiting: 0, queue: [], open: new Map() };
}

function newGroup(question: RiskQuestion): Group {
  return { question, ids: new Set(), lookups: new Set(), abort: new AbortController() };
}

/** A query is told in one trace; those of the others who share it point there. */
function spanOf({ lookups }: Group): Span | null {
  let first: Span | null = null;
  for (const { span } of lookups) {
    if (first === null) first = span;
    else span?.link(first);
  }
  return first;
}

/** Questions that one query can answer together have one key. */
function keyOf({ to, windowUs, byMethod, baseline }: RiskQuestion): string {
  return [to, windowUs, byMethod, baseline].join(' ');
}

function overloaded(waiting: number): Problem {
  return new Problem({
    status: 503,
    kind: 'api_overloaded',
    title: 'More is asked than can be answered.',
    detail: `${waiting} look-ups wait already.`,
    fix: 'ask again later, with fewer requests at once; POST /v1/merchants/risk asks for many merchants in one',
    retryAfterMs: 1000,
  });
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
