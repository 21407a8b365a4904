import { describe, expect, test } from 'vitest';
import { parseConfig, type Config } from '../../src/cli/config.js';

const parse = (verify: string): Config =>
  parseConfig(
    `{ source: { url: "postgres://a@b/c" }, sink: { url: "https://a:8443", database: d }, tables: { public.a: {} }, ${verify} }`,
    'walhouse.yaml',
    {},
  );

describe('verify in the configuration', () => {
  test.each([
    ['30s', 30_000],
    ['15m', 900_000],
    ['1h', 3_600_000],
    ['7d', 604_800_000],
  ])('every %s is %d ms', (every, ms) => {
    expect(parse(`verify: { every: ${every} }`).verify).toEqual({ every: ms, max_load: 0.25 });
  });

  test('left out, nothing is compared', () => {
    expect(parse('marts: []').verify).toBeUndefined();
  });

  test.each([
    ['verify: { every: 0h }', 'verify.every'],
    ['verify: { every: 1 hour }', 'verify.every'],
    ['verify: { every: 3600 }', 'verify.every'],
    ['verify: {}', 'verify.every'],
    ['verify: { every: 1h, max_load: 0 }', 'verify.max_load'],
    ['verify: { every: 1h, max_load: 17 }', 'verify.max_load'],
    ['verify: { every: 1h, tables: [] }', 'verify.tables'],
    ['verify: true', 'verify'],
  ])('%s is refused by name', (text, key) => {
    expect(() => parse(text)).toThrow(key);
  });
});
