import { describe, expect, it } from 'vitest';
import { CANNOT_HOLD, VALUE_ROOM } from '../../src/sink/encoders.js';
import { formatMicros } from '../../src/sink/times.js';
import { storedType } from '../../src/sink/types.js';
import { typeOf } from '../support/tuples.js';

/** What the type's encoder makes of a text; null when it cannot be held. The value stands between other bytes. */
function encoded(type: string, text: string): string | null {
  const { encode } = storedType({ type: typeOf(type), notNull: false });
  const bytes = Buffer.from(`<${text}>`);
  const end = bytes.length - 1;
  const out = Buffer.alloc(2 * (end - 1) + VALUE_ROOM + 1, 0xaa);
  const at = encode(out, 1, bytes, 1, end);
  expect(out[0], 'what stands before is untouched').toBe(0xaa);
  return at === CANNOT_HOLD ? null : out.toString('utf8', 1, at);
}

describe('encoders', () => {
  it.each<[string, string, string | null]>([
    ['text', 'a\tb\nc\rd\\e\bf\fg\0h', 'a\\tb\\nc\\rd\\\\e\\bf\\fg\\0h'],
    ['text', '\\N', '\\\\N'],
    ['text', '', ''],
    ['text', `${'é'.repeat(60)}\t${'x'.repeat(60)}`, `${'é'.repeat(60)}\\t${'x'.repeat(60)}`],
    ['bool', 't', '1'],
    ['bool', 'f', '0'],
    ['bool', 'true', null],
    ['int2', '-32768', '-32768'],
    ['int2', '32768', null],
    ['int8', '9223372036854775807', '9223372036854775807'],
    ['int8', '9223372036854775808', null],
    ['int8', '-', null],
    ['int8', '1a', null],
    ['oid', '-1', null],
    ['float8', 'NaN', 'nan'],
    ['float8', '-Infinity', '-inf'],
    ['float8', '-0', '-0'],
    ['float8', '1e-45', '1e-45'],
    ['numeric(5,2)', '-999.99', '-999.99'],
    ['numeric(5,2)', '1000', null],
    ['numeric(5,2)', '0.001', null],
    ['numeric(5,2)', '1.000', '1.00'],
    ['numeric(5,0)', '7.00', '7'],
    ['numeric(5,2)', '1.', null],
    ['numeric(5,2)', 'NaN', null],
    ['numeric(3,3)', '0.999', '0.999'],
    ['date', '1900-01-01', '1900-01-01'],
    ['date', '1899-12-31', null],
    ['date', '2300-01-01', null],
    ['date', '-infinity', null],
    ['timestamp', '2299-12-31 23:59:59.999999', '2299-12-31 23:59:59.999999'],
    ['timestamp', '2026-01-01 00:00:00 BC', null],
    ['timestamptz', '2026-01-01 00:00:00.5+00', '2026-01-01 00:00:00.5'],
    ['timestamptz', '2026-01-01 00:00:00+01', null],
    ['timestamptz', 'infinity', null],
    ['uuid', 'short', null],
    ['bytea', '\\x0009ff', null], // Not UTF-8; see below.
  ])('%s %j', (type, text, expected) => {
    if (type === 'bytea') expect(encoded(type, '\\x00090a5c41')).toBe('\\0\\t\\n\\\\A');
    else expect(encoded(type, text)).toBe(expected);
  });

  it('blanks of columns that may not be null are values of their type', () => {
    for (const type of ['int4', 'numeric(12,2)', 'timestamptz', 'date', 'uuid', 'text', 'bool', 'float8'])
      expect(storedType({ type: typeOf(type), notNull: true }).blank.toString()).not.toBe('\\N');
    expect(storedType({ type: typeOf('int4'), notNull: false }).blank.toString()).toBe('\\N');
  });
});

describe('microseconds', () => {
  it.each<[bigint, string]>([
    [0n, '1970-01-01 00:00:00.000000'],
    [-1n, '1969-12-31 23:59:59.999999'],
    [1_795_251_599_962_001n, '2026-11-21 08:59:59.962001'],
  ])('%s', (us, text) => {
    expect(formatMicros(us)).toBe(text);
  });
});
