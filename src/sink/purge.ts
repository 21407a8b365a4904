import type { ClickHouseClient } from '@clickhouse/client';
import { versionBound } from '../pipeline/version.js';
import { auditRetention } from './audit.js';
import { Checkpoints } from './checkpoint.js';
import { nowOf } from './clock.js';
import { qualified, quoteName, quoteString } from './identifier.js';
import { dropLeftovers } from './leftovers.js';
import { databasesFor, VERSION, type Databases } from './names.js';
import { findHolders, hasVersions, landingOf, type Holder, type HolderKind } from './purge-holders.js';
import { countVersions, findRows, removeRows, withoutOldParts, type FoundRows } from './purge-parts.js';
import { isPast, type Retention } from './retention.js';
import { Server } from './server.js';

/** One table in ClickHouse, before and after. */
export interface PurgedHolder {
  readonly kind: HolderKind;
  /** `database.table`. */
  readonly name: string;
  /** The source table whose rows it holds. */
  readonly of: string;
  readonly before: FoundRows;
  readonly after: FoundRows;
  /** Why nothing can be said of it; null where all was read. */
  readonly unproven: string | null;
}

export interface Purged {
  /** What expired up to this moment by ClickHouse's clock is gone: a DateTime64 as text in UTC. */
  readonly moment: string;
  readonly holders: readonly PurgedHolder[];
}

/** A condition over the rows of one table in ClickHouse; null where none can be written, with the reason. */
export interface Doomed {
  readonly holder: Holder;
  readonly of: string;
  readonly condition: string | null;
  readonly unproven: string | null;
}

/** A running service may bring rows that are past their retention already while they are looked for. */
const ROUNDS_MAX = 5;

/**
 * Removes what is past its retention from every table that holds it, and reads all parts afterwards. Safe beside a running service and without
 * one: what expires is decided by a date that all versions under one sort key share.
 */
export async function purge(options: {
  readonly client: ClickHouseClient;
  /** The database that people query. */
  readonly database: string;
  /** By `schema.name`. */
  readonly tables: ReadonlyMap<string, Retention>;
}): Promise<Purged> {
  const server = new Server(options.client);
  const databases = databasesFor(options.database);
  const moment = await nowOf(server);
  const landing: Doomed[] = [];
  const others: Doomed[] = [];
  for (const [id, retention] of options.tables) {
    const holders = await findHolders(server, databases, id);
    const stored = landingOf(holders, id);
    const applied = await new Checkpoints(server, databases.landing).load();
    const below = versionBound(applied?.appliedLsn ?? 0n);
    for (const holder of holders) {
      const doomed = pastRetention(holder, { id, retention, landing: stored, moment, below });
      (holder.kind === 'landing' ? landing : others).push(doomed);
    }
  }
  // Marts without dates are told by what is left in landing.
  return { moment, holders: await removeDoomed(server, databases, [...landing, ...others]) };
}

/** Removes what is doomed, in this order, until all parts are free of it. */
export async function removeDoomed(
  server: Server,
  databases: Databases,
  doomed: readonly Doomed[],
): Promise<PurgedHolder[]> {
  const conditionOf = ({ condition }: Doomed): string => condition ?? 'false';
  const before = new Map<Doomed, FoundRows>();
  for (const each of doomed) before.set(each, await findRows(server, each.holder, conditionOf(each)));
  await withoutOldParts(server, distinct(doomed), async () => {
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      let left = 0;
      for (const each of doomed) {
        const versions = await countVersions(server, each.holder, conditionOf(each));
        if (versions === 0) continue;
        left += versions;
        // A mart that is told by landing had nothing to find before landing was purged.
        const found = before.get(each)!;
        if (found.versions === 0) before.set(each, { ...found, versions });
        await removeRows(server, each.holder, conditionOf(each));
      }
      if (left === 0) return;
    }
  });
  const removed: PurgedHolder[] = [];
  for (const each of doomed) {
    const { holder, of, unproven } = each;
    const found = await findRows(server, holder, conditionOf(each));
    removed.push({
      kind: holder.kind,
      name: `${holder.database}.${holder.name}`,
      of,
      before: before.get(each)!,
      // Those there are now have replaced what was free of it already.
      after: { ...found, inactiveParts: 0 },
      unproven,
    });
  }
  // Last: a table may have been replaced meanwhile, and its former copy has the rows.
  await dropLeftovers(server, databases.landing);
  return removed;
}

/** Whether nothing of it is left, and all of it could be read. */
export function isProven(holders: readonly PurgedHolder[]): boolean {
  return holders.every(
    ({ after, unproven }) => after.versions === 0 && after.detachedParts === 0 && unproven === null,
  );
}

function pastRetention(
  holder: Holder,
  table: {
    readonly id: string;
    readonly retention: Retention;
    readonly landing: Holder;
    readonly moment: string;
    /** Versions below it have reached every table. */
    readonly below: bigint;
  },
): Doomed {
  const { retention, id, landing, moment, below } = table;
  const doomed = (condition: string): Doomed => ({ holder, of: id, condition, unproven: null });
  switch (holder.kind) {
    case 'landing':
    case 'stage':
    case 'versions':
      return doomed(isPast(retention, moment));
    case 'audit':
      return doomed(isPast(auditRetention(retention), moment));
    case 'quarantine':
      return doomed(
        `table = ${quoteString(id)} and expires_at <= toDateTime64(${quoteString(moment)}, 6, 'UTC')`,
      );
    case 'mart':
      break;
  }
  if (isDateAsIn(landing, holder, retention.column)) return doomed(isPast(retention, moment));
  // Whose key is no more in landing has no row inside its retention. Rows on their way reach landing first or last, so they are left alone.
  if (hasVersions(holder) && landing.key.every((column) => holder.columns.has(column))) {
    const key = `(${landing.key.map(quoteName).join(', ')})`;
    return doomed(
      `${VERSION} < toUInt128(${quoteString(String(below))})
        and ${key} not in (select ${key} from ${qualified(landing.database, landing.name)})`,
    );
  }
  return {
    holder,
    of: id,
    condition: null,
    unproven: `it has no column "${retention.column}", nor the key and version of the rows it is made from, so what of it is past its retention cannot be told`,
  };
}

/** A mart's column of that name is the row's own date, and not the day or month that it falls into. */
function isDateAsIn(landing: Holder, mart: Holder, column: string): boolean {
  const kindOf = ({ columns }: Holder): string | undefined =>
    /^(?:Nullable\()?(DateTime64\([6-9]|Date32)/.exec(columns.get(column) ?? '')?.[1];
  const kind = kindOf(mart);
  return kind !== undefined && (kind !== 'Date32' || kindOf(landing) === 'Date32');
}

function distinct(doomed: readonly Doomed[]): Holder[] {
  return [...new Map(doomed.map(({ holder }) => [`${holder.database}.${holder.name}`, holder])).values()];
}
