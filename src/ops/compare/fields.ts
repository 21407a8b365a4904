import type { Readable } from 'node:stream';

/**
 * Splits a stream of tab-separated lines into fields, as Postgres's COPY and ClickHouse's TabSeparated both write them:
 * null is `\N`, and backslashes escape. Fields are binary strings, one character a byte. One line is in memory at a time, and what
 * the stream has read ahead.
 */
export async function* readFields(stream: Readable): AsyncGenerator<(string | null)[][]> {
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + (chunk as Buffer).toString('latin1')).split('\n');
    rest = lines.pop() ?? '';
    if (lines.length > 0) yield lines.map(splitLine);
  }
  if (rest !== '') yield [splitLine(rest)];
}

export function splitLine(line: string): (string | null)[] {
  const fields: (string | null)[] = line.split('\t');
  for (let index = 0; index < fields.length; index++) {
    const field = fields[index] ?? '';
    if (field === '\\N') fields[index] = null;
    else if (field.includes('\\')) fields[index] = field.replace(/\\(.)/gs, unescapeOne);
  }
  return fields;
}

const ESCAPES: Readonly<Record<string, string>> = {
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  0: '\0',
};

function unescapeOne(_: string, character: string): string {
  return ESCAPES[character] ?? character;
}
