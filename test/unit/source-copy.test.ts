import { describe, expect, it } from 'vitest';
import { CopyDecoder } from '../../src/source/copy-decoder.js';

function decode(columns: number, chunks: readonly string[]): (string | null | undefined)[][] {
  const rows: (string | null | undefined)[][] = [];
  const decoder = new CopyDecoder(columns, (row) => {
    rows.push(Array.from({ length: columns }, (_, column) => row.text(column)));
  });
  for (const chunk of chunks) decoder.decode(Buffer.from(chunk));
  decoder.finish();
  return rows;
}

const TEXT = 'a\\tb\\nc\\\\d\té\\r\\b\\f\\v\t\\N\t\n\\\\N\t\\N\tx\ty\n\t\t\t\n';
const ROWS = [
  ['a\tb\nc\\d', 'é\r\b\f\v', null, ''],
  ['\\N', null, 'x', 'y'],
  ['', '', '', ''],
];

describe('COPY text', () => {
  it('is read the same wherever it is cut', () => {
    const bytes = Buffer.from(TEXT);
    for (let first = 0; first <= bytes.length; first += 1) {
      for (let second = first; second <= bytes.length; second += 3) {
        const rows: unknown[] = [];
        const decoder = new CopyDecoder(4, (row) =>
          rows.push([0, 1, 2, 3].map((column) => row.text(column))),
        );
        for (const [from, to] of [
          [0, first],
          [first, second],
          [second, bytes.length],
        ] as const)
          decoder.decode(Buffer.from(bytes.subarray(from, to)));
        decoder.finish();
        expect(rows).toEqual(ROWS);
      }
    }
  });

  it.each([
    ['too few columns', 'a\n'],
    ['too many columns', 'a\tb\tc\n'],
    ['an unknown escape', 'a\\q\tb\n'],
    ['a backslash at the end', 'a\tb\\\n'],
    ['bytes behind a null', '\\Nx\tb\n'],
    ['a row without its end', 'a\tb'],
  ])('with %s is refused', (_, bad) => {
    expect(() => decode(2, [bad])).toThrowError(expect.objectContaining({ kind: 'decode_failed' }) as Error);
  });

  it('keeps one empty column apart from a null', () => {
    expect(decode(1, ['\n\\N\n'])).toEqual([[''], [null]]);
  });
});
