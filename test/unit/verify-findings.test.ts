import { describe, expect, test } from 'vitest';
import { Findings, type HashedRow, type VersionedRow } from '../../src/ops/verify/findings.js';

const row = (key: string, columns = 'aaaaaaaaaaaa'): HashedRow => ({ key, columns, texts: [key] });
const versioned = (key: string, version: bigint, columns?: string): VersionedRow => ({
  ...row(key, columns),
  version,
});

const settle = (
  findings: Findings,
  postgres: HashedRow[],
  clickHouse: VersionedRow[],
  changed: VersionedRow[] = [],
): string[] => [...findings.settle({ postgres, clickHouse, changed, impossibleFrom: 100n }).keys()];

describe('rows set against each other', () => {
  test('rows are missing, extra or different, and columns are named by their place', () => {
    const findings = new Findings(() => false);
    const pending = settle(
      findings,
      [row('same'), row('lost'), row('odd', 'aaaaaaaaaaaabbbbbbbbbbbbcccccccccccc')],
      [
        versioned('same', 1n),
        versioned('new', 1n),
        versioned('odd', 1n, 'aaaaaaaaaaaaBBBBBBBBBBBBcccccccccccc'),
      ],
    );
    expect(pending).toEqual([]);
    expect(findings).toMatchObject({ missing: 1, extra: 1, different: 1 });
    expect(findings.samples).toEqual({ missing: [['lost']], extra: [['new']], different: [['odd']] });
    expect([...findings.differentColumns]).toEqual([[1, 1]]);
  });

  test('a second row of one key is extra, whatever it holds', () => {
    const findings = new Findings(() => false);
    settle(findings, [row('a')], [versioned('a', 1n), versioned('a', 1n)]);
    expect(findings).toMatchObject({ missing: 0, extra: 1, different: 0 });
  });

  test.each([
    ['changed', [row('a')], [versioned('a', 50n, 'bbbbbbbbbbbb')]],
    ['deleted', [row('a')], []],
    ['inserted', [], [versioned('a', 50n)]],
    ['found equal', [row('a')], [versioned('a', 50n)]],
  ])('a key that was %s after the position says nothing yet', (_, postgres, clickHouse) => {
    const findings = new Findings(() => false);
    expect(settle(findings, postgres, clickHouse, [versioned('a', 50n, '')])).toEqual(['a']);
    expect(findings).toMatchObject({ missing: 0, extra: 0, different: 0 });
  });

  test('a version that no commit can have had is no change that is waited for', () => {
    const findings = new Findings(() => false);
    const pending = settle(
      findings,
      [row('a')],
      [versioned('a', 100n, 'bbbbbbbbbbbb')],
      [versioned('a', 100n, '')],
    );
    expect(pending).toEqual([]);
    expect(findings.different).toBe(1);
  });

  test('a missing row that is in quarantine is no drift', () => {
    const findings = new Findings(([key]) => key === 'held');
    settle(findings, [row('held'), row('lost')], []);
    expect(findings).toMatchObject({ missing: 1, quarantined: 1 });
  });
});
