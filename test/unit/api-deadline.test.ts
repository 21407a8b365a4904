import { describe, expect, test } from 'vitest';
import { API_LIMITS } from '../../src/api/api.js';
import { within } from '../../src/api/deadline.js';
import { openApi, problemOf } from './api-fixture.js';

const never = (): Promise<never> => new Promise(() => undefined);

/** ClickHouse stands still: it takes a question and answers nothing. */
const standing = () => {
  const signals: AbortSignal[] = [];
  const asked = (signal: AbortSignal): Promise<never> => {
    signals.push(signal);
    return never();
  };
  const { app } = openApi({
    payments: { lastPayments: (_id, _last, signal) => asked(signal) },
    pictures: {
      pages: [
        {
          name: 'parcels',
          title: 'Parcels',
          question: 'Which depots are slow?',
          pictures: [
            { id: '1_depots', title: 'Depots', shows: 'table', x: null, y: [], unit: null, sql: 'select 1' },
          ],
        },
      ],
      ask: (_picture, signal) => asked(signal),
    },
    retention: never,
    control: {
      resync: never,
      resyncAll: never,
      repair: never,
      verify: () => true,
      pause: never,
      resume: () => undefined,
    },
    limits: { deadlines: { paymentsMs: 20, picturesMs: 20, retentionMs: 20, ordersMs: 20 } },
  });
  return { app, signals };
};

describe('a question that ClickHouse does not answer', () => {
  test.each(['/v1/merchants/42/payments', '/v1/domains/parcels', '/v1/retention'])(
    'is a 503 in time: GET %s',
    async (path) => {
      const { app, signals } = standing();
      const answer = await app.request(path);
      expect(answer.headers.get('retry-after')).toBe('1');
      expect(await problemOf(answer)).toMatchObject({
        status: 503,
        kind: 'sink_timeout',
        detail: 'ClickHouse did not answer within 20 ms.',
      });
      expect(signals.every((signal) => signal.aborted)).toBe(true);
    },
  );

  test.each(['/v1/pause', '/v1/resync', '/v1/tables/public.payments/resync'])(
    'leaves an order open in time: POST %s',
    async (path) => {
      const answer = await standing().app.request(path, { method: 'POST' });
      expect(answer.headers.get('retry-after')).toBe('5');
      expect(await problemOf(answer)).toMatchObject({ status: 503, kind: 'order_late' });
    },
  );

  test('is not kept for the next one who looks at the page', async () => {
    const { app, signals } = standing();
    await app.request('/v1/domains/parcels');
    await app.request('/v1/domains/parcels');
    expect(signals).toHaveLength(2);
  });
});

describe('a deadline', () => {
  test('leaves an answer and a failure as they are', async () => {
    expect(await within(1_000, null, () => Promise.resolve(1))).toBe(1);
    await expect(within(1_000, null, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  });

  test('calls the work off when the caller goes away', async () => {
    const caller = new AbortController();
    const called = within(
      1_000,
      caller.signal,
      (signal) =>
        new Promise((_, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true }),
        ),
    );
    caller.abort(new Error('gone'));
    await expect(called).rejects.toThrow('gone');
  });

  test('is shorter than what cuts a connection on which nothing moves', () => {
    for (const ms of Object.values(API_LIMITS.deadlines)) expect(ms).toBeLessThan(60_000);
  });
});
