import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Random } from '../../src/dev/random.js';
import { isPassing, type World } from './world.js';

/** Written by transactions that are rolled back, and by no other. */
export const NEVER = 'never committed';

/** SQL for a value of a type, by the beginning of the type's name; anything else is left alone. */
const VALUES: readonly (readonly [RegExp, string])[] = [
  [/\[\]$/, `array[(random() * 9)::int4, null, 3]`],
  [/^(integer|bigint|smallint|numeric)/, `(random() * 9999)::int4`],
  [
    /^text/,
    `case when random() < 0.2 then null else repeat(md5(random()::text), 1 + (random() * 3)::int4) end`,
  ],
  [/^uuid/, `gen_random_uuid()`],
  [/^timestamp/, `now() - random() * interval '400 days'`],
  [/^jsonb/, `jsonb_build_object('a', random(), 'b', null)`],
  [/^boolean/, `random() < 0.5`],
];

interface Column {
  readonly name: string;
  readonly type: string;
  readonly nullable: boolean;
}

/** Keeps changing the tables beside the payments, with savepoints and rollbacks, over one connection. */
export class RowsWriter {
  readonly #world: World;
  readonly #random: Random;
  readonly #partitioned: boolean;
  #client: pg.Client | null = null;
  #next: number;
  transactions = 0;

  /** `place` keeps the keys of several writers apart. */
  constructor(world: World, seed: number, place: number) {
    this.#world = world;
    this.#random = new Random(seed, 31 + place);
    this.#partitioned = Object.hasOwn(world.tables, 'public.visits');
    this.#next = (place + 1) * 1_000_000_000;
  }

