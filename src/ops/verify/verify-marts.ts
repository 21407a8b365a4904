import type { ClickHouseClient } from '@clickhouse/client';
import { WalhouseError } from '../../pipeline/errors.js';
import { formatLsn, type Lsn } from '../../pipeline/lsn.js';
import type { Relation } from '../../pipeline/relation.js';
import { versionBound } from '../../pipeline/version.js';
import { quoteName } from '../../sink/identifier.js';
import type { ComparedRetention } from '../compare/retention-cut.js';
import { KEYS_MAX, SAMPLES_MAX } from './findings.js';
import { MartStatements, PLACES_MAX } from './mart-statements.js';
import { martTargets, type MartTarget } from './mart-targets.js';
import { takeRetentionEdge } from './retention-edge.js';
import { askClickHouse, LARGE_ANSWER } from './sides.js';
import type { KeyTexts } from './statements.js';

/** After the first look at everything, how often places that had changed meanwhile, or differed, are looked at again. */
const PASSES_MAX = 6;
/** Rows that a mart lets go within so long are left out: its feed and its merges need not do so at the same moment. */
const EXPIRES_WITHIN = 'interval 1 hour';
const VERSION_MAX = (1n << 128n) - 1n;

export interface MartReport {
  /** The materialized views that feed it. */
  readonly feed: string;
  /** The table that people query. */
  readonly mart: string;
  /** The source tables behind it, as configured. */
  readonly tables: readonly string[];
  /**
   * `unchecked`: it cannot be told which version of its rows counts. `not_compared`: nothing is known, see `error`.
   */
  readonly verdict: 'equal' | 'different' | 'unchecked' | 'not_compared';
  /** The WAL position of the first look. */
  readonly position: string | null;
  /** Rows that the mart should show. */
  readonly rows: number;
  /** Rows that it does not show, shows without need, and shows with other values or of another version. */
  readonly missing: number;
  readonly extra: number;
  readonly different: number;
  /** Rows that were changed again in every pass, and so were never compared. */
  readonly in_flux: number;
  /** Some of the source's keys behind what differs, where the mart has the key's columns under their names. */
  readonly samples: readonly KeyTexts[];
  readonly error: {
    readonly kind: string;
    readonly what: string;
    readonly why: string;
    readonly fix: string;
  } | null;
}

export interface VerifiedMart {
  readonly report: MartReport;
  /** The source's keys behind all that differs; null where they cannot be told, or are too many. */
  readonly keys: readonly KeyTexts[] | null;
}

/** A configured table. */
export interface MartSource {
  readonly id: string;
  readonly retention?: ComparedRetention | undefined;
  /** Left out where its marts are not asked for. */
  readonly relation?: Relation | undefined;
}

