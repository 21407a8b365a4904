import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

export interface BlockEnded {
  readonly code: number;
  /** Standard output and error, as a terminal shows them. */
  readonly output: string;
}

/** One bash, as somebody has it open in a terminal: what a block sets or starts is there for the next one. */
export class Shell {
  readonly #bash: ChildProcess;
  #output = '';
  #blocks = 0;

  constructor(options: { readonly cwd: string; readonly env: NodeJS.ProcessEnv }) {
    // A group of its own, so that whatever it started can be ended with it.
    this.#bash = spawn('bash', ['--norc', '-s'], {
      ...options,
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    for (const stream of [this.#bash.stdout!, this.#bash.stderr!])
      stream.setEncoding('utf8').on('data', (text: string) => (this.#output += text));
  }

  /** Types a block and waits for its end. */
  async run(block: string, timeoutMs = 60_000): Promise<BlockEnded> {
    this.#blocks += 1;
    const mark = `-- end of block ${this.#blocks}: `;
    const begin = this.#output.length;
    // What is typed must not be read by a command of the block as its input, so it is one word of `eval`.
    const quoted = `'${block.replaceAll("'", `'\\''`)}'`;
    this.#bash.stdin!.write(`{ eval ${quoted}; } 2>&1 < /dev/null; echo "${mark}$?"\n`);
    const deadline = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const [, output, code] =
        new RegExp(`^([\\s\\S]*?)${mark}(\\d+)\n`).exec(this.#output.slice(begin)) ?? [];
      if (code !== undefined) return { code: Number(code), output: output! };
      if (this.#bash.exitCode !== null) throw new Error(`bash ended: ${this.#output.slice(begin)}`);
      try {
        await once(this.#bash.stdout!, 'data', { signal: deadline });
      } catch (cause) {
        throw new Error(`not done in time: ${block}\n${this.#output.slice(begin)}`, { cause });
      }
    }
  }

  async close(): Promise<void> {
    const { pid, exitCode } = this.#bash;
    if (pid === undefined) return;
    const ended = exitCode === null ? once(this.#bash, 'exit') : Promise.resolve();
    try {
      process.kill(-pid, 'SIGTERM');
    } catch {
      // Nothing of it is left.
    }
    this.#bash.kill('SIGKILL');
    await ended;
  }
}
