/** A ClickHouse identifier in backticks; any name of any characters is one. */
export function quoteName(name: string): string {
  return `\`${name.replace(/[\\`]/g, (char) => `\\${char}`)}\``;
}

/** A ClickHouse string literal. */
export function quoteString(text: string): string {
  return `'${text.replace(/[\\']/g, (char) => `\\${char}`)}'`;
}

/** `database.table`, both quoted. */
export function qualified(database: string, table: string): string {
  return `${quoteName(database)}.${quoteName(table)}`;
}
