import { cumulate, Random } from '../../src/dev/random.js';
import type { Failpoint } from '../../src/pipeline/failpoint.js';

/** One thing that is done to the system, as data. Times are in milliseconds. */
export type Action =
  // The service's own processes.
  | { readonly kind: 'kill'; readonly downMs: number }
  | { readonly kind: 'terminate'; readonly downMs: number }
  | { readonly kind: 'suspend'; readonly forMs: number }
  // `provoke`: what brings it there, where ordinary traffic does not.
  | {
      readonly kind: 'failpoint';
      readonly name: Failpoint;
      readonly passes: number;
      readonly provoke: Action | null;
    }
  // Falls asleep there, and wakes up when another one has taken over.
  | {
      readonly kind: 'sleeper';
      readonly name: Failpoint;
      readonly passes: number;
      readonly besideMs: number;
    }
  | { readonly kind: 'take_over'; readonly by: 'kill' | 'terminate'; readonly besideMs: number }
  | { readonly kind: 'kill_standby'; readonly besideMs: number }
  // The servers, and the ways to them.
  | { readonly kind: 'postgres_restart' | 'postgres_crash' | 'postgres_kill'; readonly downMs: number }
  | { readonly kind: 'clickhouse_restart' | 'clickhouse_kill'; readonly downMs: number }
  | { readonly kind: 'postgres_suspend' | 'clickhouse_suspend'; readonly forMs: number }
  | {
      readonly kind: 'link_cut' | 'link_silent' | 'link_answers_lost' | 'link_slow';
      readonly link: 'postgres' | 'clickhouse';
      readonly forMs: number;
    }
  // What is said meanwhile arrives when nobody waits for its answer any more.
  | { readonly kind: 'link_late'; readonly forMs: number; readonly laterMs: number }
  | { readonly kind: 'link_blip'; readonly link: 'postgres' | 'clickhouse' }
  | { readonly kind: 'end_sender' | 'checkpoint' | 'merge' }
  // What people do in the source.
  | { readonly kind: 'add_column'; readonly table: string; readonly name: string; readonly type: string }
  | { readonly kind: 'drop_column'; readonly table: string; readonly name: string }
  | {
      readonly kind: 'rename_column';
      readonly table: string;
      readonly name: string;
      readonly to: string;
    }
  | { readonly kind: 'retype_column'; readonly table: string; readonly name: string; readonly to: string }
  | {
      readonly kind: 'change_among_rows' | 'column_that_came_and_went';
      readonly table: string;
      readonly name: string;
    }
  | { readonly kind: 'enum_label'; readonly name: string }
  | { readonly kind: 'rewrite_rows' | 'vacuum_full' | 'comment'; readonly table: string }
  | { readonly kind: 'truncate'; readonly table: string; readonly refill: boolean }
  | { readonly kind: 'large_transaction'; readonly rows: number; readonly commit: boolean }
  | { readonly kind: 'prepared_transaction'; readonly openMs: number; readonly commit: boolean }
  | { readonly kind: 'shift_keys'; readonly table: string }
  // What operators do.
  | { readonly kind: 'resync'; readonly table: string }
  | { readonly kind: 'repair'; readonly table: string; readonly keys: number }
  | { readonly kind: 'pause'; readonly forMs: number }
  | { readonly kind: 'verify'; readonly table: string };

export const LANES = ['processes', 'servers', 'source', 'operator'] as const;
export type Lane = (typeof LANES)[number];

export interface Step {
  /** Waited before it. */
  readonly afterMs: number;
  readonly action: Action;
}

/** What happens between two comparisons. The lanes run beside each other, the steps of a lane one after another. */
export interface Round {
  readonly index: number;
  /** Where the very first process dies; null where it lives. */
  readonly firstFailpoint: { readonly name: Failpoint; readonly passes: number } | null;
  readonly lanes: Readonly<Record<Lane, readonly Step[]>>;
}

