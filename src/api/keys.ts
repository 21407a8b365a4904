import { createHash, timingSafeEqual } from 'node:crypto';
import { WalhouseError } from '../pipeline/errors.js';

/** What a key may be allowed: ask the risk question; read status and metrics; change what the service does. */
export const SCOPES = ['risk:read', 'ops:read', 'ops:write'] as const;
export type Scope = (typeof SCOPES)[number];

/** A key as the service knows it: by its hash, never by itself. */
export interface ApiKey {
  /** Who uses it; shown in logs. */
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
  /** SHA-256 of the key, 32 bytes. */
  readonly hash: Buffer;
}

/** How many keys one service may have: every request is compared with all of them. */
export const KEYS_MAX = 1000;

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
const HASH = /^[0-9a-f]{64}$/i;

/**
 * Reads `name:scope:sha256hex,name:scope+scope:sha256hex`. Scopes contain a colon themselves, so the name ends at
 * the first colon and the hash begins after the last. An empty text means no keys.
 *
 * Throws config_invalid that names the entry by its place and, once it is known to be one, by its name; never a part that
 * could be a key or a hash, since people paste the wrong thing in the wrong place.
 */
export function parseKeys(text: string): ApiKey[] {
  if (text.trim() === '') return [];
  const keys = text.split(',').map((entry, index) => parseKey(entry.trim(), index + 1));
  if (keys.length > KEYS_MAX) throw invalid(`holds ${keys.length} keys`, `keep it to ${KEYS_MAX} keys`);
  const names = new Set<string>();
  const hashes = new Map<string, string>();
  for (const key of keys) {
    if (names.has(key.name)) {
      throw invalid(`names two keys "${key.name}"`, 'give every key a name of its own');
    }
    names.add(key.name);
    const same = hashes.get(key.hash.toString('hex'));
    if (same !== undefined) {
      throw invalid(
        `gives "${same}" and "${key.name}" the same key`,
        'make one key for each, or join the scopes of one key with "+"',
      );
    }
    hashes.set(key.hash.toString('hex'), key.name);
  }
  return keys;
}

function parseKey(entry: string, place: number): ApiKey {
  const first = entry.indexOf(':');
  const last = entry.lastIndexOf(':');
  if (first === -1 || last === first) {
    throw invalid(
      `has an entry (number ${place}) that is not name:scope:sha256`,
      'write it as name:risk:read:HASH, entries separated by commas',
    );
  }
  const name = entry.slice(0, first);
  if (!NAME.test(name)) {
    throw invalid(
      `has an entry (number ${place}) whose name is not one`,
      'use up to 64 letters, digits, "_", "." and "-" for the name before the first ":"',
    );
  }
  const scopes = new Set<Scope>();
  for (const scope of entry.slice(first + 1, last).split('+')) {
    const known = SCOPES.find((candidate) => candidate === scope);
    if (known === undefined) {
      throw invalid(
        `gives key "${name}" a scope that does not exist`,
        `use ${SCOPES.join(', ')}; several are joined with "+": name:risk:read+ops:read:HASH`,
      );
    }
    scopes.add(known);
  }
  const hash = entry.slice(last + 1);
  if (!HASH.test(hash)) {
    throw invalid(
      `gives key "${name}" a hash that is not 64 hexadecimal digits (it has ${hash.length} characters)`,
      'put the SHA-256 of the key there: printf %s "$KEY" | sha256sum',
    );
  }
  return { name, scopes, hash: Buffer.from(hash, 'hex') };
}

function invalid(what: string, fix: string): WalhouseError {
  return new WalhouseError('config_invalid', {
    what: `api.keys ${what}.`,
    why: 'Nobody could be let in, or kept out, by it.',
    fix,
  });
}

/**
 * The key that was presented, or null. Takes as long for a right key as for a wrong one and wherever in the list it
 * stands: all are compared, and what is compared is hashes of one length.
 */
export function findKey(keys: readonly ApiKey[], presented: string): ApiKey | null {
  const hash = createHash('sha256').update(presented, 'utf8').digest();
  let found: ApiKey | null = null;
  for (const key of keys) {
    if (timingSafeEqual(key.hash, hash)) found = key;
  }
  return found;
}
