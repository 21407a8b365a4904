import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, inject, it } from 'vitest';
import { expectEqualBut } from '../support/quarantined.js';
import { Scenario, type Decoder } from '../support/scenario.js';
import { VALUE_CASES, VALUE_TYPES, type ValueCase } from '../support/value-cases.js';

const DECODERS: Decoder[] = ['pgoutput', 'wal2json'];

/** Where a value stands when the service looks: which path it took, and what became of it. */
const READ = 0;
const INSERTED = 1_000;
const UPDATED_TO = 2_000;
const UPDATED_FROM = 3_000;
const DELETED = 4_000;
const PASSING = 5_000;
/** The second round's rows; its WAL is delivered twice. */
const AGAIN = 10_000;

/** wal2json's null may be NaN in these, so a source that has them nullable is read through pgoutput. */
const isNumber = ({ type }: ValueCase): boolean => /^(float4|float8|numeric(\([^)]*\))?)$/.test(type);

class ValueTable {
  readonly name: string;
  readonly case: ValueCase;
  readonly #decoder: Decoder;
  readonly values: readonly string[];
  /** Ids of rows whose present value must be in quarantine. */
  readonly quarantined = new Set<number>();
  readonly #hasNullable: boolean;

  constructor(name: string, found: ValueCase, decoder: Decoder) {
    this.name = `v_${name}`;
    this.case = found;
    this.#decoder = decoder;
    this.values = [...found.held, ...(found.lostByWal2json ?? []), ...(found.refused ?? [])];
    this.#hasNullable = decoder === 'pgoutput' || !isNumber(found);
  }

  get options(): object {
    const { chosen } = this.case;
    if (chosen === undefined) return {};
    const columns = this.#hasNullable ? ['v', 'w'] : ['w'];
    return { columns: Object.fromEntries(columns.map((column) => [column, { type: chosen }])) };
  }

  create(full: boolean): string {
    const { type } = this.case;
    const nullable = this.#hasNullable ? `v ${type},` : '';
    return `create table ${this.name} (id int primary key, ${nullable} w ${type} not null);
            ${full ? `alter table ${this.name} replica identity full;` : ''}`;
  }

