/** An array's elements as texts, nested as the array is. */
export type NestedTexts = (string | null | NestedTexts)[];

export function mapLeaves(list: NestedTexts, convert: (text: string) => string): NestedTexts {
  return list.map((item) =>
    item === null ? null : typeof item === 'string' ? convert(item) : mapLeaves(item, convert),
  );
}

/** Reads a JSON list of texts from a binary string (one character a byte), and gives binary strings. */
export function parseJsonList(binary: string): NestedTexts {
  return toBinary(JSON.parse(Buffer.from(binary, 'latin1').toString('utf8')) as NestedTexts);
}

function toBinary(list: NestedTexts): NestedTexts {
  return list.map((item) =>
    item === null
      ? null
      : typeof item === 'string'
        ? Buffer.from(item, 'utf8').toString('latin1')
        : toBinary(item),
  );
}

/**
 * Reads what Postgres prints for an array: `{1,NULL,"a \"b\""}`, `{{1,2},{3,4}}`. Null when the text is no such literal, among
 * them arrays with bounds of their own (`[0:1]={1,2}`), which a ClickHouse array cannot have.
 */
export function parseArrayLiteral(text: string): NestedTexts | null {
  const reader = { text, at: 0 };
  if (text[0] !== '{') return null;
  const list = readList(reader);
  return list !== null && reader.at === text.length ? list : null;
}

interface Reader {
  readonly text: string;
  at: number;
}

function readList(reader: Reader): NestedTexts | null {
  const { text } = reader;
  const list: NestedTexts = [];
  reader.at++;
  if (text[reader.at] === '}') {
    reader.at++;
    return list;
  }
  for (;;) {
    const item =
      text[reader.at] === '{'
        ? readList(reader)
        : text[reader.at] === '"'
          ? readQuoted(reader)
          : readBare(reader);
    if (item === null) return null;
    list.push(item === UNQUOTED_NULL ? null : item);
    const end = text[reader.at++];
    if (end === '}') return list;
    if (end !== ',') return null;
  }
}

const UNQUOTED_NULL: unique symbol = Symbol('null');

function readBare(reader: Reader): string | typeof UNQUOTED_NULL | null {
  const match = /[^,}]+/y;
  match.lastIndex = reader.at;
  const bare = match.exec(reader.text)?.[0];
  if (bare === undefined) return null;
  reader.at += bare.length;
  return bare === 'NULL' ? UNQUOTED_NULL : bare;
}

function readQuoted(reader: Reader): string | null {
  const match = /"((?:[^"\\]|\\.)*)"/sy;
  match.lastIndex = reader.at;
  const found = match.exec(reader.text);
  if (found === null) return null;
  reader.at += found[0].length;
  return (found[1] ?? '').replace(/\\(.)/gs, '$1');
}
