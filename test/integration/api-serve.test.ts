import { request as httpRequest } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { COALESCE_LIMITS } from '../../src/api/coalesce.js';
import { ClickHouseRisk } from '../../src/api/risk-clickhouse.js';
import { serveApi, type ServedApi, type ServeOptions } from '../../src/api/serve.js';
import { WalhouseError } from '../../src/pipeline/errors.js';
import { openApi, problemOf, type ProblemBody } from '../unit/api-fixture.js';

const served: ServedApi[] = [];

afterEach(async () => {
  await Promise.all(served.splice(0).map((api) => api.close()));
});

async function serve(options: Partial<ServeOptions> = {}, api = openApi()) {
  const listening = await serveApi(api.app, { host: '127.0.0.1', port: 0, ...options });
  served.push(listening);
  return { ...api, ...listening, port: Number(new URL(listening.url).port) };
}

/** Sends bytes as they are and gives back all that comes until the other side closes. */
function exchange(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
  });
}

/** What no route answered bears the same headers as what one did. */
function problemIn(text: string): ProblemBody {
  for (const header of [
    'x-content-type-options: nosniff',
    'referrer-policy: no-referrer',
    "content-security-policy: default-src 'none'; frame-ancestors 'none'",
    'cache-control: no-store',
  ])
    expect(text.toLowerCase()).toContain(header);
  expect(text.toLowerCase()).toContain('content-type: application/problem+json');
  return JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4)) as ProblemBody;
}

function askWithHost(port: number, host: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { port, host: '127.0.0.1', path: '/healthz', headers: { host } },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    );
    request.on('error', reject);
    request.end();
  });
}

describe('a served API', () => {
  test('answers under the address it says', async () => {
    const { url } = await serve();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    const response = await fetch(`${url}/v1/merchants/42/risk`);
    expect(await response.json()).toMatchObject({ merchant_id: '42' });
  });

  test('refuses a port that is taken, with the fix', async () => {
    const { port } = await serve();
    const refusal = await serveApi(openApi().app, { host: '127.0.0.1', port }).catch(
      (error: unknown) => error,
    );
    expect(refusal).toBeInstanceOf(WalhouseError);
    expect(refusal).toMatchObject({ kind: 'config_invalid' });
    expect((refusal as WalhouseError).message).toContain(`127.0.0.1:${port}`);
  });

  test('on loopback answers only to the names of loopback and those it was given', async () => {
    const { port } = await serve({ hosts: ['walhouse.internal'] });
    const good = [
      'localhost',
      'LOCALHOST:80',
      `127.0.0.1:${port}`,
      '127.9.9.9',
      '[::1]:80',
      'walhouse.internal:443',
    ];
    for (const host of good) expect([host, await askWithHost(port, host)]).toEqual([host, 200]);
    for (const host of [
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      '10.0.0.1',
      'a b',
    ]) {
      expect([host, await askWithHost(port, host)]).toEqual([host, 421]);
    }
  });

  test('answers what is no HTTP with a problem document', async () => {
    const { port } = await serve();
    expect(problemIn(await exchange(port, 'nonsense\r\n\r\n'))).toMatchObject({ status: 400 });
    const bare = await exchange(port, 'GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n');
    expect(problemIn(bare)).toMatchObject({ status: 421, kind: 'host_unknown' });
    const huge = `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`;
    expect(problemIn(await exchange(port, huge))).toMatchObject({ status: 431, kind: 'headers_too_large' });
    const odd = await exchange(port, 'GET \\ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    expect(problemIn(odd).status).toBe(400);
  });

  test('cuts off a client that is slow to send its headers or its body', async () => {
    const { port } = await serve({ limits: { headersMs: 200, requestMs: 400 } });
    expect(problemIn(await exchange(port, 'GET / HTTP/1.1\r\nhost: localh'))).toMatchObject({
      status: 408,
      kind: 'request_too_slow',
    });
    const half =
      'POST /v1/merchants/risk HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"mer';
    expect(await exchange(port, half)).toMatch(/^(HTTP\/1\.1 408|$)/);
  });

  test('cuts off a connection that says nothing, at once or after its answer', async () => {
    const { port } = await serve({ limits: { idleMs: 300, keepAliveMs: 300, headersMs: 300 } });
    const startedMs = performance.now();
    await exchange(port, '');
    expect(await exchange(port, 'GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n')).toContain('HTTP/1.1 204');
    expect(performance.now() - startedMs).toBeLessThan(5000);
  });

  test('cuts off a client that asks and does not read, and is not idle either', async () => {
    const { port } = await serve({ limits: { answerMs: 300 } });
    const one = 'GET /assets/chart.js HTTP/1.1\r\nhost: localhost\r\n\r\n';
    const socket = connect(port, '127.0.0.1', () => socket.write(one.repeat(400)));
    let isCut = false;
    for (const end of ['error', 'close']) socket.on(end, () => (isCut = true));
    socket.pause();
    // As it does not read, it learns of the end only when it writes; an empty line before a request means nothing.
    await expect.poll(() => isCut || (socket.write('\r\n') && isCut), { timeout: 5_000 }).toBe(true);
  });

  test('takes as many connections as it may, and hangs up on more', async () => {
    const { port } = await serve({ limits: { connectionsMax: 2 } });
    const held = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
    await Promise.all(held.map((socket) => new Promise((resolve) => socket.once('connect', resolve))));
    await exchange(port, '').catch(() => {});
    for (const socket of held) socket.destroy();
    await expect
      .poll(() =>
        exchange(port, 'GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n').catch(() => ''),
      )
      .toContain('HTTP/1.1 204');
  });

  test.each(['with its length', 'in chunks'])(
    'refuses a body of a megabyte sent %s, and goes on',
    async (how) => {
      const { url } = await serve();
      const megabyte = Buffer.alloc(1_000_000, ' ');
      const body =
        how === 'in chunks'
          ? new ReadableStream({
              start(controller) {
                for (let at = 0; at < megabyte.length; at += 50_000)
                  controller.enqueue(megabyte.subarray(at, at + 50_000));
                controller.close();
              },
            })
          : megabyte;
      const response = await fetch(`${url}/v1/merchants/risk`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
        duplex: 'half',
      });
      expect(await problemOf(response)).toMatchObject({ status: 413 });
      expect((await fetch(`${url}/healthz`)).status).toBe(200);
    },
  );

  test('calls off the look-up of a caller that goes away', async () => {
    const { url, reader } = await serve();
    reader.gate = new Promise(() => {});
    const caller = new AbortController();
    const answer = fetch(`${url}/v1/merchants/42/risk`, { signal: caller.signal }).catch(() => 'gone');
    await expect.poll(() => reader.asked.length).toBe(1);
    caller.abort();
    expect(await answer).toBe('gone');
    await expect.poll(() => reader.asked[0]?.signal.aborted).toBe(true);
  });
});

