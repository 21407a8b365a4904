import { describe, expect, test } from 'vitest';
import { Problem } from '../../src/api/problem.js';
import { MerchantRisk, MerchantsRisk, Status } from '../../src/api/schemas.js';
import type { StatusDocument } from '../../src/ops/status.js';
import { WalhouseError } from '../../src/pipeline/errors.js';
import { NOW_MS, openApi, problemOf, STATUS } from './api-fixture.js';

const WINDOW = { from: '2026-11-14T09:00:00.000Z', to: '2026-11-21T09:00:00.000Z' };
const AS_OF = { lsn: '0/16B3748', committed_at: '2026-11-21T08:59:59.962Z', lag_ms: 38 };

describe('GET /v1/merchants/{id}/risk', () => {
  test('answers with numbers, window and position', async () => {
    const { app } = openApi();
    const response = await app.request('/v1/merchants/42/risk');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      merchant_id: '42',
      window: WINDOW,
      rejected: { count: 3, amount: '120.50' },
      total: { count: 41, amount: '9120.10' },
      as_of: AS_OF,
    });
  });

  test('answers with zeros for a merchant without payments', async () => {
    const { app } = openApi();
    const response = await app.request('/v1/merchants/9223372036854775807/risk');
    expect(await response.json()).toMatchObject({
      merchant_id: '9223372036854775807',
      rejected: { count: 0, amount: '0.00' },
      total: { count: 0, amount: '0.00' },
    });
  });

  test.each(['7', '-7', '-9223372036854775808', '0'])(
    'is 404 for merchant %s, who does not exist',
    async (id) => {
      const { app } = openApi();
      const problem = await problemOf(await app.request(`/v1/merchants/${id}/risk`));
      expect(problem).toMatchObject({ status: 404, kind: 'merchant_unknown' });
    },
  );

  test.each([
    'abc',
    '%00',
    '%0042',
    '42%00',
    '9223372036854775808',
    '-9223372036854775809',
    '1e3',
    '+1',
    '%201',
    '1%20',
    '01',
    '1.0',
    '0x1',
    "1'%20or%201=1%20--",
    '%27%20or%201=1%20--',
    '1;drop%20table%20payments',
    '%zz',
    '%2F',
    '%EF%BC%91',
    '9'.repeat(5000),
  ])('is 400 for the id %s and asks nobody', async (id) => {
    const { app, reader } = openApi();
    const problem = await problemOf(await app.request(`/v1/merchants/${id}/risk`));
    expect(problem).toMatchObject({ status: 400, kind: 'request_invalid', invalid: [{ at: 'path.id' }] });
    expect(reader.asked).toEqual([]);
  });

  test.each([
    ['at=2026-11-21T08:00:00Z', '2026-11-21T08:00:00.000Z'],
    ['at=2026-11-21T08:00:00.123456Z', '2026-11-21T08:00:00.123456Z'],
    ['at=2026-11-21T08:00:00.120000Z', '2026-11-21T08:00:00.120Z'],
    ['at=2026-11-21T09:00:00%2B01:00', '2026-11-21T08:00:00.000Z'],
    ['at=2026-11-21T09:00:00+01:00', '2026-11-21T08:00:00.000Z'],
    ['at=2026-11-28T09:00:00Z', '2026-11-28T09:00:00.000Z'],
  ])('takes ?%s as the end of the window', async (query, to) => {
    const { app } = openApi();
    const response = await app.request(`/v1/merchants/42/risk?${query}`);
    expect(response.status).toBe(200);
    const { window } = (await response.json()) as { window: { from: string; to: string } };
    expect(window.to).toBe(to);
    expect(Date.parse(window.to) - Date.parse(window.from)).toBe(168 * 3600 * 1000);
  });

  test.each([
    ['at=yesterday', 'query.at'],
    ['at=', 'query.at'],
    ['at=2026-11-21T09:00:00', 'query.at'],
    ['at=2026-11-28T09:00:00.000001Z', 'query.at'],
    ['at=9999-12-31T00:00:00Z', 'query.at'],
    ['at=2026-11-21T08:00:00Z&at=2026-11-21T08:00:00Z', 'query.at'],
    ['min_lsn=16B3748', 'query.min_lsn'],
    ['min_lsn=0/123456789', 'query.min_lsn'],
    ['min_lsn=', 'query.min_lsn'],
    ['wait_ms=-1', 'query.wait_ms'],
    ['wait_ms=1.5', 'query.wait_ms'],
    ['wait_ms=30001', 'query.wait_ms'],
    ['wait_ms=abc', 'query.wait_ms'],
    ['max_lag_ms=1e9', 'query.max_lag_ms'],
    ['max_lag_ms=', 'query.max_lag_ms'],
    ['max_lag=5', 'query.max_lag'],
    ['window=7', 'query.window'],
    ['AT=2026-11-21T08:00:00Z', 'query.AT'],
    ['__proto__=1', 'query.__proto__'],
  ])('is 400 for ?%s and names %s', async (query, at) => {
    const { app, reader } = openApi();
    const problem = await problemOf(await app.request(`/v1/merchants/42/risk?${query}`));
    expect(problem.status).toBe(400);
    expect(problem.invalid?.map((part) => part.at)).toContain(at);
    expect(reader.asked).toEqual([]);
  });

  test('never repeats a value it refuses', async () => {
    const { app } = openApi();
    const response = await app.request('/v1/merchants/42/risk?at=planted&min_lsn=planted&key=planted');
    expect(await response.text()).not.toContain('planted');
  });
});

