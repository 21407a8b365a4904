import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { API_LIMITS } from '../../src/api/api.js';
import { RiskQuery } from '../../src/api/schemas.js';
import { SERVE_LIMITS } from '../../src/api/serve.js';
import { openApi } from './api-fixture.js';

const DOCUMENT = readFileSync(new URL('../../docs/API.md', import.meta.url), 'utf8');
const API = new URL('../../src/api/', import.meta.url);
const POSITIONS = new URL('../../src/ops/positions.ts', import.meta.url);
const rows = [...DOCUMENT.matchAll(/^\| *(.*?) *\| *(.*?) *\| *(.*?) *\|$/gm)].map(([, ...cells]) => cells);
const quoted = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, text]) => text!);

describe('docs/API.md', () => {
  test('has every route with its scope, and no other', async () => {
    const { paths } = (await (await openApi().app.request('/openapi.json')).json()) as {
      paths: Record<string, Record<string, { security?: { key: string[] }[] }>>;
    };
    const known = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(
        ([method, { security }]) => `${method.toUpperCase()} ${path} ${security?.[0]?.key[0] ?? 'none'}`,
      ),
    );
    const told = rows
      .filter(([routes]) => /^`(GET|POST) /.test(routes!))
      .flatMap(([routes, scope]) => quoted(routes!).map((route) => `${route} ${scope!.replaceAll('`', '')}`));
    expect(told.sort()).toEqual(known.sort());
  });

  test('has every parameter of the risk question, and no other', () => {
    const told = rows.slice(rows.findIndex(([first]) => first === 'parameter') + 2);
    const names = told.slice(0, Object.keys(RiskQuery.shape).length).flatMap(([name]) => quoted(name!));
    expect(names).toEqual(Object.keys(RiskQuery.shape));
  });

  test('has every kind of problem that the API itself makes, and no other', () => {
    const files = [...readdirSync(API).map((file) => new URL(file, API)), POSITIONS];
    const made = files.flatMap((file) =>
      [...readFileSync(file, 'utf8').matchAll(/kind: '(\w+)'/g)].map(([, kind]) => kind!),
    );
    const told = rows.filter(([status]) => /^[45]\d\d$/.test(status!)).flatMap(([, kinds]) => quoted(kinds!));
    expect(told.sort()).toEqual([...new Set(made)].sort());
  });

  test('says how long everything may take, and how often one may ask', () => {
    const seconds = (ms: number): string => `${ms / 1000} s`;
    const { deadlineMs } = API_LIMITS.coalesce;
    const { paymentsMs, picturesMs, retentionMs, ordersMs } = API_LIMITS.deadlines;
    const timeOf = (route: string): string =>
      rows.find(([routes]) => quoted(routes!).includes(route))?.[2] ?? '';
    expect(deadlineMs.pass).toBe(deadlineMs.mart);
    for (const route of ['GET /v1/merchants/{id}/risk', 'POST /v1/merchants/risk'])
      expect(timeOf(route)).toContain(`${seconds(deadlineMs.mart)} (${seconds(deadlineMs.landing)}`);
    expect(timeOf('GET /v1/merchants/{id}/payments')).toBe(seconds(paymentsMs));
    expect(timeOf('GET /v1/domains/{name}')).toBe(seconds(picturesMs));
    expect(timeOf('GET /v1/retention')).toBe(seconds(retentionMs));
    expect(timeOf('POST /v1/pause')).toContain(seconds(ordersMs));
    for (const said of [
      `A request has to arrive within ${seconds(SERVE_LIMITS.requestMs)}`,
      `an answer has to be read within ${seconds(SERVE_LIMITS.answerMs)}`,
      `nothing moves for ${seconds(SERVE_LIMITS.idleMs)}`,
      `for ${seconds(SERVE_LIMITS.closeMs)} at most`,
      `${API_LIMITS.rate.perSecond.toLocaleString('en')} times a second`,
      `${API_LIMITS.rate.burst.toLocaleString('en')} times at once`,
    ])
      expect(DOCUMENT).toContain(said);
  });
});
