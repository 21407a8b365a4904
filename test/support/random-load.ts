import pg from 'pg';

/** What a load did, by kind. `refused` are statements that a constraint of the schema did not let through. */
export interface LoadReport {
  inserted: number;
  updated: number;
  deleted: number;
  transactions: number;
  refused: number;
}

interface LoadedTable {
  readonly sql: string;
  readonly columns: readonly {
    readonly sql: string;
    readonly type: string;
    readonly nullable: boolean;
    readonly indexed: boolean;
  }[];
}

/** Random values by type; each is an expression that gives another value in every row. `text` has the ugly ones. */
const VALUES: Readonly<Record<string, string>> = {
  bigint: '((random() - 0.5) * 9e18)::bigint',
  integer: '((random() - 0.5) * 4e9)::integer',
  smallint: '((random() - 0.5) * 6e4)::smallint',
  boolean: 'random() < 0.5',
  bytea: `decode(md5(random()::text), 'hex') || '\\x00090a5c27'::bytea`,
  tsvector: `to_tsvector('simple', md5(random()::text) || ' fat ''quoted'' \\ words')`,
  'text[]': `array[md5(random()::text), null, '', 'a,b', '"quoted"', E'tab\\tand \\\\ back', 'NULL']`,
  json: `json_build_object('k', random(), 'n', null)`,
  jsonb: `jsonb_build_object('k', random(), 'n', null)`,
  uuid: 'gen_random_uuid()',
  numeric: '(random() * 1e12)::numeric(30, 6)',
  date: `date '1970-01-01' + (random() * 40000)::int`,
  'timestamp with time zone': `timestamptz '1971-01-01' + random() * interval '60 years'`,
  'timestamp without time zone': `timestamp '1971-01-01' + random() * interval '60 years'`,
  'double precision': '(random() - 0.5) * 1e300',
  real: '((random() - 0.5) * 1e30)::real',
};
const LARGE = `(select string_agg(md5(random()::text), '') from generate_series(1, 300 + (random() * 10)::int))`;
const TEXT = `case (random() * 12)::int
  when 0 then ''
  when 1 then E'tab\\t line\\n back\\\\slash \\\\N ' || random()
  when 2 then 'Zoë 你好 🎉 ''quoted'' "' || md5(random()::text)
  else md5(random()::text) end`;

/**
 * Writes to every table of a schema that nobody wrote this for: inserts, updates (of keys too) and deletes of random
 * rows, in transactions over several tables, by what the catalog says of the columns. Foreign keys and triggers are off; what
 * another constraint refuses is taken back alone. The seed repeats which tables and statements, not every value.
 */
export class RandomLoad {
  readonly report: LoadReport = { inserted: 0, updated: 0, deleted: 0, transactions: 0, refused: 0 };
  readonly #client: pg.Client;
  #tables: LoadedTable[] = [];
  #state: number;

  private constructor(client: pg.Client, seed: number) {
    this.#client = client;
    this.#state = seed;
  }

  static async open(url: string, seed: number): Promise<RandomLoad> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(`set session_replication_role = replica; select setseed(${(seed % 1000) / 1000})`);
    const load = new RandomLoad(client, seed);
    load.#tables = await readTables(client);
    return load;
  }

  /** Some rows in every table. */
  async fill(rows: number): Promise<void> {
    for (const table of this.#tables) await this.#transaction(async () => this.#insert(table, rows));
  }

  /** So many transactions of one to five statements each. */
  async run(transactions: number): Promise<void> {
    for (let i = 0; i < transactions; i += 1) {
      const statements = 1 + this.#below(5);
      await this.#transaction(async () => {
        for (let j = 0; j < statements; j += 1) {
          const table = this.#tables[this.#below(this.#tables.length)]!;
          const dice = this.#below(10);
          if (dice < 4) await this.#insert(table, 1 + this.#below(3));
          else if (dice < 8) await this.#update(table);
          else await this.#delete(table);
        }
      });
    }
  }

  close(): Promise<void> {
    return this.#client.end();
  }

  async #transaction(work: () => Promise<void>): Promise<void> {
    await this.#client.query('begin');
    await work();
    // Some never happened.
    await this.#client.query(this.#below(20) === 0 ? 'rollback' : 'commit');
    this.report.transactions += 1;
  }

  async #insert({ sql, columns }: LoadedTable, rows: number): Promise<void> {
    const values = columns.map((column) => this.#value(column)).join(', ');
    this.report.inserted += await this.#try(
      `insert into ${sql} (${columns.map((column) => column.sql).join(', ')})
       select ${values} from generate_series(1, ${rows}) on conflict do nothing`,
    );
  }

  async #update({ sql, columns }: LoadedTable): Promise<void> {
    const some = columns.filter(() => this.#below(3) === 0);
    const set = (some.length === 0 ? columns.slice(-1) : some)
      .map((column) => `${column.sql} = ${this.#value(column)}`)
      .join(', ');
    this.report.updated += await this.#try(
      `update ${sql} set ${set} where ctid in (select ctid from ${sql} order by random() limit 3)`,
    );
  }

  async #delete({ sql }: LoadedTable): Promise<void> {
    this.report.deleted += await this.#try(
      `delete from ${sql} where ctid in (select ctid from ${sql} order by random() limit 1)`,
    );
  }

  async #try(sql: string): Promise<number> {
    await this.#client.query('savepoint one');
    try {
      return (await this.#client.query(sql)).rowCount ?? 0;
    } catch (error) {
      // A constraint, a value that the column does not take, or that an index does not.
      if (!/^(23|22|21|54)/.test((error as { code?: string }).code ?? '')) throw error;
      this.report.refused += 1;
      await this.#client.query('rollback to savepoint one');
      return 0;
    }
  }

  #value({ type, nullable, indexed }: LoadedTable['columns'][number]): string {
    const length = /^character(?: varying)?\((\d+)\)$/.exec(type)?.[1];
    const value =
      length !== undefined
        ? `left(md5(random()::text), ${length})`
        : (VALUES[type] ?? (indexed ? TEXT : `case when random() < 0.1 then ${LARGE} else ${TEXT} end`));
    return nullable ? `case when random() < 0.8 then ${value} end` : value;
  }

  /** A small generator of our own: the choice of tables must not depend on how many values were drawn. */
  #below(bound: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * bound);
  }
}

async function readTables(client: pg.Client): Promise<LoadedTable[]> {
  const { rows } = await client.query<{ sql: string; columns: LoadedTable['columns'] }>(
    `select format('%I.%I', n.nspname, c.relname) as sql,
            json_agg(json_build_object('sql', quote_ident(a.attname), 'type', format_type(a.atttypid, a.atttypmod),
                                       'nullable', not a.attnotnull,
                                       'indexed', exists (select from pg_index i where i.indrelid = c.oid and a.attnum = any(i.indkey)))
                     order by a.attnum) as columns
       from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
      where c.relkind in ('r', 'p') and not c.relispartition and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
        and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity = ''
      group by 1 order by 1`,
  );
  return rows;
}
