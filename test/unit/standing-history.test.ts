import { describe, expect, test } from 'vitest';
import { StandingHistory } from '../../src/ops/standing-history.js';
import type { SlotStatus, StatusDocument } from '../../src/ops/status.js';
import { STATUS } from './api-fixture.js';

const START_MS = Date.parse('2026-11-21T09:00:00Z');

function slotOf(held: number, headroom: number | null): SlotStatus {
  return {
    held_bytes: held,
    headroom_bytes: headroom,
    wal_status: 'reserved',
    seconds_left: null,
    warning: null,
  };
}

/** A history and the clock that it looks at. */
function open(): {
  history: StandingHistory;
  at: (seconds: number, status?: Partial<StatusDocument>) => void;
} {
  let nowMs = START_MS;
  const history = new StandingHistory(() => nowMs);
  return {
    history,
    at(seconds, status) {
      nowMs = START_MS + seconds * 1_000;
      if (status !== undefined) history.look({ ...STATUS, ...status });
    },
  };
}

describe('the history of how replication stood', () => {
  test('keeps a sample every ten seconds, of an hour', () => {
    const { history, at } = open();
    for (let second = 0; second < 3 * 3_600; second += 1) at(second, { lag_ms: second });
    expect(history.samples).toHaveLength(360);
    const times = history.samples.map((sample) => Date.parse(sample.at));
    expect(new Set(times.slice(1).map((time, index) => time - times[index]!))).toEqual(new Set([10_000]));
    expect(history.samples.at(-1)).toMatchObject({ lag_ms: 3 * 3_600 - 10, rows_applied: 10 });
  });

  test('says when a state began, and not when it was looked at', () => {
    const { history, at } = open();
    const states = (
      [
        [0, 'starting'],
        [5, 'streaming'],
        [9, 'streaming'],
        [12, 'paused'],
        [20, 'streaming'],
      ] as const
    ).map(([second, state]) => {
      at(second);
      return history.since(state);
    });
    expect(states.map((since) => (Date.parse(since) - START_MS) / 1_000)).toEqual([0, 5, 5, 12, 20]);
  });

  test('says after how long a slot is in danger at the rate of the last ten minutes', () => {
    const { history, at } = open();
    at(0, { slot: slotOf(1_000, 100_000) });
    at(10);
    expect(history.secondsLeft(slotOf(2_000, 99_000))).toBeNull();
    at(100);
    // 100 bytes a second.
    expect(history.secondsLeft(slotOf(11_000, 90_000))).toBe(900);
    expect(history.secondsLeft(slotOf(11_000, null))).toBeNull();
    expect(history.secondsLeft(slotOf(900, 100_100))).toBeNull();
    at(1_000, { slot: slotOf(11_000, 90_000) });
    at(1_100);
    expect(history.secondsLeft(slotOf(12_000, 89_000))).toBe(8_900);
  });
});
