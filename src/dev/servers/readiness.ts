import { setTimeout as sleep } from 'node:timers/promises';
import { WalhouseError } from '../../pipeline/errors.js';
import type { DataDirectory } from './data-directory.js';
import { startFailure } from './start-failure.js';
import type { Supervised } from './supervisor.js';

const PROBE_EVERY_MS = 25;

/**
 * Asks a server that was just started until it answers, and returns the answer. If it ends instead, or does not answer in
 * time, it is stopped and the error says why, from what it wrote.
 * `probe` returns null while there is no answer from this very server.
 */
export async function waitUntilReady<Answer>(options: {
  server: string;
  directory: DataDirectory;
  supervised: Supervised;
  timeoutMs: number;
  signal: AbortSignal | undefined;
  probe: () => Promise<Answer | null>;
}): Promise<Answer> {
  const { supervised } = options;
  let how: string | null = null;
  void supervised.exited.then((text) => (how = text));
  const deadline = Date.now() + options.timeoutMs;
  for (;;) {
    const answer = await options.probe();
    if (answer !== null) return answer;
    if (how !== null) throw startFailure(options.server, options.directory, how, supervised.logTail());
    if (options.signal?.aborted) {
      await supervised.stop();
      options.signal.throwIfAborted();
    }
    if (Date.now() > deadline) {
      await supervised.stop();
      const late = `no answer within ${options.timeoutMs / 1000} s`;
      throw startFailure(options.server, options.directory, late, supervised.logTail());
    }
    await sleep(PROBE_EVERY_MS);
  }
}

/** What a server's `ended` says when nobody asked it to end. */
export function died(server: string, how: string, directory: DataDirectory, log: string): WalhouseError {
  const last = log.split('\n').at(-1) ?? '';
  return new WalhouseError('local_server_died', {
    what: `${server} ended by itself (${how}).`,
    why: last === '' ? 'It wrote nothing about it.' : `Its last words: ${last.slice(0, 300)}`,
    fix: directory.temporary ? 'start again.' : `start again; its log is in ${directory.path}.`,
  });
}
