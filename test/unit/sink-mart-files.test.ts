import { describe, expect, it } from 'vitest';
import { martHash, parseMart } from '../../src/sink/mart-files.js';
import { databasesFor } from '../../src/sink/names.js';

const SQL = [
  '-- tracks: public.a (x, y)',
  '-- needs: public.a (x Int, amount Decimal|Float)',
  '-- needs: public.b (z String)',
  'create table {database}.one (x Int64) engine = MergeTree order by x',
].join('\n');
const FEED = 'create materialized view {database}.feed to {database}.one as select x from {landing}.a';

const parse = (...files: string[]): ReturnType<typeof parseMart> =>
  parseMart({ name: 'm', files: files.map((sql, i) => ({ name: `${i}.sql`, sql })) }, databasesFor('shop`x'));

describe('mart files', () => {
  it('say what they track, what they need and what they create', () => {
    const mart = parse(SQL, FEED, "alter table {database}.one comment column x 'y'");
    expect(mart.sources).toEqual([
      {
        id: 'public.a',
        tracks: ['x', 'y'],
        needs: [
          { column: 'x', families: ['Int'] },
          { column: 'amount', families: ['Decimal', 'Float'] },
        ],
      },
      { id: 'public.b', tracks: [], needs: [{ column: 'z', families: ['String'] }] },
    ]);
    expect(mart.statements.map(({ object, target }) => [object, target])).toEqual([
      ['one', null],
      ['feed', 'one'],
      [null, null],
    ]);
    expect(mart.statements[1]!.sql).toBe(
      'create materialized view `shop\\`x`.feed to `shop\\`x`.one as select x from `shop\\`x_landing`.a',
    );
  });

  it.each<[string[], RegExp]>([
    [['select 1'], /creates nothing in \{database\} in 0\.sql/],
    [[SQL, 'create materialized view {database}.v engine = Memory as select 1'], /without "to/],
    [[FEED], /no "-- tracks:" line/],
    [['-- needs: public.a (x)\n' + FEED], /names no type for x/],
  ])('%j are invalid', (files, message) => {
    expect(() => parse(...files)).toThrow(message);
  });

  it('have a hash that follows the SQL and the source types', () => {
    const hash = martHash(parse(SQL, FEED), ['Int64']);
    expect(martHash(parse(SQL, FEED), ['Int64'])).toBe(hash);
    expect(martHash(parse(SQL, `${FEED} `), ['Int64'])).not.toBe(hash);
    expect(martHash(parse(SQL, FEED), ['Int32'])).not.toBe(hash);
  });
});
