import { describe, expect, test } from 'vitest';
import { openApi, problemOf } from './api-fixture.js';

const RISK = '/v1/merchants/42/risk';

describe.each([RISK, '/v1/replication'])('%s', (path) => {
  test('answers at once when min_lsn is applied already', async () => {
    const { app } = openApi();
    expect((await app.request(`${path}?min_lsn=0/16B3748&wait_ms=30000`)).status).toBe(200);
    expect((await app.request(`${path}?min_lsn=0/16b3748`)).status).toBe(200);
  });

  test('answers as soon as min_lsn is applied', async () => {
    const { app, positions } = openApi();
    const answer = Promise.resolve(app.request(`${path}?min_lsn=0/2000000&wait_ms=30000`));
    await expect.poll(() => positions.waiters).toBe(1);
    positions.advance(0x1ffffffn);
    expect(positions.waiters).toBe(1);
    positions.advance(0x2000000n);
    expect((await answer).status).toBe(200);
  });

  test('is 503 when min_lsn is not applied in time, and says how far it is', async () => {
    const { app } = openApi();
    for (const query of [
      'min_lsn=0/16B3749',
      'min_lsn=0/16B3749&wait_ms=0',
      'min_lsn=0/16B3749&wait_ms=10',
    ]) {
      const response = await app.request(`${path}?${query}`);
      expect(response.headers.get('retry-after')).toBe('1');
      expect(await problemOf(response)).toMatchObject({
        status: 503,
        kind: 'position_not_applied',
        applied_lsn: '0/16B3748',
      });
    }
  });

  test('is 503 with the reason when there is no position at all', async () => {
    const { app, positions } = openApi();
    positions.current = null;
    const problem = await problemOf(await app.request(`${path}?min_lsn=0/1&wait_ms=5`));
    expect(problem).toMatchObject({ status: 503, kind: 'snapshotting' });
  });

  test('stops waiting when the service closes', async () => {
    const { app, positions } = openApi();
    const closing = new AbortController();
    const answer = app.fetch(new Request(`http://localhost${path}?min_lsn=0/2000000&wait_ms=30000`), {
      closing: closing.signal,
    });
    await expect.poll(() => positions.waiters).toBe(1);
    closing.abort();
    expect((await answer).status).toBe(503);
    expect(positions.waiters).toBe(0);
  });

  test('stops waiting when the caller goes away', async () => {
    const { app, positions } = openApi();
    const caller = new AbortController();
    const request = new Request(`http://localhost${path}?min_lsn=0/2000000&wait_ms=30000`, {
      signal: caller.signal,
    });
    const answer = app.fetch(request, {});
    await expect.poll(() => positions.waiters).toBe(1);
    caller.abort();
    expect((await answer).status).toBe(499);
    expect(positions.waiters).toBe(0);
  });
});

describe('an answer', () => {
  test('is at a position that the caller had waited for', async () => {
    const { app, positions } = openApi();
    const answer = Promise.resolve(app.request(`${RISK}?min_lsn=0/2000000&wait_ms=30000`));
    await expect.poll(() => positions.waiters).toBe(1);
    positions.advance(0x2000010n);
    expect(await (await answer).json()).toMatchObject({ as_of: { lsn: '0/2000010' } });
  });

  test('is refused when what is known is older than max_lag_ms', async () => {
    const { app, reader } = openApi();
    expect((await app.request(`${RISK}?max_lag_ms=38`)).status).toBe(200);
    const asked = reader.asked.length;
    const problem = await problemOf(await app.request(`${RISK}?max_lag_ms=37`));
    expect(problem).toMatchObject({ status: 503, kind: 'lag_too_high', lag_ms: 38 });
    expect(reader.asked).toHaveLength(asked);
  });

  test('is as old as it is when it leaves, the time ClickHouse took included', async () => {
    const { app, reader, clock } = openApi();
    let letGo = (): void => {};
    reader.gate = new Promise((resolve) => (letGo = resolve));
    const answers = [RISK, `${RISK}?max_lag_ms=100`].map((path) => Promise.resolve(app.request(path)));
    await expect.poll(() => reader.asked.length).toBe(2);
    clock.nowMs += 1000;
    letGo();
    const [plain, bounded] = await Promise.all(answers);
    expect(await plain?.json()).toMatchObject({ as_of: { lag_ms: 1038 } });
    expect(bounded?.status).toBe(503);
  });

  test('has no commit time before one is known', async () => {
    const { app, positions } = openApi();
    positions.current = { lsn: 1n, committedAtMs: null, lagMs: 0 };
    expect(await (await app.request(RISK)).json()).toMatchObject({
      as_of: { lsn: '0/1', committed_at: null },
    });
  });
});
