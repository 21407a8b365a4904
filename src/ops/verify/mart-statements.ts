import { qualified, quoteName, quoteString } from '../../sink/identifier.js';
import { IS_DELETED, VERSION } from '../../sink/names.js';
import { hasTombstones, type MartTarget } from './mart-targets.js';

/** How many places one statement may give back by name. */
export const PLACES_MAX = 200_000;

/**
 * The questions about one mart. Its rows and what its feeds make of landing are set against each other inside ClickHouse: for each place
 * the newest version on either side, as a hash of all its columns. Landing keeps less than the mart, since merges take older
 * versions away, but what counts at a position is the same on both sides. The statements are to be run with `final`: a row that has moved
 * within the mart leaves no tombstone in landing, only what has taken its place.
 */
export class MartStatements {
  readonly #database: string;
  readonly #target: MartTarget;
  readonly #place: string;
  readonly #hash: string;
  readonly #live: string;
  /** Keeps rows that outlive the comparison. */
  readonly #kept: string;

  constructor(database: string, target: MartTarget, kept: readonly string[]) {
    this.#database = database;
    this.#target = target;
    const place = target.columns.filter(({ name }) => target.place!.includes(name));
    this.#place = `sipHash128(tuple(${casts(place)}))`;
    this.#hash = `greatest(sipHash64(tuple(${casts(target.columns)})), 1)`;
    this.#live = hasTombstones(target) ? `${IS_DELETED} = 0` : 'true';
    this.#kept = kept.length === 0 ? '' : ` where ${kept.map((condition) => `(${condition})`).join(' and ')}`;
  }

  /**
   * One row: how many rows landing has; then a list of places, each with its hash, whether landing and the mart have a row there, whether
   * they differ, and its newest version. Those that differ below `bound`, and all that have a version from there on.
   */
  compare(bound: bigint, places: readonly string[] | null): string {
    const at = `toUInt128(${quoteString(String(bound))})`;
    const newest = (side: 0 | 1, tie: string): string =>
      `argMaxIf(hash, (version, ${tie}), side = ${side} and version < ${at})`;
    const sides = [...this.#target.feeds.map(({ select }) => ({ side: 0, from: `(${select})` }))];
    sides.push({ side: 1, from: qualified(this.#database, this.#target.name) });
    const rows = sides.map(
      ({ side, from }) =>
        `select toUInt8(${side}) as _walhouse_side, ${this.#place} as _walhouse_place, ${VERSION} as _walhouse_newest, if(${this.#live}, ${this.#hash}, 0) as _walhouse_hash from ${from}${this.#kept}`,
    );
    // Only here, so that no name hides a column of the mart.
    const named = `select _walhouse_side as side, _walhouse_place as place, _walhouse_newest as version, _walhouse_hash as hash from (${rows.join(' union all ')})`;
    const chosen = places === null ? '' : ` where hex(place) in (${places.map(quoteString).join(', ')})`;
    // Of two rows with one version either may be seen, so both must be right: hence the mart's smallest hash as well.
    const grouped = `select place, ${newest(0, 'hash')} as a, ${newest(1, 'hash')} as b, ${newest(1, 'bitNot(hash)')} as c, max(version) as newest
      from (${named})${chosen} group by place`;
    return `select toString(countIf(a != 0)) as rows,
        groupArrayIf(${PLACES_MAX + 1})((hex(place), a != 0, b != 0, a != b or a != c, toString(newest)), a != b or a != c or newest >= ${at}) as places
      from (${grouped})`;
  }

  /** Places with the texts of some of their columns, which are expressions; from both sides, so that each place is found. */
  texts(places: readonly string[], expressions: readonly string[]): string {
    const from = [
      ...this.#target.feeds.map(({ select }) => `(${select})`),
      qualified(this.#database, this.#target.name),
    ];
    const list = places.map(quoteString).join(', ');
    const rows = from.map(
      (source) =>
        `select hex(${this.#place}) as _walhouse_place, [${expressions.join(', ')}] as _walhouse_texts from ${source} where _walhouse_place in (${list})`,
    );
    return `select _walhouse_place as place, any(_walhouse_texts) as texts from (${rows.join(' union all ')}) group by place`;
  }
}

function casts(columns: readonly { readonly name: string; readonly type: string }[]): string {
  return columns.map(({ name, type }) => `cast(${quoteName(name)} as ${type})`).join(', ');
}
