import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { choiceTable, typeTable } from '../../src/sink/type-table.js';

const DOCUMENT = readFileSync(new URL('../../docs/TYPES.md', import.meta.url), 'utf8');

/** Cells without the spaces that a formatter puts around them. */
const cells = (line: string): string =>
  line
    .split('|')
    .map((cell) => cell.trim().replace(/^-+$/, '---'))
    .join('|');

/** The tables of a Markdown text that are about types, each as its lines. */
function tablesOf(text: string): string[][] {
  const tables: string[][] = [];
  let last = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('|')) {
      if (!last.startsWith('|')) tables.push([]);
      tables.at(-1)!.push(cells(line));
    }
    last = line;
  }
  return tables.filter(([head]) => head!.startsWith('|Postgres|'));
}

describe('docs/TYPES.md', () => {
  it('says of every type what the code does', () => {
    expect(tablesOf(DOCUMENT)).toEqual([typeTable().map(cells), choiceTable().map(cells)]);
  });
});
