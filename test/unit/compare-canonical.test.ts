import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { parseArrayLiteral } from '../../src/ops/compare/arrays.js';
import { canonicalFor } from '../../src/ops/compare/canonical.js';
import { Differences } from '../../src/ops/compare/differences.js';
import { readFields, splitLine } from '../../src/ops/compare/fields.js';
import { type CanonicalRow, joinFields, Tally } from '../../src/ops/compare/tally.js';
import { Readable } from 'node:stream';

describe('what both servers print becomes one text', () => {
  it.each([
    ['bool', 'Nullable(Bool)', 't', 'true'],
    ['numeric', 'Decimal(12, 2)', '120.50', '120.5'],
    ['numeric', 'Decimal(12, 2)', '-0.00', '0'],
    ['int8', 'Int64', '100', '100'],
    ['float8', 'Float64', '-0', '9223372036854775808'],
    ['float4', 'Nullable(Float32)', '1e-45', '1'],
    ['float4', 'Float32', 'NaN', 'NaN'],
    ['timestamptz', "DateTime64(6, 'UTC')", '2026-11-21 09:00:00.5+00', '2026-11-21 09:00:00.500000'],
    ['timestamp', "Nullable(DateTime64(6, 'UTC'))", '2026-11-21 09:00:00', '2026-11-21 09:00:00.000000'],
    ['bytea', 'String', '\\x00ff', '00ff'],
    ['text', 'LowCardinality(Nullable(String))', '120.50', '120.50'],
  ])('%s as %s: %s is %s', (name, type, postgres, clickHouse) => {
    const canonical = canonicalFor({ name }, type);
    expect(canonical.fromPostgres(postgres)).toBe(canonical.fromClickHouse(clickHouse));
  });

  it.each([
    ['numeric', 'String', '120.50', '120.5'],
    ['timestamptz', "DateTime64(6, 'UTC')", 'infinity', '1970-01-01 00:00:00.000000'],
    ['timestamptz', "DateTime64(6, 'UTC')", '0044-03-15 00:00:00+00 BC', '0044-03-15 00:00:00.000000'],
    ['float8', 'Float64', '0', '9223372036854775808'],
    ['int8', 'Int64', '100', '10'],
    ['text', 'String', 'true', 't'],
  ])('%s as %s: %s is not %s', (name, type, postgres, clickHouse) => {
    const canonical = canonicalFor({ name }, type);
    expect(canonical.fromPostgres(postgres)).not.toBe(canonical.fromClickHouse(clickHouse));
  });
});

describe('array literals', () => {
  it.each([
    ['{}', []],
    ['{1,NULL,"NULL","a\\"b\\\\c",""}', ['1', null, 'NULL', 'a"b\\c', '']],
    [
      '{{1,2},{3,NULL}}',
      [
        ['1', '2'],
        ['3', null],
      ],
    ],
    ['{"{a,b}","c d"}', ['{a,b}', 'c d']],
  ])('%s is read', (text, expected) => expect(parseArrayLiteral(text)).toEqual(expected));

  it.each(['', '{', '{1', '{1,}', '{1}x', '[0:1]={1,2}', '{"a}'])('%j is none', (text) =>
    expect(parseArrayLiteral(text)).toBeNull(),
  );
});

describe('tab-separated lines', () => {
  it.each([
    ['a\tb', ['a', 'b']],
    ['\\N\t\\\\N\t', [null, '\\N', '']],
    ["tab\\t, line\\n, back\\\\slash, quote\\'", ["tab\t, line\n, back\\slash, quote'"]],
  ])('%j', (line, fields) => expect(splitLine(line)).toEqual(fields));

  it('may be cut anywhere by the network', async () => {
    const text = 'é\t1\n\\N\tzwei\n\t\n';
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(Buffer.byteLength(text)), { maxLength: 6 }), async (cuts) => {
        const edges = [0, ...cuts.sort((a, b) => a - b), Buffer.byteLength(text)];
        const pieces = edges.slice(1).map((edge, index) => Buffer.from(text).subarray(edges[index], edge));
        const rows = [];
        for await (const some of readFields(Readable.from(pieces))) rows.push(...some);
        expect(rows).toEqual([
          [Buffer.from('é').toString('latin1'), '1'],
          [null, 'zwei'],
          ['', ''],
        ]);
      }),
      { numRuns: 200 },
    );
  });
});

describe('the tally', () => {
  const rowOf = (key: string, ...rest: (string | null)[]): CanonicalRow => ({ key, fields: [key, ...rest] });

  it('is balanced by the same rows in any order, and by nothing else', () => {
    const row = fc.record({ key: fc.string(), value: fc.option(fc.string()) });
    fc.assert(
      fc.property(fc.array(row), fc.array(row), (ours, theirs) => {
        const tally = new Tally();
        for (const { key, value } of ours) tally.addPostgres(rowOf(key, value));
        for (const { key, value } of theirs) tally.addClickHouse(rowOf(key, value));
        const texts = (rows: typeof ours) => rows.map(({ key, value }) => joinFields([key, value])).sort();
        const same = JSON.stringify(texts(ours)) === JSON.stringify(texts(theirs));
        expect(tally.differing(10).length === 0).toBe(same);
      }),
    );
    const tally = new Tally();
    const rows = Array.from({ length: 1_000 }, (_, index) => rowOf(String(index), 'x'));
    for (const each of rows) tally.addPostgres(each);
    for (const each of rows.toReversed()) tally.addClickHouse(each);
    expect(tally.differing(10)).toEqual([]);
  });

  it('hands out what differs in groups that are not too large', () => {
    const tally = new Tally();
    for (let id = 0; id < 1_000; id++) tally.addPostgres(rowOf(String(id)));
    const groups = tally.differing(100);
    expect(groups.length).toBeGreaterThanOrEqual(10);
    expect(groups.length).toBeLessThan(13);
  });
});

it('lists of values never run together', () => {
  const texts = [
    [''],
    [null],
    [],
    ['', ''],
    ['~'],
    ['a', 'b'],
    ['ab', ''],
    ['', 'ab'],
    ['1:a'],
    ['a', '1:b'],
  ];
  expect(new Set(texts.map((fields) => joinFields(fields))).size).toBe(texts.length);
});

it('samples hold keys only, and not more than twenty', () => {
  const differences = new Differences(new Set());
  for (let id = 0; id < 100; id++) {
    differences.addPostgres({ key: String(id), fields: [String(id), 'secret'] }, [String(id)]);
  }
  differences.settle();
  expect(differences.missing).toBe(100);
  expect(differences.samples.missing).toHaveLength(20);
  expect(JSON.stringify(differences.samples)).not.toContain('secret');
});