describe('POST /v1/merchants/risk', () => {
  test('answers in the order asked, with those that do not exist marked', async () => {
    const { post, reader } = openApi();
    const response = await post({ merchant_ids: ['43', 42, '7', '42'] });
    expect(response.status).toBe(200);
    const body = MerchantsRisk.parse(await response.json());
    expect(body.merchants.map((entry) => [entry.merchant_id, entry.found])).toEqual([
      ['43', true],
      ['42', true],
      ['7', false],
      ['42', true],
    ]);
    expect(body.window).toEqual(WINDOW);
    expect(body.as_of).toEqual(AS_OF);
    expect(reader.asked.map(({ ids }) => ids)).toEqual([[43n, 42n, 7n]]);
  });

  test('gives each merchant what GET gives', async () => {
    const { app, post } = openApi();
    const one = MerchantRisk.strict().parse(await (await app.request('/v1/merchants/42/risk')).json());
    const many = MerchantsRisk.parse(await (await post({ merchant_ids: ['42'] })).json());
    expect(many.merchants).toEqual([{ ...one, found: true }]);
  });

  test('takes a thousand merchants and not one more', async () => {
    const { post } = openApi();
    const ids = Array.from({ length: 1001 }, (_, index) => `-${9_000_000_000_000_000_000n + BigInt(index)}`);
    expect((await post({ merchant_ids: ids.slice(0, 1000) })).status).toBe(200);
    const problem = await problemOf(await post({ merchant_ids: ids }));
    expect(problem.invalid).toEqual([
      { at: 'body.merchant_ids', detail: 'must name at most 1000 merchants' },
    ]);
  });

  test.each([
    ['[]', 'body'],
    ['null', 'body'],
    ['"42"', 'body'],
    ['{}', 'body.merchant_ids'],
    ['{"merchant_ids": []}', 'body.merchant_ids'],
    ['{"merchant_ids": "42"}', 'body.merchant_ids'],
    ['{"merchant_ids": {"0": "42"}}', 'body.merchant_ids'],
    ['{"merchant_ids": ["42", "abc"]}', 'body.merchant_ids.1'],
    ['{"merchant_ids": [9007199254740993]}', 'body.merchant_ids.0'],
    ['{"merchant_ids": [1.5]}', 'body.merchant_ids.0'],
    ['{"merchant_ids": [null]}', 'body.merchant_ids.0'],
    ['{"merchant_ids": [["42"]]}', 'body.merchant_ids.0'],
    ['{"merchant_ids": ["42"], "at": "now"}', 'body.at'],
    ['{"merchant_ids": ["42"], "__proto__": {}}', 'body.__proto__'],
    ['{"merchant_ids": ["42"]', 'body'],
    ['', 'body'],
    ['\0', 'body'],
  ])('is 400 for %s and names %s', async (body, at) => {
    const { post, reader } = openApi();
    const problem = await problemOf(await post(body));
    expect(problem.status).toBe(400);
    expect(problem.invalid?.map((part) => part.at)).toContain(at);
    expect(reader.asked).toEqual([]);
  });

  test('names only so many wrong ids', async () => {
    const { post } = openApi();
    const problem = await problemOf(await post({ merchant_ids: Array.from({ length: 1000 }, () => 'x') }));
    expect(problem.invalid).toHaveLength(20);
  });

  test('is 413 for a body of a megabyte', async () => {
    const { post } = openApi();
    expect(await problemOf(await post('x'.repeat(1_000_000)))).toMatchObject({
      status: 413,
      kind: 'body_too_large',
    });
  });

  test('is 415 for a body that is not called JSON', async () => {
    const { post } = openApi();
    const response = await post({ merchant_ids: ['42'] }, '/v1/merchants/risk', {
      'content-type': 'text/plain',
    });
    expect(await problemOf(response)).toMatchObject({ status: 415, kind: 'media_type_unsupported' });
  });

  test('takes at, min_lsn and the rest from the query', async () => {
    const { post } = openApi();
    const response = await post({ merchant_ids: ['42'] }, '/v1/merchants/risk?at=2026-11-21T08:00:00Z');
    expect(MerchantsRisk.parse(await response.json()).window.to).toBe('2026-11-21T08:00:00.000Z');
    expect((await post({ merchant_ids: ['42'] }, '/v1/merchants/risk?max_lag_ms=37')).status).toBe(503);
  });
});

