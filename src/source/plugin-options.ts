import type { Relation } from '../pipeline/relation.js';
import { quoteName, quoteText } from './connection.js';
import type { Plugin } from './slot.js';

/** wal2json's own name for sending numbers as strings, NaN and the infinities included; newer than version 2.5. */
export const NUMBERS_AS_STRINGS = 'numeric-data-types-as-string';

export interface PluginOptions {
  readonly plugin: Plugin;
  readonly publication: string;
  readonly relations: readonly Relation[];
  readonly numbersAsStrings: boolean;
}

/** The START_REPLICATION command. 0/0 means: from where the slot stands. */
export function startReplication(slot: string, options: PluginOptions): string {
  const pairs = options.plugin === 'pgoutput' ? pgoutputOptions(options) : wal2jsonOptions(options);
  const list = Object.entries(pairs).map(([name, value]) => `${quoteName(name)} ${quoteText(value)}`);
  return `START_REPLICATION SLOT ${quoteName(slot)} LOGICAL 0/0 (${list.join(', ')})`;
}

function pgoutputOptions({ publication }: PluginOptions): Record<string, string> {
  return {
    proto_version: '1',
    // The server splits it like a list of identifiers.
    publication_names: quoteName(publication),
    messages: 'true',
  };
}

function wal2jsonOptions({ relations, numbersAsStrings }: PluginOptions): Record<string, string> {
  return {
    'format-version': '2',
    'include-lsn': 'on',
    'include-timestamp': 'on',
    'include-transaction': 'on',
    'include-xids': 'on',
    // A type's name with quotes in it makes invalid JSON.
    'include-types': 'off',
    'include-pk': 'off',
    // An empty list would be a list of all.
    ...(relations.length === 0
      ? { 'filter-tables': '*.*' }
      : { 'add-tables': relations.map(tablePattern).join(',') }),
    ...(numbersAsStrings ? { [NUMBERS_AS_STRINGS]: 'on' } : {}),
  };
}

/**
 * A table's name as wal2json's add-tables wants it. Every character that could mean something is escaped: a name that is
 * not matched makes no error, only silence.
 */
export function tablePattern({ schema, name }: Pick<Relation, 'schema' | 'name'>): string {
  return `${escapePattern(schema)}.${escapePattern(name)}`;
}

function escapePattern(name: string): string {
  return name.replaceAll(/[^A-Za-z0-9_\u0080-\u{10ffff}]/gu, (character) => `\\${character}`);
}
