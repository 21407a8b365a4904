// Where a run of the tests keeps what its servers write: in memory where there is room for it, since nothing of it is to outlive the run and making and
// removing small files on a disk costs ClickHouse much of its time; otherwise where TMPDIR says.

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';

const IN_MEMORY = '/dev/shm';
/** A whole run was seen to have half a gigabyte at once. */
const ROOM_BYTES = 4 * 2 ** 30;

/** Makes a folder that is to others what /tmp is: servers run as other accounts. The caller removes it. */
export function makeScratch() {
  if (process.env.TMPDIR === undefined && hasRoom(IN_MEMORY)) {
    try {
      const folder = makeIn(IN_MEMORY);
      if (mayExecuteIn(folder)) return folder;
      removeScratch(folder);
    } catch {
      // Not ours to write to.
    }
  }
  return makeIn(tmpdir());
}

export function removeScratch(folder) {
  // What a server that is still stopping writes meanwhile.
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

function makeIn(parent) {
  const folder = mkdtempSync(join(parent, 'walhouse-test-'));
  chmodSync(folder, 0o1777);
  return folder;
}

function hasRoom(path) {
  try {
    const { bavail, bsize } = statfsSync(path);
    // What a container is allowed may be less than what the machine has.
    const memory = process.availableMemory?.() ?? freemem();
    return bavail * bsize >= ROOM_BYTES && memory >= 2 * ROOM_BYTES;
  } catch {
    return false;
  }
}

/** Tests put programs there. */
function mayExecuteIn(folder) {
  const file = join(folder, 'trial');
  writeFileSync(file, '#!/bin/sh\n', { mode: 0o755 });
  try {
    execFileSync(file);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(file);
  }
}