  async step(): Promise<void> {
    try {
      const client = (this.#client ??= await this.#connect());
      await client.query('begin');
      const rollback = this.#random.chance(0.08);
      const statements = 1 + this.#random.below(4);
      for (let i = 0; i < statements; i += 1) await this.#statement(client, rollback);
      await client.query(rollback ? 'rollback' : 'commit');
      this.transactions += 1;
    } catch (error) {
      // A column that has just gone, a key that somebody else took, a value that no longer fits: not this time.
      const refused = error instanceof pg.DatabaseError && /^(42|23|22|0A)/.test(error.code ?? '');
      if (!refused && !isPassing(error)) throw error;
      await this.#client?.query('rollback').catch(() => this.close());
      if (!refused) {
        await this.close();
        await sleep(100);
      }
    }
  }

  async close(): Promise<void> {
    await this.#client?.end().catch(() => undefined);
    this.#client = null;
  }

  async #connect(): Promise<pg.Client> {
    const client = new pg.Client({
      connectionString: this.#world.postgres.url,
      application_name: 'chaos rows',
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  async #statement(client: pg.Client, rolledBack: boolean): Promise<void> {
    const random = this.#random;
    if (random.chance(0.1)) {
      await client.query('savepoint aside');
      await client.query(
        `insert into ledger (id, account, amount, note) values (${this.#key()}, 0, 0, '${NEVER}')`,
      );
      await client.query('rollback to savepoint aside');
    }
    const savepoint = random.chance(0.2);
    if (savepoint) await client.query('savepoint kept');
    const tables = [
      'ledger',
      'ledger',
      'docs',
      'readings',
      'items',
      'items',
      'bulk',
      ...(this.#partitioned ? ['visits'] : []),
    ];
    const table = random.pick(tables);
    switch (table) {
      case 'ledger':
        await client.query(this.#ledger(rolledBack));
        break;
      case 'docs':
        await client.query(this.#docs());
        break;
      case 'readings':
        await client.query(this.#readings());
        break;
      case 'items':
        for (const sql of await this.#items(client)) await client.query(sql);
        break;
      case 'bulk':
        await client.query(this.#bulk());
        break;
      default:
        await client.query(this.#visits());
    }
    if (savepoint) await client.query('release savepoint kept');
  }

  /** Two entries that cancel each other, corrections and deletions. */
  #ledger(rolledBack: boolean): string {
    const random = this.#random;
    const note = rolledBack
      ? `'${NEVER}'`
      : random.chance(0.2)
        ? 'null'
        : `'a\\b "c" ' || chr(9) || md5(random()::text)`;
    const some = '(select id from ledger order by random() limit 2)';
    switch (random.below(5)) {
      case 0:
      case 1: {
        const amount = random.below(100_000) / 100;
        return `insert into ledger (id, account, amount, note) values
          (${this.#key()}, ${random.below(9)}, ${amount}, ${note}), (${this.#key()}, ${random.below(9)}, -${amount}, ${note})`;
      }
      case 2:
        return `update ledger set note = ${note}, account = account + 1 where id in ${some}`;
      case 3:
        return `update ledger set id = -id where id in ${some}`;
      default:
        return `delete from ledger where id in ${some}`;
    }
  }

  /** The large text stays as it is in most updates, so that its value is not in the WAL. Rows 1 to 200 are never deleted. */
  #docs(): string {
    const id = this.#random.chance(0.8) ? 1 + this.#random.below(200) : null;
    switch (this.#random.below(5)) {
      case 0:
        return `insert into docs values (${this.#key()}, 0, 'new', repeat(md5(random()::text), 100 + (random() * 150)::int4), null, null)`;
      case 1:
        return `update docs set body = case when random() < 0.3 then null else repeat(md5(random()::text), 160) end
          where id = ${id ?? 1}`;
      case 2:
        return id === null
          ? `delete from docs where id in (select id from docs where id > 200 order by random() limit 2)`
          : `update docs set title = md5(random()::text), seen = tstzrange(now(), now() + interval '1 day') where id = ${id}`;
      default:
        return `update docs set revision = revision + 1, meta = jsonb_build_object('r', revision) where id = ${id ?? 2}`;
    }
  }

  #readings(): string {
    const some = '(select station, day, slot from readings order by random() limit 3)';
    switch (this.#random.below(5)) {
      case 0:
      case 1:
        return `insert into readings select 's' || (random() * 9)::int4, date '2026-01-01' + (random() * 99)::int4, i,
            case when random() < 0.1 then 'NaN' else random() * 1e9 end, array['x', null, 'a,"b'], decode(md5(random()::text), 'hex')
          from generate_series(1, 5) i on conflict do nothing`;
      case 2:
        return `update readings set value = -value, tags = null where (station, day, slot) in ${some}`;
      case 3:
        return `update readings set station = station || '+' where (station, day, slot) in ${some} and length(station) < 8`;
      default:
        return `delete from readings where (station, day, slot) in ${some}`;
    }
  }

  /** The table whose columns come and go: whatever it has now. */
  async #items(client: pg.Client): Promise<string[]> {
    const { rows } = await client.query<Column>(
      `select quote_ident(attname) as name, format_type(atttypid, atttypmod) as type, not attnotnull as nullable
         from pg_attribute where attrelid = 'items'::regclass and attnum > 0 and not attisdropped`,
    );
    const extra = rows.flatMap((column) => {
      const value = VALUES.find(([type]) => type.test(column.type))?.[1];
      if (value === undefined || column.name === 'id' || column.name === 'name') return [];
      return [{ name: column.name, value: column.nullable ? value : `coalesce(${value})` }];
    });
    const chosen = extra.filter(() => this.#random.chance(0.4));
    const set = chosen.map(({ name, value }) => `${name} = ${value}`).join(', ');
    const some = '(select id from items order by random() limit 3)';
    switch (this.#random.below(5)) {
      case 0:
      case 1:
        return [
          `insert into items (id, name${chosen.map(({ name }) => `, ${name}`).join('')})
            values (${this.#key()}, 'new'${chosen.map(({ value }) => `, ${value}`).join('')})`,
        ];
      case 2:
        return set === '' ? [] : [`update items set ${set} where id in ${some}`];
      case 3:
        return [
          `update items set kind = (select enumlabel::kind from pg_enum where enumtypid = 'kind'::regtype order by random() limit 1)
            where id in ${some}`,
        ];
      default:
        return [`delete from items where id in ${some}`];
    }
  }

  #bulk(): string {
    const id = this.#key();
    return this.#random.chance(0.6)
      ? `insert into bulk values (${id}, ${id}, 'single')`
      : `update bulk set v = v || '.' where id in (select id from bulk limit 5) and length(v) < 50`;
  }

  #visits(): string {
    const some = '(select id from visits order by random() limit 2)';
    switch (this.#random.below(3)) {
      case 0:
        return `insert into visits values (${this.#key()}, date '2025-12-20' + (random() * 90)::int4, md5(random()::text))`;
      case 1:
        return `update visits set at = date '2025-12-20' + (random() * 90)::int4 where id in ${some}`;
      default:
        return this.#random.chance(0.5)
          ? `delete from visits where id in ${some}`
          : `update visits set who = who || '!' where id in ${some}`;
    }
  }

  #key(): number {
    return (this.#next += 1);
  }
}
