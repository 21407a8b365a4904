import type pg from 'pg';

import { createSchema, type GeneratorOptions } from '../generators.js';
import { Random } from '../random.js';
import { LiveTraffic, type Generator, type Operation, type TrafficOptions } from '../traffic.js';
import { copyInitialData, isLoaded, readState } from './load.js';
import { generateProfiles } from './merchants.js';
import { nextOperation } from './next-operation.js';
import { merchantsOf } from './operation.js';
import { applyOperation, largestMerchant, type TrafficState } from './state.js';
import { executeOperation } from './statements.js';

export interface InitialLoad {
  readonly merchants: number;
  readonly payments: number;
  readonly days: number;
}

export interface PaymentsOptions {
  readonly seed: number;
  readonly startAt?: Date | undefined;
  readonly initial?: InitialLoad | undefined;
}

const INITIAL: InitialLoad = { merchants: 300, payments: 100_000, days: 900 };

/** Believable life on the payments domain: initial data and a repeatable sequence of changes. */
export class PaymentsGenerator implements Generator {
  /** Every merchant that a transaction concerned: whose own row or payments may have changed. */
  readonly touchedMerchants = new Set<bigint>();
  readonly #options: PaymentsOptions;
  readonly #random: Random;
  #state: TrafficState | null = null;

  constructor(options: PaymentsOptions) {
    this.#options = options;
    this.#random = new Random(options.seed, 1);
  }

  async load(client: pg.ClientBase): Promise<boolean> {
    const { seed, startAt = new Date(), initial: { merchants, payments, days } = INITIAL } = this.#options;
    const profiles = generateProfiles(merchants, new Random(seed, 5));
    await createSchema(client, 'payments');
    if (await isLoaded(client)) return false;
    const until = startAt.getTime() * 1000;
    this.#state = await copyInitialData(client, { profiles, seed, payments, days, until });
    return true;
  }

  async begin(client: pg.ClientBase): Promise<void> {
    this.#state ??= await readState(client, this.#options.seed);
    if (this.#state.profiles.length === 0)
      throw new Error('public.merchants is empty: load initial data first');
  }

  next(at: number): Operation {
    const state = this.#state;
    if (state === null) throw new Error('the generator has not begun');
    const operation = nextOperation(state, this.#random, at);
    applyOperation(state, operation);
    // Before the attempt: a commit counts even when its answer is lost.
    if (operation.commit) for (const id of merchantsOf(operation)) this.touchedMerchants.add(BigInt(id));
    return { kind: operation.kind, run: (client) => executeOperation(client, operation) };
  }

  /** The one that gets most payments; null before there are any. */
  largestMerchantId(): bigint | null {
    const largest = this.#state === null ? undefined : largestMerchant(this.#state);
    return largest === undefined ? null : BigInt(largest.id);
  }
}

/** The payments' traffic with its generator beside it, which tells what was concerned. */
export function createPaymentsTraffic(options: TrafficOptions & { readonly initial?: InitialLoad }): {
  readonly traffic: LiveTraffic;
  readonly generator: PaymentsGenerator;
} {
  const { seed, startAt, initial } = options;
  const generator = new PaymentsGenerator({ seed, startAt, initial });
  return { generator, traffic: new LiveTraffic(generator, options) };
}

export function createGenerator(options: GeneratorOptions): PaymentsGenerator {
  return new PaymentsGenerator(options);
}
