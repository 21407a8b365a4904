import { describe, expect, test } from 'vitest';
import { parseConfig, type Config } from '../../src/cli/config.js';

const KEY = 'k'.repeat(32);

const parse = (table: string, more = `masking: { key: ${KEY} }`, environment = {}): Config =>
  parseConfig(
    `{ source: { url: "postgres://a@localhost/c" }, sink: { url: "http://localhost:8123", database: d }, ${more === '' ? '' : `${more},`}
       tables: { public.a: { ${table} }, public.b: { mask: [a_id, email] } } }`,
    'walhouse.yaml',
    environment,
  );

describe('masked columns in the configuration', () => {
  test('are kept as they are written, with a key from the environment', () => {
    const config = parse('mask: [email, "Odd Name"]', 'masking: { key: "${KEY}" }', { KEY });
    expect(config.tables['public.a']).toMatchObject({ mask: ['email', 'Odd Name'] });
    expect(config.masking).toEqual({ key: KEY });
  });

  test('want a key of 32 characters, which no message shows', () => {
    const short = 'too-short-to-keep';
    expect(() => parse('mask: [email]', '')).toThrow(
      /tables\.public\.a\.mask: masking\.key is missing; make one \(openssl/,
    );
    expect(() => parse('', `masking: { key: ${short} }`)).toThrow(
      /masking\.key: must have 32 characters at least; make one/,
    );
    expect(() => parse('', `masking: { key: ${short} }`)).not.toThrow(new RegExp(short));
    expect(() => parse('', 'masking: {}')).toThrow(/masking\.key is missing/);
    expect(() => parse('mask: [email], columns: { email: { type: String } }')).not.toThrow(new RegExp(KEY));
  });

  test.each([
    ['mask: email', /tables\.public\.a\.mask.*list of columns/],
    ['retention: { column: at, keep: 1 day }, mask: [at]', /a\.mask: column at is what rows age by.*remove it from mask/],
    ['columns: { n: { type: Int64 } }, mask: [n]', /a\.mask: column n is text once it is masked; remove it from mask, or remove columns\.n/],
    ['exclude: [n], mask: [n]', /a\.mask: column n is in exclude.*remove it from mask/],
    ['only: [id], mask: [n]', /a\.mask: column n is not in only.*remove it from mask/],
    ['erase: { follow: ["public.b (a_id)"] }', /a\.erase\.follow: a_id of public\.b is masked.*remove from tables\.public\.b\.mask/],
  ])('%s is refused with its fix', (text, message) => {
    expect(() => parse(text)).toThrow(message);
  }); // prettier-ignore
});
