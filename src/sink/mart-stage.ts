import { qualified, quoteName } from './identifier.js';
import type { Mart, MartStatement } from './mart-files.js';
import type { Databases } from './names.js';

/** What is being made beside the readers' own is called so, in the landing database. */
export const NEXT_PREFIX = '_walhouse_next_';

/** A materialized view of a mart's stage. */
export interface StagedFeed {
  readonly statement: MartStatement;
  /** Its name in the stage, and the table there that it fills. */
  readonly object: string;
  readonly target: string;
  /** It reads a table that is not staged, so what is there already has to be brought. */
  readonly backfill: boolean;
}

/** The tables of a mart that one source table fills, to be made anew beside the old ones. */
export interface MartStage {
  readonly mart: Mart;
  /** Names in the people's database. */
  readonly targets: readonly string[];
  readonly feeds: readonly StagedFeed[];
  /** In the mart's own order. */
  readonly statements: readonly {
    readonly file: string;
    readonly sql: string;
    readonly feed: StagedFeed | null;
  }[];
}

/**
 * Cuts out of a mart what hangs on the landing table `name`: the tables that its materialized views fill, and every view that fills those.
 * Null where nothing does. The stage's statements are the mart's own with other names, so its feeds run on the stage of the table, and
 * it fills as the table does.
 */
export function stageOf(mart: Mart, name: string, databases: Databases): MartStage | null {
  const targets = new Set(
    mart.statements.flatMap(({ target, raw }) =>
      target !== null && readsLanding(raw).includes(name) ? [target] : [],
    ),
  );
  if (targets.size === 0) return null;
  const statements: MartStage['statements'][number][] = [];
  const feeds: StagedFeed[] = [];
  const staged = new Set(targets);
  for (const statement of mart.statements) {
    const { target, object } = statement;
    if (target !== null && object !== null && targets.has(target)) staged.add(object);
  }
  for (const statement of mart.statements) {
    const about = statement.object ?? altered(statement.raw);
    if (about === null || !staged.has(about)) continue;
    const sql = rename(statement.raw, staged, name, databases);
    let feed: StagedFeed | null = null;
    if (statement.target !== null && statement.object !== null) {
      feed = {
        statement,
        object: `${NEXT_PREFIX}${statement.object}`,
        target: `${NEXT_PREFIX}${statement.target}`,
        backfill: readsLanding(statement.raw).some((read) => read !== name),
      };
      feeds.push(feed);
    }
    statements.push({ file: statement.file, sql, feed });
  }
  return { mart, targets: [...targets], feeds, statements };
}

const IN_LANDING = /\{landing\}\.`?([A-Za-z_][A-Za-z0-9_]*)`?/g;
const IN_DATABASE = /\{database\}\.`?([A-Za-z_][A-Za-z0-9_]*)`?/g;
const ALTERED = /^\s*alter\s+table\s+\{database\}\.`?([A-Za-z_][A-Za-z0-9_]*)/im;

/** The landing tables that a statement names. */
export function readsLanding(raw: string): string[] {
  return [...raw.matchAll(IN_LANDING)].map(([, name]) => name!);
}

function altered(raw: string): string | null {
  return ALTERED.exec(raw)?.[1] ?? null;
}

function rename(raw: string, staged: ReadonlySet<string>, table: string, databases: Databases): string {
  const next = (name: string): string => qualified(databases.landing, `${NEXT_PREFIX}${name}`);
  return raw
    .replace(IN_DATABASE, (_, name: string) =>
      staged.has(name) ? next(name) : qualified(databases.views, name),
    )
    .replace(IN_LANDING, (_, name: string) =>
      name === table ? next(name) : qualified(databases.landing, name),
    )
    .replaceAll('{audit}', quoteName(databases.audit));
}
