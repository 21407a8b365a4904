import type { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../../src/dev/random.js';
import type { Relation } from '../../src/pipeline/relation.js';
import { compile } from '../../src/source/condition/evaluate.js';
import { NotEvaluable, parseCondition } from '../../src/source/condition/parse.js';
import { readRelations } from '../../src/source/catalog.js';
import { connect } from '../../src/source/connection.js';
import { ConditionRefused, rowCondition } from '../../src/source/row-condition.js';
import { CONDITION_TABLE, randomCondition, randomRows } from '../support/random-conditions.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';

/** `WALHOUSE_CONDITIONS_SEED` replays a run. */
const SEED = Number(process.env['WALHOUSE_CONDITIONS_SEED'] ?? Date.now() % 2 ** 31);
const ROWS = 80;
const CONDITIONS = 400;

let databases: TestDatabases;
let client: Client;
let relation: Relation;
/** Values as Postgres prints them, by name. */
let rows: Record<string, string | null>[];

beforeAll(async () => {
  databases = await createDatabases('source_conditions');
  await databases.postgres(CONDITION_TABLE);
  await databases.postgres(randomRows(new Random(SEED), ROWS));
  client = await connect(databases.postgresUrl, 'sql');
  relation = (await readRelations(client, ['public.conditions']))[0]!;
  rows = await printed<Record<string, string | null>>('select * from public.conditions order by id');
});

afterAll(async () => {
  await client.end();
  await databases.close();
});

/** Rows with every value as the text that its type's output function gives. */
async function printed<Row>(text: string): Promise<Row[]> {
  const types = { getTypeParser: () => (value: unknown) => value };
  return (await client.query({ text, types: types })).rows as Row[];
}

const types = (): Map<string, Relation['columns'][number]['type']> =>
  new Map(relation.columns.map(({ name, type }) => [name, type]));

const TRUTHS: Readonly<Record<string, number>> = { true: 1, false: 0, null: -1 };

describe(`conditions on rows, seed ${SEED}`, () => {
  it('are true, false or unknown of a row exactly where Postgres says so', async () => {
    const random = new Random(SEED, 1);
    let tested = 0;
    for (let count = 0; count < CONDITIONS; count += 1) {
      const where = randomCondition(random);
      const normal = await rowCondition(client, relation, where).catch((error: unknown) => {
        // Postgres takes no 99999 for a smallint, and no condition is kept that nothing meets.
        if (error instanceof ConditionRefused) return null;
        throw error;
      });
      if (normal === null || normal.text === null) continue;
      tested += 1;
      const evaluate = compile(parseCondition(normal.text, types()));
      const asked = await printed<{ written: string; kept: string }>(
        `select ((${where}) is true)::text as written, coalesce((${normal.text})::text, 'null') as kept
           from public.conditions order by id`,
      );
      const found = rows.map((row) =>
        evaluate((column) => {
          const text = row[column] ?? null;
          return text === null ? null : Buffer.from(text).toString('latin1');
        }),
      );
      const said = asked.map(({ kept }) => TRUTHS[kept]);
      expect(found, `${where}\n${normal.text}`).toEqual(said);
      const isMet = asked.map(({ written }) => written === 'true');
      expect(
        found.map((truth) => truth === 1),
        where,
      ).toEqual(isMet);
    }
    expect(tested).toBeGreaterThan(CONDITIONS / 2);
  });

  it.each([
    [`t = 'a' and n > 0`, `((n > '0'::numeric) AND (t = 'a'::text))`],
    ['"Mixed ""Case""" and not "select"', '("Mixed ""Case""" AND (NOT "select"))'],
    [`t = 'walhouse_row.t' -- a comment`, `(t = 'walhouse_row.t'::text)`],
    [`tz > '2026-01-01 10:00 Europe/Berlin'`, `(tz > '2026-01-01 09:00:00+00'::timestamp with time zone)`],
    [`t = 'today'`, `(t = 'today'::text)`],
    [`true`, null],
    [`i in (1, 2) or true`, null],
  ])('stand in the form that Postgres prints: %s', async (where, text) => {
    expect((await rowCondition(client, relation, where)).text).toBe(text);
  });

  it.each([
    [`nope = 1`, /column "nope" does not exist/],
    [`t = 1`, /operator does not exist: text = integer/],
    [`i = 'one'`, /invalid input syntax for type integer/],
    [`t`, /must be type boolean/],
    [`i = `, /syntax error/],
    [`i = 1); drop table conditions; --`, /syntax error|cannot insert multiple commands/],
    [`i > 1) order by (i`, /more than columns of the row/],
    [`i = 1) limit (1`, /more than columns of the row/],
    [`false`, /true of no row/],
    [`t = null`, /true of no row/],
    [`i > (select count(*) from public.conditions)`, /more than columns of the row/],
    [`i in (select id from public.conditions)`, /more than columns of the row/],
    [`now() > '2020-01-01' and i > 0`, /more than columns of the row/],
    [`i > sum(i)`, /aggregate functions are not allowed/],
    [`d > 'today'`, /'today' in it/],
    [`ts > 'now'`, /'now' in it/],
    [`ctid is not null`, /column "ctid" does not exist/],
    [`walhouse_row is not null`, /whole rows/],
    [`i = $1`, /refused by Postgres/],
  ])('are refused: %s', async (where, reason) => {
    await expect(rowCondition(client, relation, where)).rejects.toThrow(reason);
    await expect(rowCondition(client, relation, where)).rejects.toBeInstanceOf(ConditionRefused);
  });

  it.each([
    [`t > 'a'`, /order.*collation/],
    [`c between 'a' and 'b'`, /order.*collation/],
    [`s < 'paid'`, /enum by their order/],
    [`lower(t) = 'a'`, /not understood.*lower/],
    [`t like 'a%'`, /not understood.*~~/],
    [`i % 2 = 0`, /not understood.*%/],
    [`i + 1 > 2`, /not understood/],
    [`coalesce(i, 1) = 1`, /not understood/],
    [`case when i > 1 then "select" else false end`, /not understood/],
    [`other = '{}'`, /other, which is jsonb/],
    [`i::float8 > 1`, /casts to double precision/],
    [`n::int = 1`, /casts to integer/],
    [`n::numeric(5,1) = 1.5`, /given length/],
    [`tz > date '2026-01-01'`, /two kinds/],
    [`t = 'a' collate "C"`, /not understood/],
    [`d > current_date`, /not understood/],
  ])('are not evaluated here, and say why: %s', async (where, reason) => {
    const { text } = await rowCondition(client, relation, where);
    expect(() => parseCondition(text!, types())).toThrow(reason);
    expect(() => parseCondition(text!, types())).toThrow(NotEvaluable);
  });
});
