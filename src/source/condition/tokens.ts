/** A piece of a condition as Postgres prints it. */
export type Token =
  /** `text` of a name is unquoted. */
  | { readonly kind: 'name'; readonly text: string; readonly quoted: boolean; readonly at: number }
  | { readonly kind: 'string' | 'number' | 'symbol'; readonly text: string; readonly at: number };

const TOKEN =
  /\s+|"(?<quoted>(?:[^"]|"")+)"|'(?<string>(?:[^']|'')*)'|(?<number>[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)|(?<name>[\p{L}_\u0080-\u{10ffff}][\p{L}\p{N}_$\u0080-\u{10ffff}]*)|(?<symbol>::|<>|<=|>=|[-+*/<>=~!@#%^&|`?]+|[().,[\]:])|./suy;

/** Cuts a condition into tokens; strings stand as under standard_conforming_strings, where a backslash is only itself. */
export function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  for (const match of text.matchAll(new RegExp(TOKEN.source, 'suyg'))) {
    const { quoted, string, number, name } = match.groups as Record<string, string | undefined>;
    const at = match.index;
    if (quoted !== undefined)
      tokens.push({ kind: 'name', text: quoted.replaceAll('""', '"'), quoted: true, at });
    else if (string !== undefined) tokens.push({ kind: 'string', text: string.replaceAll("''", "'"), at });
    else if (number !== undefined) tokens.push({ kind: 'number', text: number, at });
    else if (name !== undefined) tokens.push({ kind: 'name', text: name, quoted: false, at });
    else if (match[0].trim() !== '') tokens.push({ kind: 'symbol', text: match[0], at });
  }
  return tokens;
}
