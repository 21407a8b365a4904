import { WalhouseError } from '../pipeline/errors.js';
import type { Relation, WhereColumn } from '../pipeline/relation.js';
import { compile, type Evaluate } from './condition/evaluate.js';
import { NotEvaluable, parseCondition } from './condition/parse.js';
import type { Plugin } from './slot.js';

/** Row filters and column lists of publications exist since. */
export const SELECTIVE_VERSION = 150_000;
/** Publications can send stored generated columns since. */
export const GENERATED_VERSION = 180_000;

export interface Decoding {
  readonly plugin: Plugin;
  /** `server_version_num`. */
  readonly version: number;
}

/**
 * The publication chooses the rows: they never leave the server. It takes no condition on a type that is not Postgres's own, an enum or
 * a domain.
 */
export function publicationFilters(relation: Relation, { plugin, version }: Decoding): boolean {
  const { selection } = relation;
  if (selection?.where == null) return false;
  return (
    plugin === 'pgoutput' &&
    version >= SELECTIVE_VERSION &&
    selection.whereColumns.every(({ foreign }) => !foreign)
  );
}

/**
 * The columns that the publication lists; null when it lists none. Postgres refuses updates of a table with REPLICA IDENTITY FULL and a
 * list, whatever is in it; there the decoder passes over what is left out.
 */
export function publishedColumns(relation: Relation, { plugin, version }: Decoding): string[] | null {
  const { selection, columns, replicaIdentity } = relation;
  if (selection === undefined || selection.names.length === columns.length) return null;
  if (plugin !== 'pgoutput' || version < SELECTIVE_VERSION || replicaIdentity === 'full') return null;
  return columns.map(({ name }) => name);
}

/** What the decoder itself has to ask of each row; null where there is nothing to ask. Throws `config_invalid`. */
export function decoderFilter(relation: Relation, decoding: Decoding): Evaluate | null {
  const { selection } = relation;
  if (selection?.where == null || publicationFilters(relation, decoding)) return null;
  const { plugin, version } = decoding;
  try {
    const unsent = selection.whereColumns.find(({ generated }) => generated);
    if (unsent !== undefined && plugin === 'pgoutput' && version < GENERATED_VERSION)
      throw new NotEvaluable(`reads ${unsent.name}, a generated column, which pgoutput does not send`);
    const fuzzy = selection.whereColumns.find((column) => column.fuzzy);
    if (fuzzy !== undefined)
      throw new NotEvaluable(`compares ${fuzzy.name}, under whose collation texts that differ may be equal`);
    const types = new Map(selection.whereColumns.map(({ name, type }) => [name, type]));
    return compile(parseCondition(selection.where, types));
  } catch (error) {
    if (!(error instanceof NotEvaluable)) throw error;
    throw notEvaluable(relation, decoding, error);
  }
}

/** The filters of those tables that need one. */
export function decoderFilters(relations: readonly Relation[], decoding: Decoding): Map<Relation, Evaluate> {
  const filters = new Map<Relation, Evaluate>();
  for (const relation of relations) {
    const filter = decoderFilter(relation, decoding);
    if (filter !== null) filters.set(relation, filter);
  }
  return filters;
}

/** Whether a null of wal2json up to 2.5 in this column may have been NaN or an infinity. Those of a domain come as strings. */
export function mayHideNumbers({ type, notNull, foreign }: WhereColumn): boolean {
  if (foreign) return false;
  if (type.name === 'float4' || type.name === 'float8') return true;
  return type.name === 'numeric' && !(notNull && type.modifier >= 0);
}

function notEvaluable(relation: Relation, { plugin, version }: Decoding, cause: NotEvaluable): WalhouseError {
  const { where, whereColumns } = relation.selection!;
  const foreign = whereColumns.filter((column) => column.foreign).map(({ name }) => name);
  const simpler = `write it with =, <>, <, <=, >, >=, in, is null, and, or and not over columns and constants`;
  const reason =
    plugin === 'wal2json'
      ? 'wal2json sends every row, so Walhouse itself chooses'
      : version < SELECTIVE_VERSION
        ? 'publications choose rows since Postgres 15, so Walhouse itself does'
        : `publications take no condition on types of one's own (${foreign.join(', ')}), so Walhouse itself chooses`;
  return new WalhouseError('config_invalid', {
    what: `tables.${relation.id}.where, ${where!}, ${cause.message}.`,
    why: `${reason}, and it evaluates only what it can evaluate exactly.`,
    fix:
      foreign.length > 0
        ? simpler
        : version < SELECTIVE_VERSION
          ? `${simpler}; or upgrade to Postgres 15 and set source.decoder to pgoutput, with another source.slot`
          : `set source.decoder to pgoutput, with another source.slot if this one exists; or ${simpler}`,
    table: relation.id,
    cause,
  });
}
