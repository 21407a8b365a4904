import { describe, expect, test } from 'vitest';
import { loadDashboard } from '../../src/ops/dashboard.js';
import { openApi } from './api-fixture.js';

interface Operation {
  operationId: string;
  security?: { key: string[] }[];
  parameters?: { name: string; in: string; required?: boolean; schema: Record<string, unknown> }[];
  responses: Record<string, { content?: Record<string, { schema: { $ref?: string } }> }>;
}
interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: {
    schemas: Record<string, { properties?: object; required?: string[] }>;
    securitySchemes: object;
  };
}

async function documentOf(): Promise<Document> {
  return (await (await openApi().app.request('/openapi.json')).json()) as Document;
}

describe('/openapi.json', () => {
  test('describes every route that a program asks', async () => {
    const { openapi, paths } = await documentOf();
    expect(openapi).toBe('3.1.0');
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method} ${path}`),
    );
    expect(routes.sort()).toEqual([
      'get /healthz',
      'get /livez',
      'get /metrics',
      'get /readyz',
      'get /v1/domains',
      'get /v1/domains/{name}',
      'get /v1/merchants/{id}/payments',
      'get /v1/merchants/{id}/risk',
      'get /v1/replication',
      'get /v1/replication/history',
      'get /v1/retention',
      'post /v1/merchants/risk',
      'post /v1/pause',
      'post /v1/resume',
      'post /v1/resync',
      'post /v1/tables/{id}/repair',
      'post /v1/tables/{id}/resync',
      'post /v1/tables/{id}/verify',
      'post /v1/verify',
    ]);
  });

  test('names the parameters that are taken, and their bounds', async () => {
    const { paths } = await documentOf();
    const parameters = paths['/v1/merchants/{id}/risk']?.get?.parameters ?? [];
    expect(parameters.map(({ name, in: place, required }) => [name, place, required === true])).toEqual([
      ['id', 'path', true],
      ['at', 'query', false],
      ['window', 'query', false],
      ['by', 'query', false],
      ['baseline', 'query', false],
      ['min_lsn', 'query', false],
      ['wait_ms', 'query', false],
      ['max_lag_ms', 'query', false],
    ]);
    const schemaOf = (name: string) => parameters.find((parameter) => parameter.name === name)?.schema;
    expect(schemaOf('at')).toMatchObject({ type: 'string', format: 'date-time' });
    expect(schemaOf('wait_ms')).toMatchObject({ type: 'integer', maximum: 30_000 });
  });

  test('says for each route which scope it needs and that errors are problem documents', async () => {
    const { paths, components } = await documentOf();
    expect(components.securitySchemes).toEqual({ key: { type: 'http', scheme: 'bearer' } });
    const scopes = Object.values(paths).flatMap((methods) =>
      Object.values(methods).map(({ operationId, security }) => [
        operationId,
        security?.[0]?.key[0] ?? 'none',
      ]),
    );
    expect(Object.fromEntries(scopes)).toEqual({
      domain: 'ops:read',
      domains: 'ops:read',
      merchantRisk: 'risk:read',
      merchantsRisk: 'risk:read',
      merchantPayments: 'risk:read',
      replication: 'ops:read',
      replicationHistory: 'ops:read',
      retention: 'ops:read',
      metrics: 'ops:read',
      healthz: 'none',
      livez: 'none',
      readyz: 'none',
      pause: 'ops:write',
      resume: 'ops:write',
      repairTable: 'ops:write',
      resyncTable: 'ops:write',
      resyncAll: 'ops:write',
      verifyTable: 'ops:write',
      verifyAll: 'ops:write',
    });
    for (const status of ['400', '401', '403', '404', '429', '503']) {
      const { content } = paths['/v1/merchants/{id}/risk']?.get?.responses[status] ?? {};
      expect(content?.['application/problem+json']?.schema.$ref).toBe('#/components/schemas/Problem');
    }
  });

  // What programs rely on: a member that goes, or comes, is a decision and not an accident.
  test.each([
    ['MerchantRisk', ['merchant_id', 'window', 'rejected', 'total', 'as_of'], ['by_method', 'baseline']],
    ['MethodNumbers', ['method', 'rejected', 'total']],
    ['RejectedShare', ['count', 'amount']],
    ['Baseline', ['share', 'previous', 'peers']],
    ['MerchantsRisk', ['window', 'as_of', 'merchants']],
    ['Window', ['from', 'to']],
    ['CountAndAmount', ['count', 'amount']],
    ['AsOf', ['lsn', 'committed_at', 'lag_ms']],
    [
      'Status',
      [
        'state',
        'since',
        'writer',
        'applied_lsn',
        'confirmed_lsn',
        'source_lsn',
        'lag_bytes',
        'lag_ms',
        'slot',
        'tables',
        'error',
        'retry_at',
      ],
    ],
    ['SlotStatus', ['held_bytes', 'headroom_bytes', 'wal_status', 'seconds_left', 'warning']],
    ['StandingHistory', ['every_ms', 'samples']],
    ['Retention', ['tables', 'last_purge']],
    ['MerchantPayments', ['merchant_id', 'window', 'payments', 'as_of']],
    ['TableStatus', ['state', 'rows_applied', 'quarantined', 'error', 'snapshot', 'verify']],
  ])(
    '%s has these members, always there but for those that are asked for',
    async (name, members, asked: string[] = []) => {
      const { components } = await documentOf();
      const schema = components.schemas[name];
      expect(Object.keys(schema?.properties ?? {}).filter((member) => !asked.includes(member))).toEqual(
        members,
      );
      expect(Object.keys(schema?.properties ?? {})).toEqual(expect.arrayContaining(asked));
      expect(schema?.required).toEqual(members);
    },
  );
});

describe('the dashboard', () => {
  const pages = [
    { path: '/', name: 'overview', scripts: [] },
    { path: '/domains/payments', name: 'domain', scripts: ['/assets/chart.js'] },
    { path: '/merchants/42', name: 'merchant', scripts: [] },
  ] as const;

  test.each(pages)('$name loads nothing but what this server has', async ({ path, name, scripts }) => {
    const { app } = openApi();
    const response = await app.request(path);
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    const html = await response.text();
    expect(html).toBe(loadDashboard()[name].html);
    expect(html).not.toMatch(/https?:\/\/(?!www\.w3\.org\/2000\/svg)/);
    expect([...html.matchAll(/<(?:script|img)[^>]* src="([^"]*)"/g)].map(([, from]) => from)).toEqual(
      scripts,
    );
    expect(html).not.toMatch(/<link[^>]* href="(?!data:,)/);
    expect(html).not.toContain('innerHTML');
    expect(html).not.toMatch(/ style="| on[a-z]+="/);
    for (const script of scripts) {
      const asset = await app.request(script);
      expect(asset.headers.get('content-type')).toBe('text/javascript; charset=utf-8');
      expect(await asset.text()).not.toContain('sourceMappingURL');
    }
  });

  test.each(pages)('$name may run its own script and style and no other', ({ name, scripts }) => {
    const { html, contentSecurityPolicy } = loadDashboard()[name];
    expect(contentSecurityPolicy).not.toContain('unsafe');
    expect(contentSecurityPolicy.match(/'sha256-[A-Za-z0-9+/]{43}='/g)).toHaveLength(2);
    expect(html.match(/<script/g)).toHaveLength(1 + scripts.length);
    expect(html.match(/<style/g)).toHaveLength(1);
  });

  test('the reference of the API is this server’s own, and reads the description that programs read', async () => {
    const { app } = openApi();
    const response = await app.request('/docs');
    const html = await response.text();
    const loaded = [...html.matchAll(/<(?:script|link)[^>]* (?:src|href)="(?!data:)([^"]*)"/g)].map(
      ([, from]) => from!,
    );
    expect(loaded).toEqual(['/assets/swagger-ui.css', '/assets/swagger-ui.js']);
    expect(html).toContain("url: '/openapi.json'");
    for (const path of [...loaded, '/openapi.json']) {
      const asset = await app.request(path);
      expect(asset.status, path).toBe(200);
      const tag = asset.headers.get('etag')!;
      expect(tag, path).toMatch(/^"[0-9a-f]{40}"$/);
      const again = await app.request(path, { headers: { 'if-none-match': tag } });
      expect(again.status, path).toBe(304);
      expect(await again.text()).toBe('');
    }
    const policy = response.headers.get('content-security-policy')!;
    expect(policy).toMatch(/script-src 'sha256-[A-Za-z0-9+/]{43}=' 'self'; connect-src 'self'/);
  });
});
