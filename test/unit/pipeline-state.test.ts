import { describe, expect, it } from 'vitest';
import { EVENTS, next, STATES, type TransitionTable } from '../../src/pipeline/state.js';

const x = null;
/** Written out in full, so that a state or an event that is added does not compile until it is decided here. */
const EXPECTED: TransitionTable = {
  starting: {
    needs_snapshot: 'snapshotting',
    snapshot_done: x,
    ready: 'streaming',
    pause: 'paused',
    resume: x,
    fail_retry: 'retrying',
    recovered: x,
    fail_stop: 'stopped',
    attempt: x,
    close: 'closing',
    closed: x,
  },
  snapshotting: {
    needs_snapshot: x,
    snapshot_done: 'streaming',
    ready: x,
    pause: x,
    resume: x,
    fail_retry: 'retrying',
    recovered: x,
    fail_stop: 'stopped',
    attempt: x,
    close: 'closing',
    closed: x,
  },
  streaming: {
    needs_snapshot: x,
    snapshot_done: x,
    ready: x,
    pause: 'paused',
    resume: x,
    fail_retry: 'retrying',
    recovered: x,
    fail_stop: 'stopped',
    attempt: x,
    close: 'closing',
    closed: x,
  },
  paused: {
    needs_snapshot: x,
    snapshot_done: x,
    ready: x,
    pause: 'paused',
    resume: 'streaming',
    fail_retry: 'retrying',
    recovered: x,
    fail_stop: 'stopped',
    attempt: x,
    close: 'closing',
    closed: x,
  },
  retrying: {
    needs_snapshot: x,
    snapshot_done: x,
    ready: x,
    pause: x,
    resume: x,
    fail_retry: 'retrying',
    recovered: 'streaming',
    fail_stop: 'stopped',
    attempt: 'starting',
    close: 'closing',
    closed: x,
  },
  stopped: {
    needs_snapshot: x,
    snapshot_done: x,
    ready: x,
    pause: x,
    resume: x,
    fail_retry: x,
    recovered: x,
    fail_stop: 'stopped',
    attempt: 'starting',
    close: 'closing',
    closed: x,
  },
  closing: {
    needs_snapshot: x,
    snapshot_done: x,
    ready: x,
    pause: x,
    resume: x,
    fail_retry: 'closing',
    recovered: x,
    fail_stop: 'closing',
    attempt: x,
    close: 'closing',
    closed: 'closed',
  },
  closed: {
    needs_snapshot: x,
    snapshot_done: x,
    ready: x,
    pause: x,
    resume: x,
    fail_retry: x,
    recovered: x,
    fail_stop: x,
    attempt: x,
    close: 'closed',
    closed: x,
  },
};

describe('the state machine', () => {
  for (const state of STATES) {
    for (const event of EVENTS) {
      const expected = EXPECTED[state][event];
      it(`${state} and ${event}: ${expected ?? 'cannot happen'}`, () => {
        if (expected === null) expect(() => next(state, event)).toThrow('cannot happen');
        else expect(next(state, event)).toBe(expected);
      });
    }
  }
});
