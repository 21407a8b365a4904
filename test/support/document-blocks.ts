import { readFileSync } from 'node:fs';

export interface DocumentBlock {
  readonly language: string;
  readonly text: string;
  /** The `text` block that follows it at once: what it prints. */
  readonly prints: string | null;
}

/** The fenced blocks of a document in their order; those in a list lose their indentation. */
export function documentBlocks(path: string): DocumentBlock[] {
  const document = readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
  const found: { language: string; text: string; prints: string | null }[] = [];
  let endOfLast = -1;
  for (const match of document.matchAll(/^( *)```(\w*)\n([\s\S]*?)^ *```$/gm)) {
    const [whole, indent = '', language = '', body = ''] = match;
    const text = body.replaceAll(new RegExp(`^${indent}`, 'gm'), '');
    const between = document.slice(endOfLast, match.index);
    endOfLast = match.index + whole.length;
    if (language === 'text' && found.length > 0 && between.trim() === '') found.at(-1)!.prints = text;
    else found.push({ language, text, prints: null });
  }
  return found;
}

/** Blocks of one language, as text. */
export function blocksOf(path: string, language: string): string[] {
  return documentBlocks(path).flatMap((block) => (block.language === language ? [block.text] : []));
}

/** Positions, times and sizes are another each time. */
const VARYING: readonly (readonly [RegExp, string])[] = [
  [/\b[0-9A-F]{1,8}\/[0-9A-F]{5,8}\b/g, 'LSN'],
  [/\b[\d.,]+ (ms|s|KB|bytes|versions)\b/g, 'N $1'],
  [/\b[0-9a-f]{64}\b/g, 'HASH'],
  // A publication is one more.
  [/\b\d+ checks\b/g, 'N checks'],
  // So wide as the widest of them.
  [/[ ─]+/g, ' '],
  [/[ \r]+$/gm, ''],
];

/** Whether something printed this, where a line `…` stands for any lines. */
export function printsAs(expected: string, actual: string): boolean {
  const plain = (text: string): string =>
    VARYING.reduce((so, [pattern, name]) => so.replaceAll(pattern, name), text).trim();
  const pattern = plain(expected)
    .split('\n')
    .map((line) => (line === '…' ? '(?:.*\\n)*?' : `${line.replaceAll(/[$()*+.?[\\\]^{|}]/g, '\\$&')}\\n`))
    .join('');
  return new RegExp(`^${pattern}$`).test(`${plain(actual)}\n`);
}
