import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { statusText } from '../../src/cli/status.js';
import type { StatusDocument, TableStatus } from '../../src/ops/status.js';
import { STATUS } from './api-fixture.js';

const PAYMENTS = STATUS.tables['public.payments']!;
const withTable = (table: Partial<TableStatus>, more: Partial<StatusDocument> = {}): StatusDocument => ({
  ...STATUS,
  ...more,
  tables: { 'public.payments': { ...PAYMENTS, ...table } },
});
const snapshot = { rows: 430, percent: 43, seconds_left: 12 };

describe('the status as text', () => {
  test('is plain where nobody looks at a terminal', () => {
    const text = statusText(withTable({ state: 'snapshotting', snapshot }), false);
    expect(text).toBe(stripVTControlCharacters(text));
    expect(text).toContain('  43 %, about 12 s left');
    expect(text).not.toContain('#');
  });

  test('has colours and a bar on a terminal, and says the same', () => {
    const document = withTable({ state: 'snapshotting', snapshot });
    const text = statusText(document, true);
    expect(text).toContain('\u001b[32mstreaming\u001b[39m, 38 ms behind');
    expect(text).toContain('\u001b[33msnapshotting\u001b[39m');
    const bare = stripVTControlCharacters(text);
    expect(bare).toContain(`[${'#'.repeat(9)}${' '.repeat(11)}] 43 %`);
    expect(bare.replace(/\[[# ]+\] /, '')).toBe(statusText(document, false));
  });

  test('says in red what stopped, with its fix, and what differs, with what to type', () => {
    const error = { kind: 'table_missing', what: 'it is gone.', why: 'Nothing comes.', fix: 'make it again' };
    const stopped = statusText(withTable({ state: 'stopped', error }), true);
    expect(stopped).toContain(
      '\u001b[31mtable_missing\u001b[39m: it is gone. Nothing comes.\nfix: make it again\n',
    );
    const verify = {
      at: '2026-11-21T09:00:00.000Z',
      position: '0/16B3748',
      verdict: 'different',
      differences: 1_234,
      complete: false,
      pending: false,
      error: null,
    } as const;
    expect(statusText(withTable({ verify }), false)).toContain(
      'different: at least 1,234 rows of it or its marts are not as the source has them (2026-11-21T09:00:00.000Z)\n' +
        'fix: walhouse verify public.payments --repair\n',
    );
  });
});
