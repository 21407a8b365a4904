import { describe, expect, test } from 'vitest';
import {
  clickHouseTimestamp,
  formatTimestamp,
  microsFromMs,
  parseTimestamp,
} from '../../src/api/timestamp.js';
import { parseInt64 } from '../../src/api/int64.js';

const MS = BigInt(Date.UTC(2026, 10, 21, 9));

describe('a timestamp', () => {
  test.each([
    ['2026-11-21T09:00:00Z', MS * 1000n],
    ['2026-11-21t09:00:00z', MS * 1000n],
    ['2026-11-21 09:00:00Z', MS * 1000n],
    ['2026-11-21T09:00:00.1Z', MS * 1000n + 100_000n],
    ['2026-11-21T09:00:00.123456Z', MS * 1000n + 123_456n],
    ['2026-11-21T09:00:00.123456000Z', MS * 1000n + 123_456n],
    ['2026-11-21T10:30:00+01:30', MS * 1000n],
    ['2026-11-21T10:30:00 01:30', MS * 1000n],
    ['2026-11-21T07:00:00-02:00', MS * 1000n],
    ['2026-11-21T09:00:00-00:00', MS * 1000n],
    ['2024-02-29T00:00:00Z', BigInt(Date.UTC(2024, 1, 29)) * 1000n],
  ])('%s is read to the microsecond', (text, micros) => {
    expect(parseTimestamp(text)).toBe(micros);
  });

  test.each([
    '',
    'now',
    '2026-11-21',
    '2026-11-21T09:00Z',
    '2026-11-21T09:00:00',
    '2026-11-21T09:00:00.1234567Z',
    '2026-11-21T09:00:00.Z',
    '2026-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-00-10T00:00:00Z',
    '2026-11-21T24:00:00Z',
    '2026-11-21T09:60:00Z',
    '2026-11-21T09:00:60Z',
    '2026-11-21T09:00:00+24:00',
    '2026-11-21T09:00:00+01:60',
    '2026-11-21T09:00:00Z ',
    '+002026-11-21T09:00:00Z',
    '2026-11-21T09:00:00Z\n',
    '1763715600',
    "2026-11-21T09:00:00Z' or 1=1 --",
  ])('%j is none', (text) => {
    expect(parseTimestamp(text)).toBeNull();
  });

  test('shows milliseconds, and microseconds only where there are some', () => {
    expect(formatTimestamp(MS * 1000n)).toBe('2026-11-21T09:00:00.000Z');
    expect(formatTimestamp(MS * 1000n + 120_000n)).toBe('2026-11-21T09:00:00.120Z');
    expect(formatTimestamp(MS * 1000n + 1n)).toBe('2026-11-21T09:00:00.000001Z');
    expect(formatTimestamp(-1n)).toBe('1969-12-31T23:59:59.999999Z');
  });

  test('is written for ClickHouse with all six decimals', () => {
    expect(clickHouseTimestamp(MS * 1000n + 5n)).toBe('2026-11-21 09:00:00.000005');
  });

  test('survives being written and read, at any microsecond', () => {
    for (let step = 0n; step < 2000n; step += 1n) {
      const micros = MS * 1000n + step * 999_983n;
      expect(parseTimestamp(formatTimestamp(micros))).toBe(micros);
    }
  });

  test('made of milliseconds keeps their fraction', () => {
    expect(microsFromMs(1.5)).toBe(1500n);
    expect(microsFromMs(-0.5)).toBe(-500n);
  });
});

describe('a merchant id', () => {
  test.each([
    ['0', 0n],
    ['42', 42n],
    ['-7', -7n],
    ['9223372036854775807', 2n ** 63n - 1n],
    ['-9223372036854775808', -(2n ** 63n)],
    ['9007199254740993', 9007199254740993n],
  ])('%s is one', (text, id) => {
    expect(parseInt64(text)).toBe(id);
  });

  test.each([
    '',
    'abc',
    '1e3',
    '+1',
    ' 1',
    '1 ',
    '01',
    '-0',
    '--1',
    '1.0',
    '0x10',
    '\0',
    '1\n',
    '9223372036854775808',
    '-9223372036854775809',
    '1'.repeat(10_000),
    "1' or 1=1 --",
    '１',
  ])('%j is none', (text) => {
    expect(parseInt64(text)).toBeNull();
  });
});