/** How long a round's lanes are planned to take, without what the machine adds. */
const ROUND_MS = 11_000;
const GAP_MS: Readonly<Record<Lane, readonly [number, number]>> = {
  processes: [800, 4_000],
  servers: [500, 4_500],
  source: [300, 2_500],
  operator: [1_000, 6_000],
};
const COLUMN_TYPES = [
  'text',
  `text default 'by default'`,
  'int4 not null default 7',
  'numeric(10, 2)',
  'timestamptz default now()',
  'uuid default gen_random_uuid()',
  'int4[]',
  'jsonb',
  'bool not null default true',
];
/** Passed again and again while the stream runs. */
const STREAMING_POINTS: readonly Failpoint[] = [
  'before_insert',
  'between_tables',
  'after_insert',
  'before_checkpoint',
  'after_checkpoint',
  'after_confirm',
];
/** Passed by a resync; and, but for the stage's own, by the first snapshot. */
const COPYING_POINTS: readonly Failpoint[] = [
  'mid_snapshot',
  'before_rows',
  'stage_opened',
  'stage_filled',
  'before_switch',
  'between_switches',
  'before_view',
  'after_switch',
];
const FIRST_POINTS: readonly Failpoint[] = [
  'mid_snapshot',
  'before_rows',
  'before_mart',
  'between_snapshots',
  'after_snapshots',
  'before_switch',
  'between_switches',
  'before_view',
  'after_switch',
];
/** Tables whose columns change; the domain's own among them, seldom. */
const CHANGING = ['items', 'items', 'items', 'items', 'payments'];
/** Their key is one column, the first; repairs name keys of these. */
const KEYED_BY_ID = ['merchants', 'payments', 'ledger', 'docs', 'items', 'bulk'];
const TABLES = ['merchants', 'payments', 'ledger', 'docs', 'readings', 'items', 'bulk'];

type Maker = (random: Random, model: Model) => Action | null;

/** What the plan remembers of the columns it has made, so that the sequence depends on nothing but the seed. */
interface Model {
  readonly columns: Map<string, { name: string; type: string }[]>;
  made: number;
}

const down = (random: Random): number => Math.round(random.between(0, 2_500));

