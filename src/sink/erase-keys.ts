import { randomBytes } from 'node:crypto';
import { qualified, quoteName, quoteString } from './identifier.js';
import { IS_DELETED, VERSION } from './names.js';
import type { Holder } from './purge-holders.js';
import type { Server } from './server.js';

/** Tables that hold the keys of an erasure. */
const PREFIX = '_walhouse_erase_';
/** One that is older was left by a process that died. */
const LEFT_AFTER_HOURS = 12;

/** One way in which a table's rows belong to rows of another. */
export interface Link {
  /** Its columns, in the order of the other's key. */
  readonly columns: readonly string[];
  readonly to: EraseKeys;
}

/**
 * Keys of one source table's rows that are to be erased, in a table of ClickHouse that lives in memory alone. So no statement holds a key,
 * and none gets into a query log, a mutation's text or a file.
 *
 * `kept` is zero where the row is erased with all its versions. Else the row belongs to somebody else by now: its present version, `kept`,
 * stays, and what it was before is erased.
 */
export class EraseKeys {
  readonly id: string;
  readonly landing: Holder;
  readonly #server: Server;
  readonly #table: string;
  readonly #below: string;

  /** `below`: versions at or above it are of after the erasure. */
  constructor(server: Server, id: string, landing: Holder, below: bigint) {
    this.#server = server;
    this.id = id;
    this.landing = landing;
    this.#table = qualified(landing.database, `${PREFIX}${randomBytes(8).toString('hex')}`);
    this.#below = `toUInt128(${quoteString(below.toString())})`;
  }

  async create(): Promise<void> {
    const columns = this.landing.key.flatMap((name, i) => {
      const type = this.landing.columns.get(name)!;
      return [`t${i} String`, `${quoteName(name)} ${type} default ${typed(type, `t${i}`)}`];
    });
    await this.#server.define(
      `create table ${this.#table} (${columns.join(', ')}, kept UInt128) engine = Memory comment 'Keys of an erasure that is running'`,
      'preparing an erasure',
    );
  }

  async drop(): Promise<void> {
    await this.#server.define(`drop table if exists ${this.#table} sync`, 'ending an erasure');
  }

  /** Adds one key, as Postgres prints it, in the order of the key's columns. */
  async add(texts: readonly string[]): Promise<void> {
    const row = Object.fromEntries(texts.map((text, i) => [`t${i}`, text]));
    await this.#server.insertRows(this.#table, [{ ...row, kept: '0' }], 'preparing an erasure');
  }

  /** Adds the rows that belong, or once belonged, to those of another table; how many were not known before. */
  async addLinked(link: Link, holders: readonly Holder[]): Promise<number> {
    const doing = `looking for rows of ${this.id} to erase`;
    const before = await this.count();
    const { key } = this;
    const landing = qualified(this.landing.database, this.landing.name);
    const names = this.landing.key.map(quoteName).join(', ');
    const candidates = holders.flatMap((holder) => this.#linkedKeys(link, holder) ?? []).join(' union all ');
    const wanted = `${key} in (${candidates}) and ${key} not in (select ${key} from ${this.#table})`;
    const isLinked = `(${link.columns.map(quoteName).join(', ')}) in (${link.to.#own()})`;
    await this.#server.longCommand(
      `insert into ${this.#table} (${names}, kept)
       select ${names}, if(newest.1 = 1 or newest.2, 0, newest_version) from (
         select ${names}, argMax((${IS_DELETED}, ${isLinked}), ${VERSION}) as newest, max(${VERSION}) as newest_version
           from ${landing} where ${VERSION} < ${this.#below} and ${wanted} group by ${names})`,
      doing,
    );
    // Rows that landing has never held, or has lost by now.
    await this.#server.longCommand(
      `insert into ${this.#table} (${names}, kept)
       select distinct ${names}, 0 from (${candidates})
        where ${key} not in (select ${key} from ${this.#table}) and ${key} not in (select ${key} from ${landing})`,
      doing,
    );
    return (await this.count()) - before;
  }

  /** A select of the keys of rows that a table holds and that belong to others by a link; null where it cannot tell. */
  #linkedKeys(link: Link, holder: Holder): string | null {
    const from = qualified(holder.database, holder.name);
    const own = link.to.#own();
    const as = (value: string, name: string): string =>
      `cast(${value} as ${this.landing.columns.get(name)!}) as ${quoteName(name)}`;
    const texts = textsOf(holder, this.id);
    if (texts === null) {
      if (![...this.landing.key, ...link.columns].every((name) => holder.columns.has(name))) return null;
      const isOlder = holder.columns.has(VERSION) ? `${VERSION} < ${this.#below} and ` : '';
      return `select ${this.landing.key.map((name) => as(quoteName(name), name)).join(', ')} from ${from}
        where ${isOlder}(${link.columns.map(quoteName).join(', ')}) in (${own})`;
    }
    const values = this.landing.key.map((name) =>
      typed(this.landing.columns.get(name)!, textOf(texts.key, name)),
    );
    const linked = texts.images.map((image) => `${this.#linkOf(link, image)} in (${own})`);
    return `select ${this.landing.key.map((name, i) => as(`assumeNotNull(${values[i]!})`, name)).join(', ')} from ${from}
      where ${texts.where} and ${texts.version} < ${this.#below} and (${linked.join(' or ')})
        and ${values.map((value) => `${value} is not null`).join(' and ')}`;
  }

  async count(): Promise<number> {
    const { erased, kept } = await this.counts();
    return erased + kept;
  }

  async counts(): Promise<{ readonly erased: number; readonly kept: number }> {
    const [row] = await this.#server.rows<{ erased_keys: string; kept_keys: string }>(
      `select toString(countIf(kept = 0)) as erased_keys, toString(countIf(kept != 0)) as kept_keys from ${this.#table}`,
      'counting rows to erase',
    );
    return { erased: Number(row!.erased_keys), kept: Number(row!.kept_keys) };
  }

  /** Keys that are erased whole, a piece at a time, as texts that Postgres can read. */
  async texts(offset: number, limit: number): Promise<string[][]> {
    const rows = await this.#server.rows<{ texts: string[] }>(
      `select [${this.landing.key.map((name) => `toString(${quoteName(name)})`).join(', ')}] as texts
         from ${this.#table} where kept = 0 order by all limit ${limit} offset ${offset}`,
      'reading keys to erase',
    );
    return rows.map(({ texts }) => texts);
  }

  /** The key as a tuple. */
  get key(): string {
    return `(${this.landing.key.map(quoteName).join(', ')})`;
  }

  /** What goes of a table with the key's columns; null where it has them not. */
  doomedByKey(holder: Holder): string | null {
    const { key } = this;
    if (!this.landing.key.every((name) => holder.columns.has(name))) return null;
    if (!holder.columns.has(VERSION)) return `${key} in (${this.#own()})`;
    return `${VERSION} < ${this.#below} and ${key} in (select ${key} from ${this.#table})
      and (${this.landing.key.map(quoteName).join(', ')}, ${VERSION}) not in
        (select ${this.landing.key.map(quoteName).join(', ')}, kept from ${this.#table} where kept != 0)`;
  }

  /** What goes of the trail of changes and of quarantine, where rows are texts. */
  doomedByText(holder: Holder, links: readonly Link[]): string {
    const { key, images, where, version } = textsOf(holder, this.id)!;
    const ofKey = [key, ...images].map((image) => `${this.#typedKey(image)} in (${this.#own()})`);
    const ofLink = links.flatMap((link) =>
      images.map((image) => `${this.#linkOf(link, image)} in (${link.to.#own()})`),
    );
    return `${where} and ${version} < ${this.#below} and (${[...ofKey, ...ofLink].join(' or ')})`;
  }

  #own(): string {
    return `select ${this.key} from ${this.#table} where kept = 0`;
  }

  #typedKey(image: string): string {
    return `(${this.landing.key.map((name) => typed(this.landing.columns.get(name)!, textOf(image, name))).join(', ')})`;
  }

  #linkOf({ columns, to }: Link, image: string): string {
    const values = columns.map((name, i) =>
      typed(to.landing.columns.get(to.landing.key[i]!)!, textOf(image, name)),
    );
    return `(${values.join(', ')})`;
  }
}

