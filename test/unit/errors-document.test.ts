import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ERROR_POLICY } from '../../src/pipeline/errors.js';

const DOCUMENT = readFileSync(new URL('../../docs/ERRORS.md', import.meta.url), 'utf8');

describe('docs/ERRORS.md', () => {
  it('has every kind of error with its policy, a meaning and a fix, and no other', () => {
    const [, kinds = ''] = DOCUMENT.split('## Kinds');
    const rows = [...kinds.matchAll(/^\| `(\w+)` +\| (\w+) +\| (\S.*?) *\| (\S.*?) *\|$/gm)];
    expect(Object.fromEntries(rows.map(([, kind, policy]) => [kind, policy]))).toEqual(ERROR_POLICY);
    expect(rows).toHaveLength(Object.keys(ERROR_POLICY).length);
  });
});
