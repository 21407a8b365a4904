import { describe, expect, test } from 'vitest';
import { parseConfig, type Config } from '../../src/cli/config.js';

const parse = (table: string): Config =>
  parseConfig(
    `{ source: { url: "postgres://a@b/c" }, sink: { url: "https://a:8443", database: d }, tables: { public.a: { ${table} } } }`,
    'walhouse.yaml',
    {},
  );

describe('the selection of columns and rows in the configuration', () => {
  test('is kept as it is written', () => {
    const { tables } = parse(`exclude: [card_number, "Odd Name"], where: "country = 'DE' and amount > 0"`);
    expect(tables['public.a']).toMatchObject({
      exclude: ['card_number', 'Odd Name'],
      where: "country = 'DE' and amount > 0",
    });
    expect(parse('only: [id]').tables['public.a']).toMatchObject({ only: ['id'] });
  });

  test.each([
    ['exclude: card_number', /tables\.public\.a\.exclude.*list of columns/],
    ['exclude: [1]', /tables\.public\.a\.exclude\.0/],
    ['only: []', /tables\.public\.a\.only.*at least the key/],
    ['where: true', /tables\.public\.a\.where.*condition in SQL/],
    ['where: " "', /tables\.public\.a\.where.*left out/],
    ['only: [id], exclude: [note]', /tables\.public\.a\.exclude.*keep one of both/],
    [
      'retention: { column: at, keep: 1 day }, exclude: [at]',
      /retention\.column: column at is left out; remove at from exclude/,
    ],
    [
      'retention: { column: at, keep: 1 day }, only: [id]',
      /retention\.column: column at is left out; add at to only/,
    ],
    [
      'columns: { n: { type: String } }, exclude: [n]',
      /columns\.n: column n is left out; remove n from exclude/,
    ],
  ])('%s is refused with its fix', (text, message) => {
    expect(() => parse(text)).toThrow(message);
  });
});
