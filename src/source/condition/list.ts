/** The elements of an array of one dimension, as Postgres prints it; null where it is something else. */
export function listOf(text: string): (string | null)[] | null {
  if (text === '{}') return [];
  if (!text.startsWith('{') || !text.endsWith('}')) return null;
  const elements: (string | null)[] = [];
  let at = 1;
  for (;;) {
    const match = /"((?:[^"\\]|\\.)*)"|([^"{},\\\s][^"{},\\]*)/suy;
    match.lastIndex = at;
    const found = match.exec(text);
    if (found === null) return null;
    const [whole, quoted, plain] = found;
    elements.push(
      quoted === undefined ? (plain === 'NULL' ? null : plain!) : quoted.replaceAll(/\\(.)/gsu, '$1'),
    );
    at += whole.length;
    if (text[at] === '}') return at === text.length - 1 ? elements : null;
    if (text[at] !== ',') return null;
    at += 1;
  }
}
