import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { ApiOptions } from '../../src/api/api.js';
import { findKey, KEYS_MAX, parseKeys, SCOPES } from '../../src/api/keys.js';
import { WalhouseError } from '../../src/pipeline/errors.js';
import { openApi, problemOf } from './api-fixture.js';

const hash = (key: string): string => createHash('sha256').update(key).digest('hex');
const RISK = 'risk-secret';
const OPS = 'ops-secret';
const BOTH = 'both-secret';
const TEXT = [
  `fraud:risk:read:${hash(RISK)}`,
  `grafana:ops:read:${hash(OPS)}`,
  `oncall:risk:read+ops:read+ops:write:${hash(BOTH).toUpperCase()}`,
].join(', ');

function refusalOf(text: string): WalhouseError {
  try {
    parseKeys(text);
  } catch (error) {
    if (error instanceof WalhouseError) return error;
    throw error;
  }
  throw new Error('the keys were accepted');
}

describe('configured keys', () => {
  test('have a name, one scope or several, and a hash', () => {
    const keys = parseKeys(TEXT);
    expect(keys.map((key) => [key.name, [...key.scopes]])).toEqual([
      ['fraud', ['risk:read']],
      ['grafana', ['ops:read']],
      ['oncall', ['risk:read', 'ops:read', 'ops:write']],
    ]);
    expect(keys.every((key) => key.hash.length === 32)).toBe(true);
  });

  test('may be none', () => {
    expect(parseKeys('')).toEqual([]);
    expect(parseKeys('  ')).toEqual([]);
  });

  test('are found by the key and by nothing else', () => {
    const keys = parseKeys(TEXT);
    expect(findKey(keys, BOTH)?.name).toBe('oncall');
    for (const wrong of ['', hash(RISK), `${RISK} `, RISK.toUpperCase()]) {
      expect(findKey(keys, wrong)).toBeNull();
    }
  });

  const secret = 'f'.repeat(40);
  test.each([
    ['an entry without its parts', secret, 'number 1'],
    ['an entry with two parts', `fraud:${secret}`, 'number 1'],
    ['an empty entry between two', `a:risk:read:${hash('a')},,b:risk:read:${hash('b')}`, 'number 2'],
    ['a name that is none', `${secret} x:risk:read:${hash('a')}`, 'number 1'],
    ['a scope that does not exist', `fraud:risk:write:${hash('a')}`, '"fraud"'],
    ['a key where the scope belongs', `fraud:${secret}:${hash('a')}`, '"fraud"'],
    ['a key where the hash belongs', `fraud:risk:read:${secret}`, '"fraud"'],
    ['a name that comes twice', `a:risk:read:${hash('a')},a:ops:read:${hash('b')}`, '"a"'],
    ['a key that comes twice', `a:risk:read:${hash('a')},b:ops:read:${hash('a')}`, '"b"'],
  ])('with %s are refused without showing any of it', (_, text, named) => {
    const refusal = refusalOf(text);
    expect(refusal.kind).toBe('config_invalid');
    expect(refusal.message).toContain('api.keys');
    expect(refusal.message).toContain(named);
    expect(refusal.message).not.toContain(secret);
    expect(refusal.message).not.toMatch(/[0-9a-f]{20}/i);
  });

  test('are bounded in number', () => {
    const text = Array.from(
      { length: KEYS_MAX + 1 },
      (_, index) => `k${index}:risk:read:${hash(`${index}`)}`,
    );
    expect(refusalOf(text.join(',')).kind).toBe('config_invalid');
  });
});