const MAKERS: Readonly<Record<Lane, readonly (readonly [number, Maker])[]>> = {
  processes: [
    [5, (random) => ({ kind: 'kill', downMs: down(random) })],
    [2, (random) => ({ kind: 'terminate', downMs: down(random) })],
    [2, (random) => ({ kind: 'suspend', forMs: Math.round(random.between(500, 4_000)) })],
    [6, (random, model) => ({ kind: 'failpoint', ...choosePoint(random, model) })],
    [
      1.5,
      (random) => ({
        kind: 'sleeper',
        name: random.pick(STREAMING_POINTS),
        passes: 1 + random.below(5),
        besideMs: Math.round(random.between(200, 2_000)),
      }),
    ],
    [
      2,
      (random) => ({
        kind: 'take_over',
        by: random.chance(0.6) ? 'kill' : 'terminate',
        besideMs: Math.round(random.between(200, 3_000)),
      }),
    ],
    [0.5, (random) => ({ kind: 'kill_standby', besideMs: Math.round(random.between(200, 3_000)) })],
  ],
  servers: [
    [1.5, (random) => ({ kind: 'postgres_restart', downMs: down(random) })],
    [1.5, (random) => ({ kind: 'postgres_crash', downMs: down(random) })],
    [1.5, (random) => ({ kind: 'postgres_kill', downMs: down(random) })],
    [1, (random) => ({ kind: 'clickhouse_restart', downMs: down(random) })],
    [3, (random) => ({ kind: 'clickhouse_kill', downMs: down(random) })],
    [1, (random) => ({ kind: 'postgres_suspend', forMs: Math.round(random.between(500, 4_000)) })],
    [1, (random) => ({ kind: 'clickhouse_suspend', forMs: Math.round(random.between(500, 4_000)) })],
    [
      8,
      (random) => ({
        kind: random.pick(['link_cut', 'link_silent', 'link_answers_lost', 'link_slow'] as const),
        link: random.pick(['postgres', 'clickhouse'] as const),
        forMs: Math.round(random.between(300, 3_500)),
      }),
    ],
    [
      2,
      (random) => ({
        kind: 'link_late',
        forMs: Math.round(random.between(100, 1_500)),
        laterMs: Math.round(random.between(200, 6_000)),
      }),
    ],
    [2, (random) => ({ kind: 'link_blip', link: random.pick(['postgres', 'clickhouse'] as const) })],
    [3, (random) => ({ kind: random.pick(['end_sender', 'checkpoint', 'merge'] as const) })],
  ],
  source: [
    [4, addColumn],
    [2, dropColumn],
    [1.5, renameColumn],
    [1.5, retypeColumn],
    [1, (_, model) => ({ kind: 'change_among_rows', table: 'items', name: nameColumn(model, 'text') })],
    [
      1,
      (random, model) => ({
        kind: 'column_that_came_and_went',
        table: random.pick(CHANGING),
        name: `gone_${(model.made += 1)}`,
      }),
    ],
    [1.5, (_, model) => ({ kind: 'enum_label', name: `label_${(model.made += 1)}` })],
    [
      1.5,
      (random) => ({
        kind: random.pick(['rewrite_rows', 'vacuum_full', 'comment'] as const),
        table: random.pick(['items', 'docs']),
      }),
    ],
    [
      3,
      (random) => ({
        kind: 'truncate',
        table: random.pick(['items', 'bulk', 'readings', 'ledger', 'payments']),
        refill: random.chance(0.5),
      }),
    ],
    [
      4,
      (random) => ({
        kind: 'large_transaction',
        rows: random.pick([2_000, 20_000, 20_000, 130_000]),
        commit: random.chance(0.8),
      }),
    ],
    [
      1.5,
      (random) => ({
        kind: 'prepared_transaction',
        openMs: Math.round(random.between(100, 3_000)),
        commit: random.chance(0.7),
      }),
    ],
    [1.5, (random) => ({ kind: 'shift_keys', table: random.pick(['items', 'bulk', 'readings']) })],
  ],
  operator: [
    [5, (random) => ({ kind: 'resync', table: `public.${random.pick(TABLES)}` })],
    [3, (random) => ({ kind: 'repair', table: random.pick(KEYED_BY_ID), keys: 1 + random.below(30) })],
    [3, (random) => ({ kind: 'pause', forMs: Math.round(random.between(200, 3_000)) })],
    [2, (random) => ({ kind: 'verify', table: `public.${random.pick(TABLES)}` })],
  ],
};
const WEIGHTS = Object.fromEntries(
  LANES.map((lane) => [lane, cumulate(MAKERS[lane].map(([weight]) => weight))]),
) as Record<Lane, number[]>;

/** The same seed gives the same rounds, whatever happens while they run. */
export class Plan {
  readonly #seed: number;
  readonly #model: Model = { columns: new Map(), made: 0 };
  #next = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  nextRound(): Round {
    const index = this.#next++;
    const random = new Random(this.#seed, 1_000 + index);
    const point = random.chance(0.6) ? { name: random.pick(FIRST_POINTS), passes: 1 } : null;
    return {
      index,
      firstFailpoint: index === 0 ? point : null,
      lanes: {
        processes: this.#lane('processes', random),
        servers: this.#lane('servers', random),
        source: this.#lane('source', random),
        operator: this.#lane('operator', random),
      },
    };
  }

  #lane(lane: Lane, random: Random): Step[] {
    const steps: Step[] = [];
    const [least, most] = GAP_MS[lane];
    let atMs = 0;
    for (;;) {
      const afterMs = Math.round(random.between(least, most));
      const [, make] = MAKERS[lane][random.weighted(WEIGHTS[lane])]!;
      const action = make(random, this.#model);
      atMs += afterMs;
      if (action === null) continue;
      steps.push({ afterMs, action });
      atMs += durationOf(action);
      if (atMs >= ROUND_MS) return steps;
    }
  }
}