/** Drops what an erasure has left that was cut off. */
export async function dropLeftKeys(server: Server, landingDatabase: string): Promise<void> {
  const left = await server.rows<{ name: string }>(
    `select name from system.tables where database = {database:String} and startsWith(name, {prefix:String})
        and engine = 'Memory' and metadata_modification_time < now() - interval ${LEFT_AFTER_HOURS} hour`,
    'looking for what an earlier erasure has left',
    { database: landingDatabase, prefix: PREFIX },
  );
  for (const { name } of left)
    await server.define(`drop table if exists ${qualified(landingDatabase, name)} sync`, 'ending an erasure');
}

/** Where a table keeps rows as JSON objects of Postgres's texts. */
function textsOf(
  { kind }: Holder,
  id: string,
): { key: string; images: readonly string[]; where: string; version: string } | null {
  if (kind === 'audit') return { key: 'key', images: ['before', 'after'], where: 'true', version: VERSION };
  if (kind === 'quarantine')
    return { key: 'key', images: ['row'], where: `table = ${quoteString(id)}`, version: 'version' };
  return null;
}

function textOf(json: string, column: string): string {
  return `JSONExtract(${json}, ${quoteString(column)}, 'Nullable(String)')`;
}

/** A text of Postgres as the value of a stored type; null where it is none. */
function typed(type: string, text: string): string {
  const base = type.replace(/^LowCardinality\((.*)\)$/, '$1').replace(/^Nullable\((.*)\)$/, '$1');
  if (base === 'Bool') return `(${text} in ('t', 'true'))`;
  const bare = base.startsWith('DateTime64') ? `replaceRegexpOne(${text}, '[+]00$', '')` : text;
  return `accurateCastOrNull(${bare}, ${quoteString(base)})`;
}
