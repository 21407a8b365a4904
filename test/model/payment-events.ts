import fc from 'fast-check';
import type { RiskQuestion } from '../../src/ops/compare/risk.js';

/** Microseconds. */
export const HOUR = 3_600_000_000n;
const DAY = 24n * HOUR;

/**
 * Many histories of payments side by side, each in a lane of its own: its merchants and payments are no other lane's. The lanes' events
 * stand in one list, so that any part of the list is a history too, and a long one that fails can be cut down.
 */
export type Event =
  | ({ readonly kind: 'transaction' } & Transaction)
  /** Transactions go on meanwhile, until the next stop or the next of these. */
  | { readonly kind: 'service'; readonly what: 'restart' | 'kill' | 'replay' | 'resync' }
  /** Everything is applied, and these questions are asked of both sides. */
  | { readonly kind: 'stop'; readonly questions: readonly Question[] };

export interface Transaction {
  readonly lane: number;
  readonly operations: readonly Operation[];
  /** Goes before the operations, and is rolled back to a savepoint. */
  readonly undone: readonly Operation[];
  readonly commit: boolean;
}

export type Operation =
  | ({ readonly op: 'insert' } & Target & Values)
  /** Every column of what is there at once. */
  | ({ readonly op: 'replace' } & Target & Values)
  | ({ readonly op: 'status'; readonly status: string } & Target)
  | ({ readonly op: 'amount'; readonly amount: string } & Target)
  | ({ readonly op: 'method'; readonly method: string } & Target)
  | ({ readonly op: 'redate'; readonly offset: bigint } & Target)
  | ({ readonly op: 'reassign'; readonly merchant: number } & Target)
  | ({ readonly op: 'rekey'; readonly to: number } & Target)
  | ({ readonly op: 'delete' } & Target)
  | { readonly op: 'merchant'; readonly merchant: number; readonly there: boolean }
  /** All lanes' payments. */
  | { readonly op: 'truncate' };

interface Target {
  /** Of a payment in its lane, below PAYMENTS_MAX. */
  readonly payment: number;
}

interface Values {
  readonly merchant: number;
  readonly amount: string;
  readonly method: string;
  readonly status: string;
  /** Microseconds from the histories' own now to the payment's date. */
  readonly offset: bigint;
}

export interface Question extends RiskQuestion {
  /** Microseconds from the histories' own now to the window's end; null for the service's own now. */
  readonly end: bigint | null;
}

/** Per lane. */
export const MERCHANTS = 4;
export const PAYMENTS_MAX = 5;

/** Ends of windows, asked for by their microsecond. */
const ENDS = [0n, HOUR, -3n * DAY];
const WINDOWS = [DAY, 7n * DAY, 30n * DAY];
/** On, just inside and just outside each edge of every window that is asked for. */
const EDGES = ENDS.flatMap((end) =>
  [0n, ...WINDOWS].flatMap((window) => [-1n, 0n, 1n].map((past) => end - window + past)),
);
/** The source's own retention is two years. */
const FAR = [-729n * DAY, -732n * DAY, -30_000n * DAY, 20n * DAY, 800n * DAY];

/** null otherwise. */
function sometimes<T>(one: number, of: number, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> {
  return fc.oneof({ weight: one, arbitrary }, { weight: of - one, arbitrary: fc.constant(null) });
}

const offset = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...EDGES) },
  // Within one hour of an edge and not on it: what is cut to hours shows.
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.constantFrom(...EDGES), fc.bigInt({ min: -HOUR, max: HOUR }))
      .map(([edge, past]) => edge + past),
  },
  { weight: 1, arbitrary: fc.constantFrom(...FAR) },
);
const payment = fc.nat({ max: PAYMENTS_MAX - 1 });
const merchant = fc.nat({ max: MERCHANTS - 1 });
const amount = fc.constantFrom('0.00', '0.01', '0.10', '19.99', '1000000000.00', '9999999999.99', '-5.00');
const method = fc.constantFrom('Visa', 'Mastercard', 'Check', '', `"O'Neill"\\\t\n{x}`, 'Überweisung 💶');
const status = fc.constantFrom('Pending', 'Paid', 'Rejected', 'Rejected');
const values = { merchant, amount, method, status, offset };

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ op: fc.constant('insert' as const), payment, ...values }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('replace' as const), payment, ...values }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('status' as const), payment, status }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('amount' as const), payment, amount }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('method' as const), payment, method }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('redate' as const), payment, offset }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('reassign' as const), payment, merchant }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('rekey' as const), payment, to: payment }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('delete' as const), payment }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant('merchant' as const), merchant, there: fc.boolean() }),
  },
);