describe('closing', () => {
  test('finishes what was taken on, takes on nothing more, and leaves no connection', async () => {
    const { url, reader, close } = await serve();
    await (await fetch(`${url}/healthz`)).text();
    let letGo = (): void => {};
    reader.gate = new Promise((resolve) => (letGo = resolve));
    const answer = fetch(`${url}/v1/merchants/42/risk`);
    await expect.poll(() => reader.asked.length).toBe(1);
    const closed = close();
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
    letGo();
    expect((await answer).status).toBe(200);
    await closed;
  });

  test('does not wait for a connection that has asked nothing', async () => {
    const { port, close } = await serve();
    const silent = connect(port, '127.0.0.1');
    const ended = new Promise((resolve) => silent.once('close', resolve));
    // Its answer proves that the server has seen the connection that was opened before.
    await exchange(port, 'GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    const startedMs = performance.now();
    await close();
    expect(performance.now() - startedMs).toBeLessThan(10_000);
    await ended;
  });

  test('ends waits for a position at once', async () => {
    const { url, positions, close } = await serve();
    const answer = fetch(`${url}/v1/merchants/42/risk?min_lsn=F/0&wait_ms=30000`);
    await expect.poll(() => positions.waiters).toBe(1);
    await close();
    expect((await answer).status).toBe(503);
  });

  test('cuts off after its bound what does not end', async () => {
    const { url, reader, close } = await serve({ limits: { closeMs: 100 } });
    reader.gate = new Promise(() => {});
    const answer = fetch(`${url}/v1/merchants/42/risk`).then(
      () => 'answered',
      () => 'cut off',
    );
    await expect.poll(() => reader.asked.length).toBe(1);
    await close();
    expect(await answer).toBe('cut off');
  });
});

describe('a ClickHouse that accepts and never answers', () => {
  test('is a 503 within the deadline, for those who wait in line too, and is recovered from', async () => {
    // Stands in the way of the real server: silent at first, then a plain pipe to it.
    const target = new URL(inject('servers').clickhouse);
    let silent = true;
    const sockets = new Set<Socket>();
    const relay = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      if (silent) return;
      const onward = connect(Number(target.port), target.hostname);
      onward.on('error', () => socket.destroy());
      socket.pipe(onward).pipe(socket);
    });
    await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
    const client = createClient({
      url: `http://127.0.0.1:${(relay.address() as AddressInfo).port}`,
      log: { level: ClickHouseLogLevel.OFF },
    });
    const { positions } = openApi();
    const mart = 'select arrayJoin({ids:Array(Int64)}) as merchant_id, 0 as rejected_count, 0 as total_count';
    const risk = new ClickHouseRisk({
      client,
      positions,
      queries: { rows: { mart: '', landing: '' }, numbers: mart, byMethod: mart, peers: mart, last: mart },
    });
    const deadlineMs = { mart: 300, pass: 300, landing: 300 };
    const { url } = await serve(
      {},
      openApi({ risk, positions, limits: { coalesce: { ...COALESCE_LIMITS, deadlineMs } } }),
    );

    const startedMs = performance.now();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, id) => fetch(`${url}/v1/merchants/${id}/risk`)),
    );
    // One after the other they would take longer.
    expect(performance.now() - startedMs).toBeLessThan(20 * 300);
    for (const answer of answers) {
      expect(answer.headers.get('retry-after')).not.toBeNull();
      expect(await problemOf(answer)).toMatchObject({ status: 503, kind: 'sink_timeout' });
    }
    silent = false;
    const recovered = await fetch(`${url}/v1/merchants/42/risk`);
    expect(recovered.status).toBe(200);
    await recovered.text();
    await client.close();
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => relay.close(resolve));
  });
});
