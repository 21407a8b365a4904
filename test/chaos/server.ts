import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startClickHouse } from '../../src/dev/servers/clickhouse.js';
import type { LocalServer } from '../../src/dev/servers/local-server.js';
import { freePort } from '../../src/dev/servers/ports.js';
import { startPostgres } from '../../src/dev/servers/postgres.js';

/** A server that is ended in every way there is and comes back on the same port with the same data. */
export class MortalServer {
  readonly #start: () => Promise<LocalServer>;
  #running: LocalServer;

  private constructor(start: () => Promise<LocalServer>, running: LocalServer) {
    this.#start = start;
    this.#running = running;
  }

  static async postgres(dir: string, log: (line: string) => void): Promise<MortalServer> {
    const port = await freePort();
    const start = (): Promise<LocalServer> =>
      startPostgres({
        dir,
        port,
        log,
        settings: {
          // Nothing here is lost but by a power cut, and a checkpoint would hold up everybody on a slow disk.
          fsync: 'off',
          full_page_writes: 'off',
          // A connection that has gone silent gives the slot free within seconds.
          wal_sender_timeout: '4s',
          max_prepared_transactions: '20',
          max_wal_size: '256MB',
          autovacuum_naptime: '5s',
        },
      });
    return new MortalServer(start, await start());
  }

  static async clickHouse(dir: string, log: (line: string) => void): Promise<MortalServer> {
    const [httpPort, tcpPort] = [await freePort(), await freePort()];
    const start = (): Promise<LocalServer> => startClickHouse({ dir, httpPort, tcpPort, log });
    return new MortalServer(start, await start());
  }

  get url(): string {
    return this.#running.url;
  }

  get hasWal2json(): boolean {
    return 'hasWal2json' in this.#running && this.#running.hasWal2json === true;
  }

  get version(): string {
    return this.#running.version;
  }

  /** Ends with `signal`, or cleanly with null; then comes back. Resolves when it answers again. */
  async revive(signal: 'SIGQUIT' | 'SIGKILL' | null, downMs: number): Promise<void> {
    if (signal === null) {
      await this.#running.close();
    } else {
      process.kill(this.#running.pid, signal);
      await this.#running.ended;
    }
    await sleep(downMs);
    for (let attempt = 1; ; attempt += 1) {
      try {
        this.#running = await this.#start();
        return;
      } catch (error) {
        // What the dead server's children still hold is let go when they notice that it is gone.
        if (attempt === ATTEMPTS_MAX) throw error;
        await sleep(300);
      }
    }
  }

  /** Stands still, with all processes that it has, and goes on. */
  async suspend(forMs: number): Promise<void> {
    const pids = [this.#running.pid, ...childrenOf(this.#running.pid)];
    for (const pid of pids) signalQuietly(pid, 'SIGSTOP');
    await sleep(forMs);
    for (const pid of pids) signalQuietly(pid, 'SIGCONT');
  }

  close(): Promise<void> {
    return this.#running.close();
  }
}

const ATTEMPTS_MAX = 30;

function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
        // After the name, which may hold anything, come the state and the parent.
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === parent;
      } catch {
        return false;
      }
    });
}

function signalQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone meanwhile.
  }
}