function choosePoint(
  random: Random,
  model: Model,
): { readonly name: Failpoint; readonly passes: number; readonly provoke: Action | null } {
  const table = random.pick(TABLES);
  if (random.chance(0.5))
    return { name: random.pick(STREAMING_POINTS), passes: 1 + random.below(5), provoke: null };
  if (random.chance(0.15)) {
    const type = 'text';
    const provoke: Action = { kind: 'add_column', table: 'items', name: nameColumn(model, type), type };
    return { name: 'while_altering', passes: 1, provoke };
  }
  if (random.chance(0.15))
    return {
      name: 'before_truncate',
      passes: 1,
      provoke: { kind: 'truncate', table: 'items', refill: random.chance(0.5) },
    };
  return {
    name: random.pick(COPYING_POINTS),
    passes: 1,
    provoke: { kind: 'resync', table: `public.${table}` },
  };
}

/** What the step is planned to take; the planner's guess, never measured. */
function durationOf(action: Action): number {
  if ('downMs' in action) return action.downMs + 1_000;
  if ('forMs' in action) return action.forMs;
  if ('besideMs' in action) return action.besideMs + 2_500;
  if ('openMs' in action) return action.openMs;
  return ['failpoint', 'resync', 'verify'].includes(action.kind) ? 2_500 : 300;
}

function nameColumn(model: Model, type: string, table = 'items'): string {
  const name = `added_${(model.made += 1)}`;
  const columns = model.columns.get(table) ?? [];
  columns.push({ name, type });
  model.columns.set(table, columns);
  return name;
}

function addColumn(random: Random, model: Model): Action {
  const table = random.pick(CHANGING);
  const type = random.pick(COLUMN_TYPES);
  return { kind: 'add_column', table, name: nameColumn(model, type, table), type };
}

/** One of the columns that the plan has made; null while there is none. */
function takeColumn(random: Random, model: Model, wanted: (type: string) => boolean = () => true) {
  const all = [...model.columns].flatMap(([table, columns]) =>
    columns.filter(({ type }) => wanted(type)).map((column) => ({ table, column })),
  );
  return all.length === 0 ? null : random.pick(all);
}

function dropColumn(random: Random, model: Model): Action | null {
  const taken = takeColumn(random, model);
  if (taken === null) return null;
  const { table, column } = taken;
  model.columns.set(
    table,
    model.columns.get(table)!.filter((other) => other !== column),
  );
  return { kind: 'drop_column', table, name: column.name };
}

function renameColumn(random: Random, model: Model): Action | null {
  const taken = takeColumn(random, model);
  if (taken === null) return null;
  const { table, column } = taken;
  const name = column.name;
  column.name = `Renamed ${(model.made += 1)}`;
  return { kind: 'rename_column', table, name, to: column.name };
}

const WIDER: readonly (readonly [RegExp, string])[] = [
  [/^int4(?!\[)/, 'int8'],
  [/^int8/, 'numeric(30, 0)'],
  [/^numeric\(10, 2\)/, 'numeric(20, 4)'],
];

function retypeColumn(random: Random, model: Model): Action | null {
  const taken = takeColumn(random, model, (type) => WIDER.some(([from]) => from.test(type)));
  if (taken === null) return null;
  const { table, column } = taken;
  const [, to] = WIDER.find(([from]) => from.test(column.type))!;
  column.type = to;
  return { kind: 'retype_column', table, name: column.name, to };
}

/** One line for people: `kill down 1200 ms`. */
export function describe({ kind, ...rest }: Action): string {
  const words = Object.entries(rest).map(([name, value]: [string, unknown]) => {
    if (name === 'provoke') return value === null ? 'by itself' : `by: ${describe(value as Action)}`;
    return name.endsWith('Ms') ? `${name.slice(0, -2)} ${value as number} ms` : `${name} ${String(value)}`;
  });
  return [kind.replaceAll('_', ' '), ...words].join(', ');
}