export interface VerifyMartsOptions {
  readonly clickhouse: ClickHouseClient;
  readonly database: string;
  /** All of them, by the name of the landing table. */
  readonly sources: ReadonlyMap<string, MartSource>;
  /** The end of the source's WAL. */
  readonly position: () => Promise<Lsn>;
  /** Resolves once ClickHouse holds everything before a position; rejects where a table of `ids` cannot be compared there. */
  readonly applied: (position: Lsn, ids: readonly string[]) => Promise<void>;
  readonly onProgress?: ((mart: string) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Looks, inside ClickHouse, whether each mart that these tables feed shows what its feeds make of landing now: nothing missing, nothing
 * besides, tombstones included. At a position that is applied, since a batch on its way reaches landing before its marts.
 */
export async function verifyMarts(options: VerifyMartsOptions): Promise<VerifiedMart[]> {
  const wanted = [...options.sources].filter(([, { relation }]) => relation !== undefined);
  const names = new Set(wanted.map(([name]) => name));
  const targets = await martTargets(options.clickhouse, options.database, names);
  const verified: VerifiedMart[] = [];
  for (const target of targets) {
    options.signal?.throwIfAborted();
    options.onProgress?.(target.name);
    try {
      verified.push(await new MartVerification(options, target).run());
    } catch (error) {
      if (!(error instanceof WalhouseError) || error.kind === 'config_invalid') throw error;
      const { kind, what, why, fix } = error;
      verified.push({
        report: { ...blank(options, target), verdict: 'not_compared', error: { kind, what, why, fix } },
        keys: null,
      });
    }
  }
  return verified;
}

interface Place {
  readonly id: string;
  readonly inLanding: boolean;
  readonly inMart: boolean;
  readonly differs: boolean;
  readonly newest: bigint;
}

class MartVerification {
  readonly #options: VerifyMartsOptions;
  readonly #target: MartTarget;

  constructor(options: VerifyMartsOptions, target: MartTarget) {
    this.#options = options;
    this.#target = target;
  }

  async run(): Promise<VerifiedMart> {
    const target = this.#target;
    const report = blank(this.#options, target);
    if (target.place === null || target.expires === undefined) {
      return { report: { ...report, verdict: 'unchecked' }, keys: null };
    }
    const found = await this.#differing();
    const { places, statements } = found;
    const missing = places.filter(({ inMart }) => !inMart).length;
    const extra = places.filter(({ inLanding }) => !inLanding).length;
    const different = places.length - missing - extra;
    const keys = await this.#keysOf(statements, places);
    return {
      report: {
        ...report,
        verdict: places.length > 0 ? 'different' : 'equal',
        position: formatLsn(found.position),
        rows: found.rows,
        missing,
        extra,
        different,
        in_flux: found.inFlux,
        samples: keys?.slice(0, SAMPLES_MAX) ?? [],
      },
      keys,
    };
  }

  /**
   * Places that differed twice in a row: a batch on its way is in landing a moment before it is in the mart, and what it hides in landing would
   * look like too much in the mart.
   */
  async #differing() {
    const { statements, extrasTold } = await this.#statements();
    const first = await this.#look(statements, null);
    const confirmed: Place[] = [];
    let suspects = new Set(first.differing.map(({ id }) => id));
    let again = [...first.pending.map(({ id }) => id), ...suspects];
    for (let pass = 2; again.length > 0 && pass <= PASSES_MAX; pass += 1) {
      const next = await this.#look(statements, again);
      confirmed.push(...next.differing.filter(({ id }) => suspects.has(id)));
      suspects = new Set(next.differing.map(({ id }) => id).filter((id) => !suspects.has(id)));
      again = [...next.pending.map(({ id }) => id), ...suspects];
    }
    return {
      position: first.position,
      rows: first.rows,
      places: confirmed.filter(({ inLanding }) => inLanding || extrasTold),
      inFlux: again.length,
      statements,
    };
  }

  async #look(statements: MartStatements, ids: readonly string[] | null) {
    const { position: ask, applied, signal } = this.#options;
    signal?.throwIfAborted();
    const position = await ask();
    await applied(position, this.#tableIds());
    const { rows, places } = await this.#compare(statements, versionBound(position), ids);
    const impossibleFrom = versionBound(await ask());
    // Its tables may have been exchanged for new ones meanwhile.
    await applied(position, this.#tableIds());
    const pending = places.filter(
      ({ newest }) => newest >= versionBound(position) && newest < impossibleFrom,
    );
    const differing = places.filter(({ newest, differs }) => newest < versionBound(position) && differs);
    // Versions that no commit can have had are a hand's, and are compared as they stand.
    const beyond = places.filter(({ newest }) => newest >= impossibleFrom).map(({ id }) => id);
    if (beyond.length > 0) {
      const { places: standing } = await this.#compare(statements, VERSION_MAX, beyond);
      differing.push(...standing.filter(({ differs }) => differs));
    }
    return { position, rows, pending, differing };
  }

  async #compare(statements: MartStatements, bound: bigint, ids: readonly string[] | null) {
    const [answer] = await askClickHouse<{
      rows: string;
      places: [string, number, number, number, string][];
    }>(this.#options.clickhouse, statements.compare(bound, ids), {}, { ...LARGE_ANSWER, final: 1 });
    const { rows, places } = answer!;
    if (places.length > PLACES_MAX) throw tooMuch(this.#target.name);
    return {
      rows: Number(rows),
      places: places.map(([id, inLanding, inMart, differs, newest]): Place => ({
        id,
        inLanding: inLanding === 1,
        inMart: inMart === 1,
        differs: differs === 1,
        newest: BigInt(newest),
      })),
    };
  }

  /** Leaves out, on both sides, what the mart or the retention of its source may let go while it is looked at. */
  async #statements(): Promise<{ statements: MartStatements; extrasTold: boolean }> {
    const target = this.#target;
    const kept = target.expires === null ? [] : [`${target.expires!} > now() + ${EXPIRES_WITHIN}`];
    let extrasTold = true;
    for (const { retention } of this.#sources()) {
      if (retention === undefined) continue;
      if (target.columns.some(({ name }) => name === retention.column)) {
        const edge = await takeRetentionEdge(this.#options.clickhouse, retention);
        kept.push(edge.clickHouseCondition(quoteName(retention.column)));
      } else {
        // A row that landing has let go already cannot be told from one that never was.
        extrasTold = false;
      }
    }
    return { statements: new MartStatements(this.#options.database, target, kept), extrasTold };
  }

  async #keysOf(statements: MartStatements, places: readonly Place[]): Promise<readonly KeyTexts[] | null> {
    if (places.length === 0) return [];
    const relation = this.#sources()[0]?.relation;
    if (relation === undefined || this.#target.sources.length > 1 || places.length > KEYS_MAX) return null;
    const types = new Map(this.#target.columns.map(({ name, type }) => [name, type]));
    const columns = relation.key.map((index) => relation.columns[index]!);
    if (!columns.every(({ name }) => types.has(name))) return null;
    const texts = columns.map(({ name, type }) =>
      type.name === 'bytea'
        ? `concat('\\\\x', lower(hex(${quoteName(name)})))`
        : `toString(${quoteName(name)})`,
    );
    const rows = await askClickHouse<{ place: string; texts: string[] }>(
      this.#options.clickhouse,
      statements.texts(
        places.map(({ id }) => id),
        texts,
      ),
      {},
      LARGE_ANSWER,
    );
    return [...new Map(rows.map((row) => [JSON.stringify(row.texts), row.texts])).values()];
  }

  #sources(): MartSource[] {
    return this.#target.sources.flatMap((name) => this.#options.sources.get(name) ?? []);
  }

  #tableIds(): string[] {
    return this.#sources().map(({ id }) => id);
  }
}

function blank({ sources }: VerifyMartsOptions, target: MartTarget): MartReport {
  return {
    feed: target.feeds.map(({ name }) => name).join(', '),
    mart: target.name,
    tables: target.sources.flatMap((name) => sources.get(name)?.id ?? []),
    verdict: 'equal',
    position: null,
    rows: 0,
    missing: 0,
    extra: 0,
    different: 0,
    in_flux: 0,
    samples: [],
    error: null,
  };
}

function tooMuch(mart: string): WalhouseError {
  return new WalhouseError('sink_timeout', {
    what: `more than ${PLACES_MAX.toLocaleString('en')} rows of mart table ${mart} differ or changed while it was looked at.`,
    why: 'Too little stood still for it to say anything.',
    fix: 'compare again when the large transaction is over; if it says so again, walhouse resync of the table that feeds it',
  });
}
