import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../../src/dev/servers/ports.js';
import type { StatusDocument } from '../../src/ops/status.js';
import { lsnFrom } from '../../src/pipeline/lsn.js';
import { PROGRAM } from './program.js';

const ROOT = new URL('../../', import.meta.url).pathname;
const READY_MS = 60_000;

export interface WalhouseOptions {
  readonly postgresUrl: string;
  readonly clickhouseUrl: string;
  readonly sourceTls?: object;
  readonly sinkTls?: object;
  readonly database: string;
  readonly slot: string;
  readonly decoder?: 'auto' | 'wal2json' | 'pgoutput';
  /** The `tables:` part, as YAML would have it. */
  readonly tables: Record<string, object | null>;
  readonly marts?: readonly string[];
  readonly keys?: string;
  /** The key that these functions ask with, where there are any. */
  readonly key?: string;
  /** `masking.key`. */
  readonly maskKey?: string;
  readonly verify?: { readonly every: string; readonly max_load?: number };
  readonly tracing?: { readonly endpoint: string; readonly sample: number };
  /** A configuration that exists, used as it is but for where the API listens; everything above is not looked at. */
  readonly config?: string;
}

/** `walhouse run` as its users run it: a process of its own, a configuration file, an HTTP API. */
export class Walhouse {
  options: WalhouseOptions;
  readonly #directory = mkdtempSync(join(tmpdir(), 'walhouse-test-'));
  readonly configPath: string;
  url = '';
  #port = 0;
  #child: ChildProcess | null = null;
  #closed: Promise<unknown> = Promise.resolve();
  #output = '';

  constructor(options: WalhouseOptions) {
    this.options = options;
    this.configPath = join(this.#directory, 'walhouse.yaml');
  }

  /** Standard output and error of all runs so far. */
  get output(): string {
    return this.#output;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** One letter: `T` once a failpoint has stopped it where it stood. */
  stateInKernel(): string {
    return /^State:\s+(\S)/m.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))?.[1] ?? '';
  }

  /** Starts the process; does not wait for anything but the start itself. `flags`: e.g. `--api-only`. */
  async start(environment: Record<string, string> = {}, flags: readonly string[] = []): Promise<void> {
    this.#port = await freePort();
    this.url = `http://127.0.0.1:${this.#port}`;
    this.#writeConfig();
    this.#child = spawn(process.execPath, [...PROGRAM, 'run', '--config', this.configPath, ...flags], {
      cwd: ROOT,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
    }
    this.#closed = once(this.#child, 'close');
  }

  /** Changes the configuration, also the file that a running process was started with; it is read at the next start or `reload`. */
  configure(change: Partial<WalhouseOptions>): void {
    this.options = { ...this.options, ...change };
    this.#writeConfig();
  }

  /** SIGHUP. */
  reload(): void {
    this.#child?.kill('SIGHUP');
  }

  #writeConfig(): void {
    const { postgresUrl, clickhouseUrl, database, slot, decoder = 'auto', tables, marts = [] } = this.options;
    const { keys, maskKey, config, verify, tracing, sourceTls, sinkTls } = this.options;
    const listen = `127.0.0.1:${this.#port}`;
    writeFileSync(
      this.configPath,
      config !== undefined
        ? readFileSync(config, 'utf8').replace(/listen: \S+/, `listen: ${listen}`)
        : // JSON is YAML.
          JSON.stringify({
            source: { url: postgresUrl, slot, publication: slot, decoder, tls: sourceTls },
            sink: { url: clickhouseUrl, database, tls: sinkTls },
            tables,
            marts,
            ...(maskKey === undefined ? {} : { masking: { key: maskKey } }),
            ...(verify === undefined ? {} : { verify }),
            ...(tracing === undefined ? {} : { tracing }),
            api: { listen, ...(keys === undefined ? {} : { keys }) },
          }),
    );
  }

  /** Waits for the end of the process, when all that it said is in `output`: its exit code, or the signal that ended it. */
  async ended(): Promise<number | NodeJS.Signals> {
    await this.#closed;
    return this.#child!.exitCode ?? this.#child!.signalCode!;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.ended();
  }

  /** SIGTERM; resolves to the exit code. */
  async stop(): Promise<number | NodeJS.Signals> {
    this.#child?.kill('SIGTERM');
    return this.ended();
  }

  async status(): Promise<StatusDocument> {
    return (await (await this.#ask('/v1/replication')).json()) as StatusDocument;
  }

  /** Waits until the service has applied `lsn`. Fails at once, with its output, when the process has ended. */
  async applied(lsn: string): Promise<void> {
    const deadline = performance.now() + READY_MS;
    let last = '';
    while (performance.now() < deadline) {
      if (this.#child!.exitCode !== null || this.#child!.signalCode !== null) break;
      try {
        const response = await this.#ask(`/v1/replication?min_lsn=${encodeURIComponent(lsn)}&wait_ms=5000`);
        last = await response.text();
        if (response.ok) return;
        await sleep(50);
      } catch {
        await sleep(50); // It does not listen yet.
      }
    }
    throw new Error(`walhouse did not apply ${lsn}: ${last}\n${this.#output}`);
  }

  /**
   * Waits until these tables stream and what was committed before `lsn` is applied to them, however other tables stand. Fails at once,
   * with its output, when the process has ended.
   */
  async streams(lsn: string, tables: readonly string[]): Promise<void> {
    const deadline = performance.now() + READY_MS;
    let last = '';
    while (performance.now() < deadline) {
      if (this.#child!.exitCode !== null || this.#child!.signalCode !== null) break;
      try {
        const status = await this.status();
        last = JSON.stringify(status);
        const reached = status.applied_lsn !== null && lsnFrom(status.applied_lsn) >= lsnFrom(lsn);
        if (reached && tables.every((id) => status.tables[id]?.state === 'streaming')) return;
      } catch {
        // It does not listen yet.
      }
      await sleep(50);
    }
    throw new Error(`walhouse did not stream ${tables.join(', ')} up to ${lsn}: ${last}\n${this.#output}`);
  }

  #ask(path: string): Promise<Response> {
    const { key } = this.options;
    return fetch(
      `${this.url}${path}`,
      key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } },
    );
  }

  async close(): Promise<void> {
    if (this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null) {
      await this.kill();
    }
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
