import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, expect, it } from 'vitest';

const ROOT = new URL('../../', import.meta.url).pathname;
/** No round begins after this; the last one and its comparison come on top. */
const MINUTES = '1.6';

let child: ChildProcess | null = null;
afterAll(() => child?.kill('SIGKILL'));

// The plan is the same each time, so that what fails is the change's doing; `CHAOS_SEED` takes another, and `npm run chaos` one of its own.
const SEED = process.env['CHAOS_SEED'] ?? '503354';

it('whatever dies, breaks off, stands still or changes its columns, every answer is right and everything equals Postgres in the end', async () => {
  child = spawn(
    process.execPath,
    ['--import', 'tsx', 'test/chaos/main.ts', '--minutes', MINUTES, '--seed', SEED],
    { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [child.stdout!, child.stderr!])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [code] = (await once(child, 'exit')) as [number | null];
  // Its first line has the seed, its last ones what was done.
  process.stderr.write(output);
  expect(code, output).toBe(0);
}, 240_000);
