import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { parseKeys } from '../../src/api/keys.js';
import type { Control } from '../../src/api/routes-orders.js';
import { WalhouseError, type ErrorKind } from '../../src/pipeline/errors.js';
import { openApi, problemOf, STATUS } from './api-fixture.js';

const PATH = '/v1/tables/public.payments/repair';
const DONE = { position: 0x16b3748n, rows: 1, hidden: 2, beyond: 0 };

function open(repair: Control['repair'], keys = '') {
  const control = { repair } as Control;
  return openApi({ control, keys: parseKeys(keys) });
}

const failing = (kind: ErrorKind) => () =>
  Promise.reject(new WalhouseError(kind, { what: 'It is so.', why: 'Because.', fix: 'do this' }));

describe('POST /v1/tables/{id}/repair', () => {
  test('hands the keys over and says what was done where', async () => {
    const asked: unknown[] = [];
    const { post } = open((table, keys) => {
      asked.push(table, keys);
      return Promise.resolve(DONE);
    });
    const response = await post(
      {
        keys: [
          ['1', 'a'],
          ['2', ''],
        ],
      },
      PATH,
    );
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ position: '0/16B3748', rows: 1, hidden: 2, beyond: 0 });
    expect(asked).toEqual([
      'public.payments',
      [
        ['1', 'a'],
        ['2', ''],
      ],
    ]);
  });

  test.each([
    ['no keys', { keys: [] }],
    ['too many', { keys: Array.from({ length: 1_001 }, (_, i) => [String(i)]) }],
    ['a key of nothing', { keys: [[]] }],
    ['numbers', { keys: [[1]] }],
    ['a text beyond its bound', { keys: [['x'.repeat(8_193)]] }],
    ['something else besides', { keys: [['1']], all: true }],
    ['a list', [['1']]],
  ])('refuses %s', async (_, body) => {
    const { post } = open(() => Promise.reject(new Error('it was asked')));
    expect(await problemOf(await post(body, PATH))).toMatchObject({ status: 400, kind: 'request_invalid' });
  });

  test.each<[ErrorKind, number]>([
    ['repair_interrupted', 503],
    ['source_unreachable', 503],
    ['sink_timeout', 503],
    ['source_rejected', 400],
    ['repair_too_large', 413],
  ])('answers %s with %d and the fix', async (kind, status) => {
    const response = await open(failing(kind)).post({ keys: [['1']] }, PATH);
    expect(await problemOf(response)).toMatchObject({ status, kind });
    expect(response.headers.has('retry-after')).toBe(status === 503);
  });

  test('says that there is no such table', async () => {
    const response = await open(() => Promise.resolve(null)).post({ keys: [['1']] }, PATH);
    expect(await problemOf(response)).toMatchObject({ status: 404, kind: 'table_unknown' });
  });

  test('needs a key with the scope ops:write', async () => {
    const secret = 'a-secret-that-is-long-enough-to-be-one';
    const hash = createHash('sha256').update(secret).digest('hex');
    const headers = { authorization: `Bearer ${secret}` };
    const reading = open(() => Promise.resolve(DONE), `reader:ops:read:${hash}`);
    expect((await reading.post({ keys: [['1']] }, PATH)).status).toBe(401);
    expect((await reading.post({ keys: [['1']] }, PATH, headers)).status).toBe(403);
    const writing = open(() => Promise.resolve(DONE), `writer:ops:write:${hash}`);
    expect((await writing.post({ keys: [['1']] }, PATH, headers)).status).toBe(200);
  });
});

describe('metrics of the comparison in the background', () => {
  const table = STATUS.tables['public.payments']!;
  const verified = {
    at: '2026-11-21T09:00:00.000Z',
    position: '0/16B3748',
    verdict: 'different',
    differences: 7,
    complete: true,
    pending: false,
    error: null,
  } as const;

  async function metricsOf(tables: (typeof STATUS)['tables']): Promise<string[]> {
    const { app } = openApi({ status: () => ({ ...STATUS, tables }) });
    const text = await (await app.request('/metrics')).text();
    return text.split('\n').filter((line) => line.startsWith('walhouse_verify_'));
  }

  test('are there for tables that have been compared', async () => {
    expect(await metricsOf({ 'public.payments': table, 'public.a': { ...table, verify: verified } })).toEqual(
      [
        'walhouse_verify_drift_rows{table="public.a"} 7',
        'walhouse_verify_last_timestamp_seconds{table="public.a"} 1795251600',
        'walhouse_verify_failing{table="public.a"} 0',
      ],
    );
  });

  test('keep what was known while the comparison fails, and say that it does', async () => {
    const error = { kind: 'sink_timeout', what: 'w', why: 'w', fix: 'f' };
    expect(
      await metricsOf({
        'public.a': { ...table, verify: { ...verified, verdict: 'not_compared', error } },
        'public.b': {
          ...table,
          verify: {
            at: null,
            position: null,
            verdict: 'not_compared',
            differences: null,
            complete: true,
            pending: false,
            error,
          },
        },
      }),
    ).toEqual([
      'walhouse_verify_drift_rows{table="public.a"} 7',
      'walhouse_verify_last_timestamp_seconds{table="public.a"} 1795251600',
      'walhouse_verify_failing{table="public.a"} 1',
      'walhouse_verify_failing{table="public.b"} 1',
    ]);
  });
});
