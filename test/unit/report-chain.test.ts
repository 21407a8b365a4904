import { describe, expect, it } from 'vitest';
import { checkChain } from '../../src/ops/reports/chain.js';
import { hashOf, type StoredReport } from '../../src/sink/report-store.js';

function chainOf(length: number): StoredReport[] {
  const reports: StoredReport[] = [];
  for (let number = 1; number <= length; number += 1) {
    const document = JSON.stringify({ number, previous: reports.at(-1)?.hash ?? '', proven: true });
    reports.push({ number, document, hash: hashOf(document) });
  }
  return reports;
}

const reports = chainOf(4);
const [first, second, third, fourth] = reports as [StoredReport, StoredReport, StoredReport, StoredReport];
const altered = second.document.replace('true', 'false');
const forged = { ...second, document: altered, hash: hashOf(altered) };

describe('the chain of reports', () => {
  it('is whole as it was stored, and empty', () => {
    expect(checkChain(reports)).toEqual({ reports: 4, hash: fourth.hash, problem: null });
    expect(checkChain(reports, second.hash).problem).toBeNull();
    expect(checkChain([])).toEqual({ reports: 0, hash: '', problem: null });
  });

  it.each<[string, StoredReport[], string]>([
    [
      'a text that was changed',
      [first, { ...second, document: altered }, third],
      'report 2 is not as it was stored',
    ],
    [
      'a report that was forged with its hash',
      [first, forged, third],
      'report 3 does not follow the report before it',
    ],
    ['a report that was taken out', [first, third, fourth], 'report 2 is missing'],
    ['the first one taken out', [second, third], 'report 1 is missing'],
    ['another one of the same number', [first, second, second, third], 'there are two reports with number 2'],
    ['one under another number', [first, { ...third, number: 2 }], 'report 2 calls itself 3'],
  ])('is broken by %s', (_, stored, problem) => {
    expect(checkChain(stored).problem).toBe(problem);
  });

  it('that has lost its newest is whole in itself, and broken for who has noted the last hash', () => {
    expect(checkChain([first, second]).problem).toBeNull();
    expect(checkChain([first, second], fourth.hash).problem).toBe(`no report has the hash ${fourth.hash}`);
  });
});
