import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, fstatSync, openSync, readSync, truncateSync } from 'node:fs';
import { once } from 'node:events';
import type { Account } from './account.js';

/**
 * Runs a server and outlives whoever started it by just as long as it takes to stop the server. What ties the two
 * together is standard input: it closes when the parent closes it, and also when the parent is killed with -9, which
 * nobody can handle. A shell does this, since it is on every machine, weighs a megabyte and can run as another user.
 *
 * Arguments: the signal that stops the server (0: it stops by itself when its standard input closes), the seconds it
 * has for that before it is killed, the directory to remove afterwards (or nothing), then the command. The first line
 * on standard output is the server's process id; the server writes to standard error.
 */
const SUPERVISE = `
signal=$1 grace=$2 scratch=$3
shift 3
exec 3<&0
"$@" <&3 >&2 3<&- &
server=$!
echo "$server"
exec >&2
(
  while read -r _; do :; done <&3
  kill -"$signal" "$server" 2>/dev/null
  while [ "$grace" -gt 0 ] && kill -0 "$server" 2>/dev/null; do sleep 1; grace=$((grace - 1)); done
  kill -9 "$server" 2>/dev/null
) &
watcher=$!
exec 3<&-
wait "$server"
code=$?
kill -9 "$watcher" 2>/dev/null
[ -z "$scratch" ] || rm -rf -- "$scratch"
exit "$code"
`;

/** A log is begun anew at the next start when it is larger than this. */
const LOG_BYTES_MAX = 16 * 1024 * 1024;
const LOG_TAIL_BYTES = 16 * 1024;

export interface Supervised {
  /** The server's process id; the supervisor's own when the server could not even be started. */
  readonly pid: number;
  /** Resolves when server and supervisor are gone: what a person may know of how it ended. Never rejects. */
  readonly exited: Promise<string>;
  /** The last lines that the server wrote. */
  logTail(): string;
  /** Stops the server; resolves when it is gone. Safe to call again. */
  stop(): Promise<void>;
}

export interface SuperviseOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingDirectory: string;
  readonly logFile: string;
  /** Who the server runs as; null for ourselves. */
  readonly account: Account | null;
  readonly stopSignal: 'INT' | 'QUIT' | 'KILL' | 0;
  readonly stopSeconds: number;
  /** Removed when the server is gone, also after we were killed. */
  readonly scratchDirectory: string | null;
}

/** Starts a server under a supervisor in a session of its own, so that Ctrl-C reaches us and not it. */
export async function supervise(options: SuperviseOptions): Promise<Supervised> {
  const log = openLog(options.logFile);
  let lastWords: string | null = null;
  let child: ChildProcess;
  try {
    child = spawn(
      '/bin/sh',
      [
        '-c',
        SUPERVISE,
        'walhouse-supervisor',
        String(options.stopSignal),
        String(options.stopSeconds),
        options.scratchDirectory ?? '',
        options.command,
        ...options.args,
      ],
      {
        cwd: options.workingDirectory,
        env: { ...options.env },
        stdio: ['pipe', 'pipe', log.writer],
        detached: true,
        ...(options.account === null ? {} : { uid: options.account.uid, gid: options.account.gid }),
      },
    );
    await once(child, 'spawn');
  } catch (error) {
    closeSync(log.reader);
    throw error;
  } finally {
    closeSync(log.writer);
  }
  // A pipe that breaks because the server is gone is not news: `exited` tells.
  child.stdin?.on('error', () => undefined);

  let server: number | null = null;
  const exited = new Promise<string>((resolve) => {
    child.once('exit', (code, signal) => {
      child.stdin?.destroy();
      // A supervisor that was itself killed leaves its server behind; otherwise the id may be somebody else's by now.
      if (signal !== null && server !== null) killQuietly(server);
      lastWords = readTail(log);
      closeSync(log.reader);
      resolve(describeExit(code, signal));
    });
  });
  server = await firstLine(child);
  let stopping: Promise<void> | null = null;
  const stop = async (): Promise<void> => {
    child.stdin?.destroy();
    // The supervisor kills a server that does not stop in time; this is for a supervisor that was itself suspended.
    const lastResort = setTimeout(() => killGroup(child.pid!), (options.stopSeconds + 5) * 1000);
    await exited;
    clearTimeout(lastResort);
  };
  return {
    pid: server ?? child.pid!,
    exited,
    logTail: () => lastWords ?? readTail(log),
    stop: () => (stopping ??= stop()),
  };
}

interface OpenLog {
  readonly writer: number;
  /** Opened at once, since the file of a temporary server is gone when we want to know why it ended. */
  readonly reader: number;
  /** Where this run's lines begin. */
  readonly start: number;
}

function openLog(path: string): OpenLog {
  const writer = openSync(path, 'a', 0o600);
  const reader = openSync(path, 'r');
  let start = fstatSync(writer).size;
  if (start > LOG_BYTES_MAX) {
    truncateSync(path, 0);
    start = 0;
  }
  return { writer, reader, start };
}

function readTail(log: OpenLog): string {
  const size = fstatSync(log.reader).size;
  const from = Math.max(log.start, size - LOG_TAIL_BYTES);
  const bytes = Buffer.alloc(Math.max(0, size - from));
  const read = readSync(log.reader, bytes, 0, bytes.length, from);
  return bytes.toString('utf8', 0, read).trim();
}

async function firstLine(child: ChildProcess): Promise<number | null> {
  const output = child.stdout!;
  let text = '';
  for await (const chunk of output) {
    text += String(chunk);
    if (text.includes('\n')) break;
  }
  output.destroy();
  const pid = Number.parseInt(text, 10);
  return Number.isInteger(pid) && pid > 0 ? pid : null;
}

function describeExit(code: number | null, signal: NodeJS.Signals | null): string {
  if (signal !== null) return `its supervisor was killed by ${signal}`;
  // A shell reports death by a signal as 128 and the signal's number.
  if (code !== null && code > 128) return `killed by signal ${code - 128}`;
  return `exit code ${code}`;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already, which is what we want.
  }
}