const transaction = fc.record({
  operations: fc.array(operation, { minLength: 1, maxLength: 6, size: 'max' }),
  undone: fc.oneof(
    { weight: 9, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(operation, { minLength: 1, maxLength: 2 }) },
  ),
  commit: fc.oneof({ weight: 8, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
});

const end = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(fc.constantFrom(...ENDS), fc.constantFrom(-1n, 0n, 1n))
      .map(([about, past]) => about + past),
  },
  { weight: 1, arbitrary: fc.constant(null) },
);
/** The seven days at four ends; a shorter and a longer window, now and then one that the mart does not reach, or with a baseline. */
const questions = fc
  .tuple(
    fc.array(fc.record({ end, byMethod: sometimes(1, 4, fc.constant(true)).map(Boolean) }), {
      minLength: 4,
      maxLength: 4,
    }),
    fc.record({ end, windowHours: fc.constant(24), byMethod: fc.boolean() }),
    fc.record({ end, windowHours: fc.constant(720), byMethod: fc.boolean() }),
    sometimes(1, 3, fc.constant({ end: -30n * DAY })),
    sometimes(
      2,
      3,
      fc.record({ end, windowHours: fc.constantFrom(24, 168, 720), baseline: fc.constant(true) }),
    ),
  )
  .map(([week, day, month, old, baseline]): Question[] => [
    ...week,
    day,
    month,
    ...(old === null ? [] : [old]),
    ...(baseline === null ? [] : [baseline]),
  ]);

const round = fc.record({
  questions,
  /** Before the transaction at this place of the round, in thousandths of it. */
  servicePlace: fc.nat({ max: 999 }),
  truncate: sometimes(1, 2, fc.record({ place: fc.nat({ max: 999 }), from: fc.nat({ max: 2 }) })),
});

export interface Plan {
  readonly seed: number;
  readonly lanes: number;
  /** How often it stops. What happens to the service happens in the first rounds, once each. */
  readonly rounds: number;
}

/** The same events for the same plan. Each lane has a transaction or two a round, in lanes of its own. */
export function eventsOf({ seed, lanes, rounds }: Plan): Event[] {
  const [services] = fc.sample(
    fc.shuffledSubarray(['restart', 'kill', 'replay', 'resync'] as const, { minLength: 4 }),
    { seed, numRuns: 1 },
  );
  // `fc.sample` begins with small values and grows; these are drawn as they come.
  const transactions = fc.sample(fc.noBias(fc.tuple(transaction, sometimes(1, 3, transaction))), {
    seed: seed + 1,
    numRuns: lanes * rounds,
  });
  const drawn = fc.sample(fc.noBias(round), { seed: seed + 2, numRuns: rounds });
  return drawn.flatMap(({ questions: asked, servicePlace, truncate }, index): Event[] => {
    const events = transactions
      .slice(index * lanes, (index + 1) * lanes)
      .flatMap((pair, lane): Event[] =>
        pair.flatMap((one) => (one === null ? [] : [{ kind: 'transaction', lane, ...one }])),
      );
    if (truncate !== null) {
      const place = Math.floor((truncate.place * events.length) / 1000);
      const event = events[place];
      if (event?.kind === 'transaction')
        events[place] = {
          ...event,
          // The same payments before and after it, in one transaction.
          operations: [...event.operations, { op: 'truncate' }, ...event.operations.slice(truncate.from)],
        };
    }
    const what = services![index];
    if (what !== undefined)
      events.splice(Math.floor((servicePlace * events.length) / 1000), 0, { kind: 'service', what });
    return [...events, { kind: 'stop', questions: asked }];
  });
}
