import { afterAll, describe, expect, inject, it } from 'vitest';
import { expectEqualBut } from '../support/quarantined.js';
import { type RandomValue, RANDOM_TYPES, type RandomType } from '../support/random-values.js';
import { Scenario, type Decoder } from '../support/scenario.js';
import { random } from '../unit/source-messages.js';

/** `WALHOUSE_VALUES_SEED` replays a run. */
const SEED = Number(process.env['WALHOUSE_VALUES_SEED'] ?? Date.now() % 2 ** 31);
/** Rows of each table that the snapshot reads, and that each round of the stream inserts. */
const ROWS = 150;
const ROUNDS = 2;

const DECODERS: Decoder[] = ['pgoutput', 'wal2json'];

describe.each(DECODERS)(`random values through %s, seed ${SEED}`, (decoder) => {
  const isThere = decoder === 'pgoutput' || inject('servers').hasWal2json;
  let scenario: Scenario | null = null;
  afterAll(() => scenario?.close());

  it.runIf(isThere)('arrive exactly or go to quarantine', async () => {
    const next = random(SEED);
    const names = Object.keys(RANDOM_TYPES);
    scenario = await Scenario.open(`properties_${decoder}`, {
      schema: names
        .map(
          (name, i) =>
            // wal2json's null may be NaN in a nullable number.
            `create table r_${name} (id int primary key, v ${RANDOM_TYPES[name]!.type} ${isNullable(name) ? '' : 'not null'});
             ${i % 2 === 0 ? `alter table r_${name} replica identity full;` : ''}`,
        )
        .join('\n'),
      tables: Object.fromEntries(names.map((name) => [`public.r_${name}`, {}])),
      decoder,
    });
    const { databases } = scenario;
    const quarantined = new Map<string, Set<number>>(names.map((name) => [`r_${name}`, new Set()]));

    const draw = (name: string): RandomValue | null =>
      isNullable(name) && next(12) === 0 ? null : RANDOM_TYPES[name]!.draw(next);
    const note = (name: string, id: number, value: RandomValue | null, path: 'snapshot' | 'stream'): void => {
      const lost = path === 'stream' && decoder === 'wal2json' && value?.lostByWal2json === true;
      const ids = quarantined.get(`r_${name}`)!;
      if (value?.refused === true || lost) ids.add(id);
      else ids.delete(id);
    };
    const write = async (statement: string, name: string, rows: [number, RandomValue | null][]) => {
      const { type } = RANDOM_TYPES[name]!;
      await databases.postgres(statement.replaceAll('TABLE', `r_${name}`).replaceAll('TYPE', type), [
        rows.map(([id]) => id),
        rows.map(([, value]) => value?.text ?? null),
      ]);
    };
    const rowsOf = (name: string, from: number, path: 'snapshot' | 'stream') =>
      Array.from({ length: ROWS }, (_, i): [number, RandomValue | null] => {
        const value = draw(name);
        note(name, from + i, value, path);
        return [from + i, value];
      });
    const INSERT = `insert into TABLE select id, v::TYPE from unnest($1::int[], $2::text[]) as given(id, v)`;
    const UPDATE = `update TABLE set v = given.v::TYPE from unnest($1::int[], $2::text[]) as given(id, v) where TABLE.id = given.id`;

    for (const name of names) await write(INSERT, name, rowsOf(name, 0, 'snapshot'));
    await scenario.walhouse.start({ WALHOUSE_LOG_LEVEL: 'warn' });
    const expected = (): Map<string, number[]> =>
      new Map([...quarantined].map(([table, ids]) => [table, [...ids]]));
    await expectEqualBut(scenario, expected());

    for (let round = 1; round <= ROUNDS; round += 1) {
      for (const name of names) {
        await write(INSERT, name, rowsOf(name, round * ROWS, 'stream'));
        // To and from any value, in rows of the snapshot and of the stream.
        await write(UPDATE, name, rowsOf(name, next(round * ROWS), 'stream'));
        const gone = next(round * ROWS);
        await databases.postgres(`delete from r_${name} where id between $1 and $1 + 10`, [gone]);
        for (let id = gone; id <= gone + 10; id += 1) quarantined.get(`r_${name}`)!.delete(id);
      }
      // Rows that were deleted in an earlier round were not updated in this one.
      for (const name of names) {
        const there = await databases.postgres<{ id: number }>(`select id from r_${name}`);
        const ids = new Set(there.map(({ id }) => id));
        for (const id of quarantined.get(`r_${name}`)!)
          if (!ids.has(id)) quarantined.get(`r_${name}`)!.delete(id);
      }
      await expectEqualBut(scenario, expected());
    }
    const [slot] = await scenario.sql(
      `select plugin from pg_replication_slots where slot_name = '${databases.name}'`,
    );
    expect(slot).toEqual({ plugin: decoder });
  });

  function isNullable(name: string): boolean {
    return decoder === 'pgoutput' || !(RANDOM_TYPES[name] as RandomType).mayBeNan;
  }
});
