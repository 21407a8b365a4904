import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { PROGRAM } from '../support/program.js';

const ROOT = new URL('../../', import.meta.url).pathname;

function startDemo(...args: string[]) {
  const child = spawn(process.execPath, [...PROGRAM, 'demo', '--port', '0', ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const run = { child, output: '', ended: once(child, 'close') as Promise<[number | null, string | null]> };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (run.output += text));
  }
  return run;
}

describe('the demo', () => {
  it('ends by itself, after it has found everything equal', async () => {
    const run = startDemo('--seconds', '4', '--rate', '400', '--seed', '42');
    const [code] = await run.ended;
    expect(run.output).toContain('All equal.');
    // Equality of nothing would say nothing.
    expect(run.output).toMatch(/public\.payments +[1-9][0-9,]{4,} rows +equal/);
    expect(run.output).toMatch(/[1-9][0-9]* with payments in the window/);
    expect(code, run.output).toBe(0);
  });

  it('stops with Ctrl-C and takes its servers with it', async () => {
    const run = startDemo();
    await expect.poll(() => run.output, { timeout: 60_000 }).toContain('Ctrl-C ends it.');
    const source = /psql '([^']+)'/.exec(run.output)![1]!;
    const clickhouse = /curl -s '(http:[^']+)'/.exec(run.output)![1]!;
    expect((await fetch(`${clickhouse}/ping`)).status).toBe(200);
    run.child.kill('SIGINT');
    const [code] = await run.ended;
    expect(code, run.output).toBe(0);
    await expect(fetch(`${clickhouse}/ping`)).rejects.toThrow();
    await expect(
      fetch(source.replace(/^postgres:.*@/, 'http://').replace(/\/postgres$/, '')),
    ).rejects.toThrow();
  });
});
