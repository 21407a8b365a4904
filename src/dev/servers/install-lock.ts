import { readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 500;
/** How often a holder shows that it is alive. */
const HEARTBEAT_MS = 5_000;
/** A holder that has not shown itself for this long is gone, whatever process has its id by now. */
const SILENCE_MS_MAX = 60_000;

/**
 * Waits until this process is the only one that holds `path`, a file with the holder's process id, and returns how to let
 * go of it. A holder that is dead or silent does not count. Two waiters may both think so at once: the lock saves work, it does not
 * guard correctness, which rests on the rename at the end of an installation.
 */
export async function acquireLock(
  path: string,
  options: { onWait: () => void; signal: AbortSignal | undefined },
): Promise<() => void> {
  let told = false;
  for (;;) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' });
      return hold(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    if (isAbandoned(path)) {
      rmSync(path, { force: true });
      continue;
    }
    if (!told) options.onWait();
    told = true;
    await sleep(POLL_MS, undefined, options.signal === undefined ? {} : { signal: options.signal });
  }
}

function hold(path: string): () => void {
  const heartbeat = setInterval(() => {
    const now = new Date();
    try {
      utimesSync(path, now, now);
    } catch {
      // Somebody thought us gone and removed it: see above.
    }
  }, HEARTBEAT_MS);
  return () => {
    clearInterval(heartbeat);
    rmSync(path, { force: true });
  };
}

function isAbandoned(path: string): boolean {
  let text: string;
  let ageMs: number;
  try {
    text = readFileSync(path, 'utf8');
    ageMs = Date.now() - statSync(path).mtimeMs;
  } catch {
    return false;
  }
  if (ageMs > SILENCE_MS_MAX) return true;
  const pid = Number.parseInt(text, 10);
  // Without an id it is just being written.
  return pid > 0 && !isAlive(pid);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // A process of another user is alive too.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