  /** Rows that are there when the snapshot is taken, or before a round of the stream. */
  before(offset: number, path: 'snapshot' | 'stream'): string {
    const { values } = this;
    const first = values[0]!;
    const rows: [number, string][] = [];
    values.forEach((value, i) => {
      rows.push(
        [offset + READ + i, value],
        [offset + UPDATED_TO + i, first],
        [offset + UPDATED_FROM + i, value],
        [offset + DELETED + i, value],
      );
      if (!this.#isRefused(value, path)) return;
      for (const place of [READ, UPDATED_FROM, DELETED]) this.quarantined.add(offset + place + i);
    });
    return this.#insert(rows) + this.#insertNull(offset + 500);
  }

  changes(offset: number): string {
    const { values } = this;
    const second = values[1]!;
    const statements: string[] = [this.#insert(values.map((value, i) => [offset + INSERTED + i, value]))];
    values.forEach((value, i) => {
      statements.push(
        this.#update(offset + UPDATED_TO + i, value),
        this.#update(offset + UPDATED_FROM + i, second),
        this.#insert([[offset + PASSING + i, value]]),
        this.#update(offset + PASSING + i, second),
        `delete from ${this.name} where id = ${offset + DELETED + i};`,
      );
      for (const place of [UPDATED_FROM, DELETED]) this.quarantined.delete(offset + place + i);
      if (!this.#isRefused(value, 'stream')) return;
      for (const place of [INSERTED, UPDATED_TO]) this.quarantined.add(offset + place + i);
    });
    statements.push(this.#insertNull(offset + 501));
    return statements.join('\n');
  }

  #isRefused(value: string, path: 'snapshot' | 'stream'): boolean {
    const { refused = [], lostByWal2json = [] } = this.case;
    if (refused.includes(value)) return true;
    return path === 'stream' && this.#decoder === 'wal2json' && lostByWal2json.includes(value);
  }

  #insert(rows: readonly [number, string][]): string {
    const { type } = this.case;
    const value = (text: string): string => `(${text})::${type}`;
    const list = rows.map(([id, text]) =>
      this.#hasNullable ? `(${id}, ${value(text)}, ${value(text)})` : `(${id}, ${value(text)})`,
    );
    return `insert into ${this.name} values ${list.join(', ')};`;
  }

  #insertNull(id: number): string {
    if (!this.#hasNullable) return '';
    if (this.case.neverNull === true) this.quarantined.add(id);
    return `insert into ${this.name} values (${id}, null, (${this.values[0]})::${this.case.type});`;
  }

  #update(id: number, text: string): string {
    const value = `(${text})::${this.case.type}`;
    return `update ${this.name} set ${this.#hasNullable ? `v = ${value}, ` : ''} w = ${value} where id = ${id};`;
  }
}

describe.each(DECODERS)('values through %s', (decoder) => {
  const isThere = decoder === 'pgoutput' || inject('servers').hasWal2json;
  const tables = Object.entries(VALUE_CASES).map(([name, found]) => new ValueTable(name, found, decoder));
  const quarantined = (): Map<string, number[]> =>
    new Map(tables.map((table) => [table.name, [...table.quarantined]]));
  let scenario: Scenario | null = null;
  afterAll(() => scenario?.close());

  it.runIf(isThere)('arrive exactly or go to quarantine through the snapshot', async () => {
    scenario = await Scenario.open(`values_${decoder}`, {
      schema: [VALUE_TYPES, ...tables.map((table, i) => table.create(i % 2 === 0))].join('\n'),
      tables: Object.fromEntries(tables.map((table) => [`public.${table.name}`, table.options])),
      decoder,
    });
    await scenario.sql(tables.map((table) => table.before(0, 'snapshot')).join('\n'));
    await scenario.walhouse.start({ WALHOUSE_LOG_LEVEL: 'warn' });
    await expectEqualBut(scenario, quarantined());
    const [slot] = await scenario.sql(
      `select plugin from pg_replication_slots where slot_name = '${scenario.databases.name}'`,
    );
    expect(slot).toEqual({ plugin: decoder });
  });

  it.runIf(isThere)(
    'arrive exactly or go to quarantine through the stream: inserted, updated to and from, deleted',
    async () => {
      for (const table of tables) await scenario!.sql(table.changes(0));
      await expectEqualBut(scenario!, quarantined());
    },
  );

  // What is stored of them a second time is no decoder's business.
  it.runIf(decoder === 'pgoutput')('are the same after their WAL was delivered again', async () => {
    const { walhouse } = scenario!;
    expect(await walhouse.stop()).toBe(0);
    await scenario!.sql(tables.map((table) => table.before(AGAIN, 'stream')).join('\n'));
    await scenario!.sql(tables.map((table) => table.changes(AGAIN)).join('\n'));
    await walhouse.start({ WALHOUSE_LOG_LEVEL: 'warn', WALHOUSE_FAILPOINT: 'after_insert' });
    expect(await walhouse.ended()).toBe('SIGKILL');
    await walhouse.start({ WALHOUSE_LOG_LEVEL: 'warn' });
    await expectEqualBut(scenario!, quarantined());
  });

  it.runIf(isThere)('follow an enum that gets a label and another name for one', async () => {
    const { databases } = scenario!;
    await scenario!.sql(`alter type mood add value 'new' before 'ok'`);
    await scenario!.sql(`insert into v_mood values (90001, 'new', 'ok')`);
    await scenario!.sql(`alter type mood rename value 'ok' to 'fine'`);
    await scenario!.sql(`insert into v_mood values (90002, 'fine', 'new')`);
    await scenario!.applied();
    const rows = await databases.clickhouse<{ id: number; v: string; w: string }>(
      `select id, v, w from ${databases.clickhouseDatabase}.v_mood where id > 90000 order by id`,
    );
    expect(rows).toEqual([
      // As it was called when the row was written; `fine` where the table was read again since.
      { id: 90001, v: 'new', w: expect.stringMatching(/^(ok|fine)$/) as string },
      { id: 90002, v: 'fine', w: 'new' },
    ]);
    expect((await scenario!.walhouse.status()).state).toBe('streaming');
  });
});

describe('generated columns', () => {
  it.runIf(inject('servers').hasWal2json)('are what Postgres has, with the decoder left open', async () => {
    const scenario = await Scenario.open('values_generated', {
      schema: `create table g (id int primary key, a int, twice int generated always as (a * 2) stored,
                               label text generated always as ('n' || a) stored);
               insert into g (id, a) select i, nullif(i % 5, 0) from generate_series(1, 20) i`,
      tables: { 'public.g': {} },
    });
    try {
      await scenario.walhouse.start({ WALHOUSE_LOG_LEVEL: 'warn' });
      await scenario.expectEqual();
      await scenario.sql('insert into g (id, a) values (21, 7), (22, null)');
      await scenario.sql('update g set a = a + 100 where id % 2 = 0; update g set a = null where id = 3');
      await scenario.sql('delete from g where id = 5; update g set id = 1000 where id = 6');
      await scenario.expectEqual();
    } finally {
      await scenario.close();
    }
  });
});

describe('docs/TYPES.md', () => {
  it('has every built-in type of the source', async () => {
    const scenario = await Scenario.open('values_types', { schema: '', tables: {} });
    try {
      const rows = await scenario.sql(
        `select typname as name from pg_type
         where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'r', 'm') and typcategory <> 'A'
           and typname not like 'pg\\_%' or typname in ('pg_lsn', 'pg_snapshot')
         order by 1`,
      );
      const document = readFileSync(new URL('../../docs/TYPES.md', import.meta.url), 'utf8');
      const missing = rows
        .map(({ name }) => name as string)
        .filter((name) => !document.includes(`\`${name}\``));
      expect(missing).toEqual([]);
    } finally {
      await scenario.close();
    }
  });
});
