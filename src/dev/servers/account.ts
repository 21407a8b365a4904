import { readFileSync, type Stats, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { WalhouseError } from '../../pipeline/errors.js';

/** A user of this machine that a server can run as. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** Postgres refuses to run as root, so for root another user runs it. */
export function needsAccount(): boolean {
  return process.getuid?.() === 0;
}

/**
 * Who Postgres runs as: null for ourselves; when we are root, whoever owns `existing` (a cluster's data, which only its owner
 * may use), or else the user `postgres` or `nobody`.
 */
export function serverAccount(existing: string | null): Account | null {
  if (!needsAccount()) return null;
  const accounts = parsePasswd(readFileSync('/etc/passwd', 'utf8'));
  const owner = existing === null ? undefined : statQuietly(existing)?.uid;
  const account =
    [...accounts.values()].find(({ uid }) => uid !== 0 && uid === owner) ??
    accounts.get('postgres') ??
    accounts.get('nobody');
  if (account !== undefined && account.uid !== 0) return account;
  throw new WalhouseError('local_start_failed', {
    what: 'there is no user to run Postgres as.',
    why: 'We are root, Postgres refuses to run as root, and /etc/passwd has neither postgres nor nobody.',
    fix: 'useradd --system postgres',
  });
}

/** The lines `name:x:uid:gid:...` of /etc/passwd, by name. */
export function parsePasswd(text: string): Map<string, Account> {
  const accounts = new Map<string, Account>();
  for (const line of text.split('\n')) {
    const [name, , uid, gid] = line.split(':');
    if (name === undefined || !/^\d+$/.test(uid ?? '') || !/^\d+$/.test(gid ?? '')) continue;
    accounts.set(name, { name, uid: Number(uid), gid: Number(gid) });
  }
  return accounts;
}

/** The nearest folder at or above `path` that a user without rights of its own cannot enter; null when all are open. */
export function closedFolderAbove(path: string): string | null {
  for (let folder = resolve(path); ; folder = dirname(folder)) {
    const entry = statQuietly(folder);
    if (entry?.isDirectory() && (entry.mode & 0o001) === 0) return folder;
    if (dirname(folder) === folder) return null;
  }
}

/** undefined where there is nothing, which is for whoever uses the path to find out. */
function statQuietly(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}
