import { describe, expect, test } from 'vitest';
import { eventsOf } from '../model/payment-events.js';
import { smaller } from '../model/smaller.js';

const numbers = Array.from({ length: 100 }, (_, index) => index);

describe('a list that fails', () => {
  test.each([[[42]], [[0, 99]], [[3, 4, 50, 51]], [[]]])(
    'is cut down to what makes it fail: %j',
    async (culprits) => {
      const fails = (some: readonly number[]) => Promise.resolve(culprits.every((one) => some.includes(one)));
      expect(await smaller(numbers, fails, { left: 1_000 })).toEqual(culprits);
    },
  );

  test('is not tried more often than allowed, and what is left of it still fails', async () => {
    let tried = 0;
    const fails = (some: readonly number[]) => {
      tried += 1;
      return Promise.resolve(some.includes(77) && some.includes(13));
    };
    const left = await smaller(numbers, fails, { left: 5 });
    expect(tried).toBe(5);
    expect(left).toEqual(expect.arrayContaining([13, 77]));
  });
});

describe('the events of a seed', () => {
  const plan = { seed: 5, lanes: 40, rounds: 6 };

  test('are the same each time, and others for another seed', () => {
    expect(eventsOf(plan)).toEqual(eventsOf(plan));
    expect(eventsOf({ ...plan, seed: 6 })).not.toEqual(eventsOf(plan));
  });

  test('hold all that may happen', () => {
    const events = eventsOf({ ...plan, lanes: 200 });
    const transactions = events.filter((event) => event.kind === 'transaction');
    const operations = new Set(transactions.flatMap((one) => one.operations.map(({ op }) => op)));
    expect([...operations].sort()).toEqual(
      expect.arrayContaining([
        'amount',
        'delete',
        'insert',
        'merchant',
        'method',
        'reassign',
        'redate',
        'rekey',
        'replace',
        'status',
      ]),
    );
    expect(transactions.some(({ commit }) => !commit)).toBe(true);
    expect(transactions.some(({ undone }) => undone.length > 0)).toBe(true);
    const services = events.flatMap((event) => (event.kind === 'service' ? [event.what] : []));
    expect(services.sort()).toEqual(['kill', 'replay', 'restart', 'resync']);
    expect(new Set(transactions.map(({ lane }) => lane)).size).toBe(200);
  });
});