describe('a request to a service with keys', () => {
  const keys = parseKeys(TEXT);
  const RISK_PATH = '/v1/merchants/42/risk';
  const ask = (key: string | null, path: string) => {
    const api = openApi({ keys });
    const headers: Record<string, string> = key === null ? {} : { authorization: `Bearer ${key}` };
    return { ...api, answer: api.app.request(path, { headers }) };
  };

  test.each([
    [RISK, RISK_PATH, 200],
    [OPS, RISK_PATH, 403],
    [BOTH, RISK_PATH, 200],
    [RISK, '/v1/replication', 403],
    [OPS, '/v1/replication', 200],
    [BOTH, '/v1/replication', 200],
    [RISK, '/metrics', 403],
    [OPS, '/metrics', 200],
  ])('with key %s to %s is answered %i', async (key, path, status) => {
    expect((await ask(key, path).answer).status).toBe(status);
  });

  test('without a key is 401 and says how to send one', async () => {
    const response = await ask(null, RISK_PATH).answer;
    expect(response.headers.get('www-authenticate')).toBe('Bearer realm="walhouse"');
    expect(await problemOf(response)).toMatchObject({ status: 401, kind: 'key_missing' });
  });

  test('with a wrong key is 401, and the key is in no log and no answer', async () => {
    const { answer, log } = ask('planted-wrong-key', RISK_PATH);
    const response = await answer;
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toContain('invalid_token');
    expect(await response.text()).not.toContain('planted-wrong-key');
    expect(log.lines.join('\n')).not.toContain('planted-wrong-key');
  });

  test('with a key that lacks the scope is 403 and names the scope', async () => {
    const { answer, log } = ask(OPS, RISK_PATH);
    const response = await answer;
    expect(await problemOf(response)).toMatchObject({
      status: 403,
      kind: 'scope_missing',
      scope: 'risk:read',
    });
    expect(log.lines.join('\n')).toContain('"caller":"grafana"');
    expect(log.lines.join('\n')).not.toContain(OPS);
  });

  test('is refused before anything of it is looked at', async () => {
    const { answer } = ask(null, '/v1/merchants/abc/risk?nonsense=1');
    expect((await answer).status).toBe(401);
    const { post } = openApi({ keys });
    expect((await post('{')).status).toBe(401);
  });

  test.each(['Basic cmlzaw==', 'Bearer', 'Bearer  ', `Token ${RISK}`, RISK, `Bearer ${RISK} ${RISK}`])(
    'with "%s" is 401',
    async (authorization) => {
      const { app } = openApi({ keys });
      expect((await app.request(RISK_PATH, { headers: { authorization } })).status).toBe(401);
    },
  );

  test.each(['/healthz', '/livez', '/readyz', '/openapi.json', '/'])('%s needs no key', async (path) => {
    expect((await ask(null, path).answer).ok).toBe(true);
  });
});

interface Documented {
  readonly paths: Record<
    string,
    Record<string, { readonly security?: readonly { readonly key: readonly string[] }[] }>
  >;
}

describe('every route', () => {
  /** What may be asked without a key: whether it lives, and what is the same for everybody. */
  const PUBLIC = ['GET /healthz', 'GET /livez', 'GET /readyz'];

  test('that is documented refuses whoever has no key for it, whatever the request is like, and does nothing', async () => {
    const { paths } = (await (await openApi().app.request('/openapi.json')).json()) as Documented;
    const control = new Proxy(
      {},
      {
        get: (_, name) => () => {
          throw new Error(`${String(name)} was done`);
        },
      },
    ) as NonNullable<ApiOptions['control']>;
    const everyKey = SCOPES.map((scope) => `${scope.replace(':', '-')}:${scope}:${hash(scope)}`).join(',');
    const { app, reader } = openApi({ keys: parseKeys(everyKey), control });
    const open: string[] = [];
    for (const [path, methods] of Object.entries(paths)) {
      for (const [method, { security }] of Object.entries(methods)) {
        const route = `${method.toUpperCase()} ${path}`;
        const scope = security?.[0]?.key[0];
        const ask = async (key: string | null): Promise<number> =>
          (
            await app.request(path.replace(/\{\w+\}/g, 'nonsense'), {
              method: method.toUpperCase(),
              headers: key === null ? {} : { authorization: `Bearer ${key}` },
            })
          ).status;
        if (scope === undefined) {
          open.push(route);
          continue;
        }
        expect(SCOPES, route).toContain(scope);
        expect(await ask(null), route).toBe(401);
        for (const other of SCOPES.filter((one) => one !== scope))
          expect(await ask(other), `${route} with ${other}`).toBe(403);
        expect([401, 403], `${route} with ${scope}`).not.toContain(await ask(scope).catch(() => 500));
      }
    }
    expect(open.sort()).toEqual(PUBLIC);
    expect(reader.asked).toEqual([]);
  });

  test('under /v1 and /metrics is documented', async () => {
    const { app } = openApi();
    const { paths } = (await (await app.request('/openapi.json')).json()) as Documented;
    const documented = new Set(
      Object.entries(paths).flatMap(([path, methods]) =>
        Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
      ),
    );
    const served = app.routes
      .filter(({ method, path }) => method !== 'ALL' && /^\/(v\d|metrics)/.test(path))
      .map(({ method, path }) => `${method} ${path}`);
    expect(served.length).toBeGreaterThan(10);
    expect([...new Set(served)].filter((route) => !documented.has(route))).toEqual([]);
  });
});
