import { WalhouseError } from '../../pipeline/errors.js';

interface Symptom {
  readonly pattern: RegExp;
  readonly kind: 'local_port_taken' | 'local_data_unusable' | 'local_start_failed';
  readonly what: string;
  readonly why: string;
  readonly fix: string;
}

/** What the servers write when they will not start, and what that means. The first that matches counts. */
const SYMPTOMS: readonly Symptom[] = [
  {
    pattern: /No space left on device|ENOSPC|NOT_ENOUGH_SPACE|not enough space/i,
    kind: 'local_start_failed',
    what: 'there is no space left on the disk.',
    why: 'It writes its data and its log to',
    fix: 'free some space, or choose a directory on another disk.',
  },
  {
    pattern: /Address already in use|NETWORK_ERROR.*listen|could not bind/i,
    kind: 'local_port_taken',
    what: 'its port is taken.',
    why: 'Somebody took it between choosing and using it. Its directory is',
    fix: 'start again, or name another port.',
  },
  {
    pattern: /Another server instance in same directory is already running/,
    kind: 'local_data_unusable',
    what: 'another ClickHouse is running in its directory.',
    why: "Two servers would destroy each other's data in",
    fix: 'stop the other one, or choose another directory.',
  },
  {
    pattern: /lock file "postmaster\.pid" already exists|pre-existing shared memory block/,
    kind: 'local_data_unusable',
    what: 'another Postgres is running in its directory.',
    why: "Two servers would destroy each other's data in",
    fix: 'stop the other one, or choose another directory.',
  },
  {
    pattern: /Permission denied|has wrong ownership|invalid permissions/i,
    kind: 'local_data_unusable',
    what: 'it may not read or write its files.',
    why: 'They belong to another user in',
    fix: 'run as the user that made the directory, or choose another one.',
  },
  {
    pattern: /Cannot allocate memory|could not (map|create) .*shared memory|MEMORY_LIMIT_EXCEEDED/i,
    kind: 'local_start_failed',
    what: 'there is not enough memory.',
    why: 'Its directory is',
    fix: 'end something else, or give the container more memory.',
  },
];

/** Why a server did not start, in words, from how it ended and the last lines that it wrote. */
export function startFailure(
  server: string,
  directory: { readonly path: string; readonly temporary: boolean },
  how: string,
  log: string,
): WalhouseError {
  const last = lastLines(log);
  const symptom = SYMPTOMS.find(({ pattern }) => pattern.test(log));
  if (symptom === undefined) {
    return new WalhouseError('local_start_failed', {
      what: `${server} did not start (${how}).`,
      why: last === '' ? 'It wrote nothing about it.' : `Its last words: ${last}`,
      fix: directory.temporary
        ? 'look at the settings it was given; a directory that stays keeps its log.'
        : `look at its log and its settings in ${directory.path}; if its data is not needed, remove it.`,
    });
  }
  return new WalhouseError(symptom.kind, {
    what: `${server} did not start: ${symptom.what}`,
    why: `${symptom.why} ${directory.path}.`,
    fix: symptom.fix,
    cause: last === '' ? undefined : new Error(last),
  });
}

/** What went wrong while starting, as a person should read it: our own files may fail to be written, too. */
export function asStartFailure(
  server: string,
  directory: { readonly path: string; readonly temporary: boolean },
  error: unknown,
): unknown {
  if (error instanceof WalhouseError || !(error instanceof Error) || !('syscall' in error)) return error;
  return startFailure(server, directory, error.message, error.message);
}

/** The end of a log as one line that fits a message. */
function lastLines(log: string): string {
  return log
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-3)
    .join(' | ')
    .slice(-600);
}
