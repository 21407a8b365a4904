import { describe, expect, it } from 'vitest';
import { quoteName, quoteString } from '../../src/sink/identifier.js';
import { Names, tableName } from '../../src/sink/names.js';
import { relationOf } from '../support/tuples.js';

describe('names', () => {
  it.each([
    ['public', 'payments', 'payments'],
    ['public', 'Mixed Case', 'Mixed Case'],
    ['sales', 'orders', 'sales_orders'],
  ])('%s.%s is called %s', (schema, name, expected) => {
    expect(tableName(schema, name)).toBe(expected);
  });

  it('quoting leaves no way out', () => {
    expect(quoteName('a`b\\c')).toBe('`a\\`b\\\\c`');
    expect(quoteString("a'b\\c")).toBe("'a\\'b\\\\c'");
  });

  it('a table may be claimed again, another one of its name may not, nor one of a mart', () => {
    const names = new Names();
    const columns = { id: 'int4 not null' };
    expect(names.claim(relationOf('a.b_c', columns))).toBe('a_b_c');
    expect(names.claim(relationOf('a.b_c', columns))).toBe('a_b_c');
    expect(() => names.claim(relationOf('a_b.c', columns))).toThrow(
      /^table_name_collision: a_b\.c and a\.b_c/,
    );
    names.reserve('payments_7d', 'mart "payments"');
    expect(() => names.claim(relationOf('public.payments_7d', columns))).toThrow(/mart "payments"/);
  });
});