describe('what cannot be answered', () => {
  test('is 503 with the reason while no answer would be true', async () => {
    const { app, positions, post } = openApi();
    positions.current = null;
    for (const response of [
      await app.request('/v1/merchants/42/risk'),
      await post({ merchant_ids: ['42'] }),
    ]) {
      expect(response.headers.get('retry-after')).toBe('5');
      expect(await problemOf(response)).toMatchObject({
        status: 503,
        kind: 'snapshotting',
        detail: 'public.payments is being copied. Its rows are not complete yet.',
        fix: 'wait until the copy is complete',
      });
    }
  });

  test('is 503 when the reader says so, with its own problem', async () => {
    const { app, reader } = openApi();
    reader.failure = new Problem({
      status: 503,
      kind: 'sink_unreachable',
      title: 'No answer.',
      detail: 'ClickHouse cannot be reached.',
      fix: 'start it',
      retryAfterMs: 2000,
    });
    const response = await app.request('/v1/merchants/42/risk');
    expect(response.headers.get('retry-after')).toBe('2');
    expect(await problemOf(response)).toMatchObject({ status: 503, kind: 'sink_unreachable' });
  });

  test('is 503 with its fix for what a database did not let us do', async () => {
    const { app, reader, log } = openApi();
    reader.failure = new WalhouseError('sink_unreachable', {
      what: 'ClickHouse cannot be reached.',
      why: 'Nothing is stored.',
      fix: 'start it',
    });
    const response = await app.request('/v1/merchants/42/risk');
    expect(await problemOf(response)).toMatchObject({
      status: 503,
      kind: 'sink_unreachable',
      fix: 'start it',
    });
    expect(log.lines.some((line) => line.includes('a mistake of our own'))).toBe(false);
  });

  test('is 500 for a mistake of ours, whose inside goes to the log and not to the caller', async () => {
    const { app, reader, log } = openApi();
    reader.failure = new TypeError('planted inside');
    const response = await app.request('/v1/merchants/42/risk', { headers: { 'x-request-id': 'abc-1' } });
    const text = await response.clone().text();
    expect(await problemOf(response)).toMatchObject({ status: 500, kind: 'internal', request_id: 'abc-1' });
    expect(text).not.toContain('planted inside');
    expect(log.lines.some((line) => line.includes('a mistake of our own') && line.includes('abc-1'))).toBe(
      true,
    );
  });

  test.each([
    '/',
    '/v1',
    '/v1/',
    '/v1/merchants',
    '/v1/merchants//risk',
    '/v1/merchants/42/risk/',
    '/..',
    '/nope',
  ])('POST %s is a problem document', async (path) => {
    const { post } = openApi();
    const problem = await problemOf(await post({}, path));
    expect([404, 405]).toContain(problem.status);
  });

  test.each([
    ['POST', '/v1/merchants/42/risk', 'GET, HEAD'],
    ['GET', '/v1/merchants/risk', 'POST'],
    ['DELETE', '/v1/merchants/risk', 'POST'],
    ['OPTIONS', '/v1/replication', 'GET, HEAD'],
    ['PUT', '/', 'GET, HEAD'],
    ['POST', '/openapi.json', 'GET, HEAD'],
  ])('%s %s is 405 and allows %s', async (method, path, allow) => {
    const { app } = openApi();
    const response = await app.request(path, { method });
    expect(response.headers.get('allow')).toBe(allow);
    expect(await problemOf(response)).toMatchObject({ status: 405, kind: 'method_not_allowed' });
  });
});

