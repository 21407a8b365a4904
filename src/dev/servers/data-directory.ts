import { chownSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { WalhouseError } from '../../pipeline/errors.js';
import { type Account, closedFolderAbove } from './account.js';

export interface DataDirectory {
  readonly path: string;
  /** Made for this run and removed with it. */
  readonly temporary: boolean;
  /** Removes a temporary directory; leaves a kept one. */
  discard(): void;
}

/**
 * The directory that a server keeps everything in: `wanted`, made if missing, or a temporary one. A server that runs
 * as another user must be able to enter it.
 */
export function openDataDirectory(
  server: string,
  wanted: string | undefined,
  account: Account | null,
): DataDirectory {
  return wanted === undefined ? openTemporary(server, account) : openKept(server, resolve(wanted), account);
}

function openTemporary(server: string, account: Account | null): DataDirectory {
  const candidates = [tmpdir(), '/tmp', '/var/tmp'].filter((path) =>
    statSync(path, { throwIfNoEntry: false }),
  );
  const parent =
    account === null
      ? candidates[0]
      : candidates.find((path) => closedFolderAbove(realpathSync(path)) === null);
  if (parent === undefined) throw cannotEnter(server, tmpdir(), account);
  let path: string;
  try {
    path = mkdtempSync(join(realpathSync(parent), `walhouse-${server.toLowerCase()}-`));
    // Its owner is who removes it if we are killed.
    if (account !== null) chownSync(path, account.uid, account.gid);
  } catch (cause) {
    throw unusable(server, parent, cause);
  }
  // The supervisor removes it when its server is gone; this is for being ended before there is one.
  const discard = (): void => {
    process.off('exit', discard);
    try {
      rmSync(path, { recursive: true, force: true, maxRetries: 3 });
    } catch {
      // A server that is still stopping writes into it, and its supervisor will remove it.
    }
  };
  process.once('exit', discard);
  return { path, temporary: true, discard };
}

function openKept(server: string, path: string, account: Account | null): DataDirectory {
  let real: string;
  if (account !== null && closedFolderAbove(path) !== null) throw cannotEnter(server, path, account);
  try {
    // Whatever is missing on the way is made open to others; the data itself is in a closed folder below.
    mkdirSync(path, { recursive: true, mode: 0o755 });
    real = realpathSync(path);
  } catch (cause) {
    throw unusable(server, path, cause);
  }
  // Once more, now that links are resolved and what was missing is there, under whatever umask.
  if (account !== null && closedFolderAbove(real) !== null) throw cannotEnter(server, real, account);
  return { path: real, temporary: false, discard: () => undefined };
}

function cannotEnter(server: string, path: string, account: Account | null): WalhouseError {
  const closed = closedFolderAbove(path) ?? path;
  return new WalhouseError('local_data_unusable', {
    what: `${server} cannot enter ${closed}.`,
    why: `${server} does not run as root but as ${account?.name ?? 'another user'}, and the folder is closed to it.`,
    fix: `choose a directory outside it, for example below /var/lib, or: chmod o+x ${closed}`,
  });
}

function unusable(server: string, path: string, cause: unknown): WalhouseError {
  const { code } = cause as NodeJS.ErrnoException;
  return new WalhouseError('local_data_unusable', {
    what: `${path} cannot be used as ${server}'s directory${code === undefined ? '' : ` (${code})`}.`,
    why: 'Its data is to be kept there.',
    fix: 'choose a directory that this user may write to.',
    cause,
  });
}
