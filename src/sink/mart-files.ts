import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { WalhouseError } from '../pipeline/errors.js';
import { quoteName } from './identifier.js';
import type { Databases } from './names.js';

/** A mart as it stands on disk: a folder of SQL files, one statement each, run in the order of their names. */
export interface MartFiles {
  readonly name: string;
  readonly files: readonly { readonly name: string; readonly sql: string }[];
}

/** What a mart asks of one source table. */
export interface MartSource {
  /** `schema.table`. */
  readonly id: string;
  /** Columns that a sort key or a filter of the mart uses. */
  readonly tracks: readonly string[];
  /** The types that its columns must have in ClickHouse, as families: `Int`, `Decimal`, `String`, `Date`. */
  readonly needs: readonly { readonly column: string; readonly families: readonly string[] }[];
}

export interface Mart {
  readonly name: string;
  readonly sources: readonly MartSource[];
  readonly statements: readonly MartStatement[];
}

export interface MartStatement {
  readonly file: string;
  /** As it stands in the file. */
  readonly raw: string;
  /** Names filled in. */
  readonly sql: string;
  /** What it creates in the people's database; null when it alters what a file before it created. */
  readonly object: string | null;
  /** Set for a materialized view: the table it fills. */
  readonly target: string | null;
}

/** Everything the mart creates, in order. */
export function objectsOf(mart: Mart): string[] {
  return mart.statements.flatMap(({ object }) => (object === null ? [] : [object]));
}

/**
 * Reads the folders `names` under `dir`; `mart_invalid` where one is missing or empty. Folders inside them are not read. What the
 * configuration decides stands in the files as `{name}`, and is given as `parameters`.
 */
export function loadMarts(
  dir: string,
  names: readonly string[],
  parameters: Readonly<Record<string, string>> = {},
): MartFiles[] {
  return names.map((name) => {
    let files: string[] = [];
    try {
      files = readdirSync(join(dir, name))
        .filter((file) => file.endsWith('.sql'))
        .sort();
    } catch {
      // Said below, like an empty folder.
    }
    if (files.length === 0) {
      throw invalid(name, `has no SQL files in ${join(dir, name)}`, 'correct marts in walhouse.yaml');
    }
    return {
      name,
      files: files.map((file) => ({
        name: file,
        sql: withParameters(readFileSync(join(dir, name, file), 'utf8'), parameters),
      })),
    };
  });
}

const TRACKS = /^--\s*tracks:\s*(\S+)\s*\(([^)]*)\)\s*$/gm;
const NEEDS = /^--\s*needs:\s*(\S+)\s*\(([^)]*)\)\s*$/gm;
const HISTORY = /^--\s*history:\s*(\S+)\s*$/gm;
const CREATES =
  /^\s*create\s+(materialized\s+view|view|table|dictionary)\s+\{database\}\.([A-Za-z_][A-Za-z0-9_]*)/im;
const ALTERS = /^\s*alter\s+table\s+\{database\}\./im;
const TARGET = /^\s*create\s+materialized\s+view\s+\S+\s+to\s+\{database\}\.([A-Za-z_][A-Za-z0-9_]*)/im;

/**
 * Understands a mart's files. `-- tracks: public.payments (merchant_id, payment_date)` names what its sort keys and filters use,
 * `-- needs: public.payments (merchant_id Int, amount Decimal)` what types it can work with; `{database}`, `{landing}` and `{audit}` stand
 * for the databases. A file with `-- history: public.merchants` is left out unless the table is kept with its history.
 */
export function parseMart(
  files: MartFiles,
  databases: Databases,
  hasHistory: (id: string) => boolean = () => true,
): Mart {
  const tracks = new Map<string, Set<string>>();
  const needs = new Map<string, MartSource['needs'][number][]>();
  const statements: MartStatement[] = [];
  for (const file of files.files) {
    if ([...file.sql.matchAll(HISTORY)].some(([, id]) => !hasHistory(id!))) continue;
    for (const [, id, list] of file.sql.matchAll(TRACKS)) {
      const columns = tracks.get(id!) ?? new Set<string>();
      for (const column of split(list!)) columns.add(column);
      tracks.set(id!, columns);
    }
    for (const [, id, list] of file.sql.matchAll(NEEDS)) {
      const wanted = split(list!).map((item) => {
        const [column, types] = item.split(/\s+/);
        if (types === undefined) throw invalid(files.name, `names no type for ${column} in ${file.name}`);
        return { column: column!, families: types.split('|') };
      });
      needs.set(id!, [...(needs.get(id!) ?? []), ...wanted]);
    }
    const created = CREATES.exec(file.sql);
    if (created === null && !ALTERS.test(file.sql)) {
      throw invalid(files.name, `creates nothing in {database} in ${file.name}`);
    }
    const target = TARGET.exec(file.sql);
    if (created?.[1]!.toLowerCase().startsWith('materialized') === true && target === null) {
      throw invalid(files.name, `has a materialized view without "to {database}.table" in ${file.name}`);
    }
    statements.push({
      file: file.name,
      raw: file.sql,
      sql: fill(file.sql, databases),
      object: created?.[2] ?? null,
      target: target?.[1] ?? null,
    });
  }
  if (tracks.size === 0) throw invalid(files.name, 'has no "-- tracks:" line');
  const ids = new Set([...tracks.keys(), ...needs.keys()]);
  return {
    name: files.name,
    sources: [...ids].map((id) => ({ id, tracks: [...(tracks.get(id) ?? [])], needs: needs.get(id) ?? [] })),
    statements,
  };
}

/** Changes when the mart's SQL or the types of its source columns do. */
export function martHash(mart: Mart, sourceTypes: readonly string[]): string {
  const hash = createHash('sha256');
  for (const { sql } of mart.statements) hash.update(sql).update('\0');
  for (const type of sourceTypes) hash.update(type).update('\0');
  return hash.digest('hex');
}

export function invalid(mart: string, problem: string, fix?: string, cause?: unknown): WalhouseError {
  return new WalhouseError('mart_invalid', {
    what: `mart "${mart}" ${problem.replace(/\.$/, '')}.`,
    why: 'What it answers could not be trusted.',
    fix: fix ?? `correct the files of clickhouse/${mart}/, or leave it out of marts in walhouse.yaml`,
    cause,
  });
}

function split(list: string): string[] {
  return list
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function withParameters(sql: string, parameters: Readonly<Record<string, string>>): string {
  return Object.entries(parameters).reduce((text, [name, value]) => text.replaceAll(`{${name}}`, value), sql);
}

function fill(sql: string, databases: Databases): string {
  return sql
    .replaceAll('{database}', quoteName(databases.views))
    .replaceAll('{landing}', quoteName(databases.landing))
    .replaceAll('{audit}', quoteName(databases.audit));
}