describe('every answer', () => {
  test.each(['/v1/merchants/42/risk', '/v1/merchants/abc/risk', '/nope', '/', '/healthz', '/metrics'])(
    'of %s is not to be stored, framed or guessed at, and bears a request id',
    async (path) => {
      const { app, log } = openApi();
      const { headers } = await app.request(path, { headers: { 'x-request-id': 'trace-7' } });
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
      expect(headers.get('content-security-policy')).toContain("default-src 'none'");
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('cross-origin-resource-policy')).toBe('same-origin');
      expect(headers.get('cross-origin-opener-policy')).toBe('same-origin');
      expect(headers.get('access-control-allow-origin')).toBeNull();
      expect([headers.get('server'), headers.get('x-powered-by')]).toEqual([null, null]);
      expect(headers.get('x-request-id')).toBe('trace-7');
      expect(log.lines.at(-1)).toContain('"requestId":"trace-7"');
    },
  );

  test('has a new request id where the given one is not harmless', async () => {
    const { app } = openApi();
    const { headers } = await app.request('/healthz', { headers: { 'x-request-id': 'a b<script>' } });
    expect(headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('of HEAD is that of GET without a body', async () => {
    const { app } = openApi();
    const response = await app.request('/v1/merchants/42/risk', { method: 'HEAD' });
    expect(response.status).toBe(200);
    expect(await response.text()).toBe('');
  });

  test('is counted by route and not by merchant', async () => {
    const { app } = openApi();
    await app.request('/v1/merchants/42/risk');
    await app.request('/v1/merchants/43/risk');
    await app.request('/nope/1');
    await app.request('/nope/2');
    const text = await (await app.request('/metrics')).text();
    expect(text).toMatch(/walhouse_api_requests_total\{route="[^"]*risk",method="GET",status="200"\} 2/);
    expect(text).toContain('walhouse_api_requests_total{route="unknown",method="GET",status="404"} 2');
    expect(text).toContain('walhouse_api_risk_queries_total{lane="now",outcome="ok"} 2');
    expect(text).not.toContain('nope');
  });
});

describe('health', () => {
  const withStatus = (status: Partial<StatusDocument>) =>
    openApi({ status: () => ({ ...STATUS, ...status }) });

  test.each(['starting', 'snapshotting', 'streaming', 'paused', 'retrying'] as const)(
    'is good while %s',
    async (state) => {
      const response = await withStatus({ state }).app.request('/healthz');
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({ status: 'ok', state });
    },
  );

  test('is bad when the service stopped, and tells a stranger no more than the kind', async () => {
    const { kind, what, why, fix } = new WalhouseError('slot_missing', {
      what: 'w planted.',
      why: 'y.',
      fix: 'f',
    });
    const response = await withStatus({ state: 'stopped', error: { kind, what, why, fix } }).app.request(
      '/healthz',
    );
    expect(response.status).toBe(503);
    expect(await response.json()).toEqual({ status: 'failing', state: 'stopped', kind: 'slot_missing' });
  });

  test('is bad when one table stopped', async () => {
    const error = { kind: 'schema_changed', what: 'w', why: 'y', fix: 'f' };
    const tables = {
      a: { state: 'stopped', rows_applied: 0, quarantined: 0, error, snapshot: null, verify: null },
    } as const;
    const response = await withStatus({ tables }).app.request('/healthz');
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ kind: 'schema_changed' });
  });

  test('is one thing and readiness another', async () => {
    const { app, positions } = openApi();
    expect((await app.request('/readyz')).status).toBe(200);
    positions.current = null;
    const response = await app.request('/readyz');
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('5');
    expect(await response.json()).toEqual({ status: 'failing', state: 'streaming', kind: 'snapshotting' });
    expect((await app.request('/healthz')).status).toBe(200);
  });

  test('is one thing and life another: what waits for a person lives', async () => {
    const { app } = withStatus({ state: 'stopped' });
    expect((await app.request('/healthz')).status).toBe(503);
    expect((await app.request('/livez')).status).toBe(204);
  });
});

describe('GET /v1/replication', () => {
  test('is the status document as it is', async () => {
    const { app } = openApi();
    const body: unknown = await (await app.request('/v1/replication')).json();
    expect(body).toEqual(STATUS);
    expect(Status.strict().safeParse(body).success).toBe(true);
  });

  test('answers also while no risk answer would be true', async () => {
    const { app, positions } = openApi();
    positions.current = null;
    expect((await app.request('/v1/replication')).status).toBe(200);
  });

  test('refuses parameters it does not know', async () => {
    const { app } = openApi();
    expect((await app.request('/v1/replication?max_lag_ms=1')).status).toBe(400);
  });
});

describe('the clock of these tests', () => {
  test('is that of the example in the documentation', () => {
    expect(new Date(NOW_MS).toISOString()).toBe(WINDOW.to);
  });
});

describe('a window of another length', () => {
  test('is asked for by name, and only where it is configured', async () => {
    const { app, reader } = openApi({ windowsMs: [24, 24 * 30].map((hours) => hours * 3_600_000) });
    const answer = (await (await app.request('/v1/merchants/42/risk?window=30d')).json()) as {
      window: { from: string; to: string };
    };
    expect(answer.window).toEqual({ from: '2026-10-22T09:00:00.000Z', to: '2026-11-21T09:00:00.000Z' });
    expect((await app.request('/v1/merchants/42/risk?window=24h')).status).toBe(200);
    expect((await app.request('/v1/merchants/42/risk?window=7d')).status).toBe(200);
    expect(reader.asked.map(({ question }) => Number(question.windowUs / 3_600_000_000n))).toEqual([
      720, 24, 168,
    ]);
    for (const window of ['2d', '7', '0d', '-7d', '7w', '7d7d', '']) {
      const problem = await problemOf(await app.request(`/v1/merchants/42/risk?window=${window}`));
      expect(problem.status, window).toBe(400);
    }
    expect((await problemOf(await app.request('/v1/merchants/42/risk?window=2d'))).fix).toBe(
      'ask for one of 1d, 7d, 30d',
    );
  });
});

describe('what numbers may be set beside', () => {
  test('comes with them when it is asked for, each with its share', async () => {
    const { app, reader, post } = openApi();
    const numbers = { rejectedCount: 1, rejectedAmount: '1.00', totalCount: 4, totalAmount: '8.00' };
    const toUs = 1_000_000n;
    reader.more = {
      byMethod: new Map([[42n, [{ method: null, ...numbers }]]]),
      baseline: new Map([
        [
          42n,
          {
            previous: [{ window: { fromUs: 0n, toUs }, numbers }],
            peers: { merchants: 2, ...numbers },
          },
        ],
      ]),
    };
    const both = { rejected: { count: 1, amount: '1.00' }, total: { count: 4, amount: '8.00' } };
    const share = { count: '0.250000', amount: '0.125000' };
    const path = '?by=method&baseline=true';
    const alone: unknown = await (await app.request(`/v1/merchants/42/risk${path}`)).json();
    const listed = (await (
      await post({ merchant_ids: ['42', '43'] }, `/v1/merchants/risk${path}`)
    ).json()) as { merchants: unknown[] };
    const expected = {
      by_method: [{ method: null, ...both }],
      baseline: {
        share: { count: '0.073171', amount: '0.013213' },
        previous: [
          { window: { from: '1970-01-01T00:00:00.000Z', to: '1970-01-01T00:00:01.000Z' }, ...both, share },
        ],
        peers: { merchants: 2, ...both, share },
      },
    };
    expect(alone).toMatchObject(expected);
    expect(listed.merchants[0]).toMatchObject(expected);
    expect(reader.asked[0]?.question).toMatchObject({ byMethod: true, baseline: true });
    for (const wrong of ['by=country', 'baseline=1', 'baseline=']) {
      const problem = await problemOf(await app.request(`/v1/merchants/42/risk?${wrong}`));
      expect(problem.status, wrong).toBe(400);
    }
    reader.more = {};
    const plain: unknown = await (await app.request('/v1/merchants/43/risk')).json();
    expect(Object.keys(plain as object)).toEqual(['merchant_id', 'window', 'rejected', 'total', 'as_of']);
  });
});
