/**
 * The service's life:
 *
 *   starting --needs_snapshot--> snapshotting --snapshot_done--> streaming <--resume-- paused
 *      |  \________________ready____________________________________^  \____pause_______^
 *      |                                                            |
 *      +--fail_retry--> retrying --attempt--> starting <------------+ (fail_retry, from any working state)
 *      +--stand_by----> standby  --attempt--> starting                (the same, while another instance reads the slot)
 *      +--fail_stop---> stopped  --attempt--> starting                (after somebody applied the fix)
 *      any --close--> closing --closed--> closed
 *
 * `retrying` waits for something that passes by itself and says so; `standby` for the other instance to go; `stopped`
 * for a person.
 */
export const STATES = [
  'starting',
  'snapshotting',
  'streaming',
  'paused',
  'retrying',
  'standby',
  'stopped',
  'closing',
  'closed',
] as const;
export type State = (typeof STATES)[number];

export const EVENTS = [
  'needs_snapshot',
  'snapshot_done',
  'ready',
  'pause',
  'resume',
  'fail_retry',
  'stand_by',
  'recovered',
  'fail_stop',
  'attempt',
  'close',
  'closed',
] as const;
export type Event = (typeof EVENTS)[number];

/** The state after the event; null where the event cannot happen, which is a bug of ours. */
export type TransitionTable = Record<State, Record<Event, State | null>>;

const NEVER: Record<Event, null> = {
  needs_snapshot: null,
  snapshot_done: null,
  ready: null,
  pause: null,
  resume: null,
  fail_retry: null,
  stand_by: null,
  recovered: null,
  fail_stop: null,
  attempt: null,
  close: null,
  closed: null,
};

const FAILURES = {
  fail_retry: 'retrying',
  stand_by: 'standby',
  fail_stop: 'stopped',
  close: 'closing',
} as const;

export const TRANSITIONS: TransitionTable = {
  starting: { ...NEVER, ...FAILURES, needs_snapshot: 'snapshotting', ready: 'streaming', pause: 'paused' },
  snapshotting: { ...NEVER, ...FAILURES, snapshot_done: 'streaming' },
  streaming: { ...NEVER, ...FAILURES, pause: 'paused' },
  paused: { ...NEVER, ...FAILURES, pause: 'paused', resume: 'streaming' },
  // `recovered`: an insert that was tried again went through, with the stream still attached.
  retrying: { ...NEVER, ...FAILURES, attempt: 'starting', recovered: 'streaming' },
  standby: { ...NEVER, ...FAILURES, attempt: 'starting' },
  stopped: { ...NEVER, fail_stop: 'stopped', attempt: 'starting', close: 'closing' },
  closing: {
    ...NEVER,
    fail_retry: 'closing',
    stand_by: 'closing',
    fail_stop: 'closing',
    close: 'closing',
    closed: 'closed',
  },
  closed: { ...NEVER, close: 'closed' },
};

export function next(state: State, event: Event): State {
  const to = TRANSITIONS[state][event];
  if (to === null) throw new Error(`state machine: ${event} cannot happen while ${state}`);
  return to;
}
