import { describe, expect, test } from 'vitest';
import { parseKeys } from '../../src/api/keys.js';
import { RateLimiter } from '../../src/api/rate-limit.js';
import { openApi, problemOf } from './api-fixture.js';
import { createHash } from 'node:crypto';

describe('a rate limit', () => {
  test('lets a burst through, then as many as its rate', () => {
    const limiter = new RateLimiter({ perSecond: 10, burst: 3 });
    expect([1, 2, 3].map(() => limiter.take('a', 0))).toEqual([0, 0, 0]);
    expect(limiter.take('a', 0)).toBe(100);
    expect(limiter.take('a', 99)).toBe(1);
    expect(limiter.take('a', 100)).toBe(0);
    expect(limiter.take('a', 100)).toBe(100);
  });

  test('counts every caller for itself', () => {
    const limiter = new RateLimiter({ perSecond: 1, burst: 1 });
    expect(limiter.take('a', 0)).toBe(0);
    expect(limiter.take('b', 0)).toBe(0);
    expect(limiter.take('a', 0)).toBeGreaterThan(0);
  });

  test('never gives more than the burst, however long the rest', () => {
    const limiter = new RateLimiter({ perSecond: 10, burst: 2 });
    limiter.take('a', 0);
    expect([1, 2, 3].map(() => limiter.take('a', 1e9) === 0)).toEqual([true, true, false]);
  });

  test('survives a clock that is set back', () => {
    const limiter = new RateLimiter({ perSecond: 10, burst: 2 });
    limiter.take('a', 1e6);
    expect(limiter.take('a', 0)).toBe(0);
    expect(limiter.take('a', 0)).toBe(100);
  });

  test('remembers a bounded number of callers and forgets the quietest', () => {
    const limiter = new RateLimiter({ perSecond: 1, burst: 1 }, 3);
    for (const caller of ['a', 'b', 'c', 'a', 'd']) limiter.take(caller, 0);
    expect(limiter.callers).toBe(3);
    expect(limiter.take('a', 0)).toBeGreaterThan(0);
    expect(limiter.take('b', 0)).toBe(0);
  });
});

describe('a client beyond its rate', () => {
  const rate = { perSecond: 2, burst: 2 };
  const keys = parseKeys(
    ['one', 'two']
      .map((name) => `${name}:risk:read:${createHash('sha256').update(name).digest('hex')}`)
      .join(','),
  );

  test('gets 429 with Retry-After, and is let in again later', async () => {
    const { app, clock } = openApi({ limits: { rate } });
    const ask = () => app.request('/v1/merchants/42/risk');
    expect([(await ask()).status, (await ask()).status]).toEqual([200, 200]);
    const refused = await ask();
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(await problemOf(refused)).toMatchObject({
      status: 429,
      kind: 'rate_exceeded',
      retry_after_ms: 500,
    });
    clock.nowMs += 500;
    expect((await ask()).status).toBe(200);
  });

  test('is told what is left of it, refused or not', async () => {
    const { app, clock } = openApi({ limits: { rate } });
    const told = async () => {
      const { headers } = await app.request('/v1/merchants/42/risk');
      return [headers.get('ratelimit-policy'), headers.get('ratelimit')];
    };
    const policy = '"default";q=2;w=1';
    expect([await told(), await told(), await told()]).toEqual([
      [policy, '"default";r=1;t=1'],
      [policy, '"default";r=0;t=1'],
      [policy, '"default";r=0;t=1'],
    ]);
    clock.nowMs += 1_000;
    expect(await told()).toEqual([policy, '"default";r=1;t=1']);
  });

  test('does not take from another key', async () => {
    const { app } = openApi({ limits: { rate }, keys });
    const ask = async (key: string) =>
      (await app.request('/v1/merchants/42/risk', { headers: { authorization: `Bearer ${key}` } })).status;
    expect([await ask('one'), await ask('one'), await ask('one'), await ask('two')]).toEqual([
      200, 200, 429, 200,
    ]);
  });

  test('cannot guess keys any faster', async () => {
    const { app } = openApi({ limits: { rate }, keys });
    const guess = async (key: string) =>
      (await app.request('/v1/merchants/42/risk', { headers: { authorization: `Bearer ${key}` } })).status;
    expect([await guess('a'), await guess('b'), await guess('c'), await guess('one')]).toEqual([
      401, 401, 429, 200,
    ]);
  });

  test('still sees whether the service is healthy', async () => {
    const { app } = openApi({ limits: { rate } });
    for (let index = 0; index < 5; index += 1) expect((await app.request('/healthz')).status).toBe(200);
  });
});
