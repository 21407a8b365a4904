import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../src/dev/servers/ports.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';

const ROOT = new URL('../../', import.meta.url).pathname;
const NOBODY = ['--reuid=65534', '--regid=65534', '--clear-groups', '--no-new-privs', '--bounding-set=-all'];
const COMES = { timeout: 60_000, interval: 50 };

/**
 * What the Dockerfile makes, without Docker: its last stage laid out by its own COPY lines, with the packages that its `npm ci` of
 * the lock file installs. What it builds is built outside.
 */
async function layOut(folder: string): Promise<{ readonly command: string[]; readonly environment: object }> {
  const text = readFileSync(join(ROOT, 'Dockerfile'), 'utf8').replaceAll('\\\n', '');
  const last = text.slice(text.lastIndexOf('\nFROM ')).split('\n');
  const linesOf = (word: string): string[] =>
    last.flatMap((line) => (line.startsWith(`${word} `) ? [line.slice(word.length + 1)] : []));
  for (const line of linesOf('COPY')) {
    const [from, ...rest] = line.split(' ');
    const paths = from!.startsWith('--from=') ? rest : [from!, ...rest];
    const target = paths.pop()!;
    for (const path of paths) {
      if (path === '/app/node_modules') continue;
      const source = join(ROOT, path.replace(/^\/app\//, ''));
      const inside = target.endsWith('/') ? join(target, basename(path)) : target;
      cpSync(source, join(folder, inside), { recursive: true });
    }
  }
  expect(text).toContain('COPY package.json package-lock.json .npmrc ./\nRUN npm ci --omit=dev\n');
  for (const file of ['package-lock.json', '.npmrc']) cpSync(join(ROOT, file), join(folder, file));
  await promisify(execFile)('npm', ['ci', '--omit=dev', '--prefer-offline'], { cwd: folder });
  const json = (word: string): string[] => JSON.parse(linesOf(word).at(-1)!) as string[];
  return {
    command: [...json('ENTRYPOINT'), ...json('CMD')],
    environment: Object.fromEntries(linesOf('ENV').map((line) => line.split('='))) as object,
  };
}

// It installs all packages once more, which takes two cores a minute: npm run check:image.
const isAsked = process.env['WALHOUSE_IMAGE'] === '1';
describe.skipIf(!isAsked || process.getuid?.() !== 0)('the image', () => {
  const folder = mkdtempSync(join(tmpdir(), 'walhouse-image-'));
  let databases: TestDatabases;
  let image: Awaited<ReturnType<typeof layOut>>;
  beforeAll(async () => {
    if (process.env['WALHOUSE_TEST_BUILT'] !== '1')
      execFileSync(process.execPath, ['scripts/bootstrap.mjs', 'build'], { cwd: ROOT });
    mkdirSync(join(folder, 'app'));
    image = await layOut(join(folder, 'app'));
    databases = await createDatabases('image');
    await databases.postgres(readFileSync(join(ROOT, 'postgres', 'payments.sql'), 'utf8'));
  });
  afterAll(async () => {
    await databases?.postgres(
      'select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = current_database()',
    );
    await databases?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('serves as nobody, from files that it cannot write, with the configuration of docker-compose.yml', async () => {
    const port = await freePort();
    const configuration = readFileSync(join(ROOT, 'walhouse.compose.yaml'), 'utf8')
      .replace('0.0.0.0:8080', `127.0.0.1:${port}`)
      .replace(/(slot|publication): walhouse/g, `$1: ${databases.name}`)
      .replace('database: shop', `database: ${databases.clickhouseDatabase}`);
    const path = join(folder, 'walhouse.yaml');
    writeFileSync(path, configuration);
    // Of root, for everybody to read.
    chmodSync(folder, 0o755);
    const [program, ...args] = image.command;
    const child = spawn(
      'setpriv',
      [...NOBODY, program!, ...args.map((arg) => (arg === '/etc/walhouse/walhouse.yaml' ? path : arg))],
      {
        cwd: join(folder, 'app'),
        env: {
          PATH: process.env['PATH'],
          HOME: '/nonexistent',
          TMPDIR: '/nonexistent',
          ...image.environment,
          SOURCE_URL: databases.postgresUrl,
          CLICKHOUSE_URL: databases.clickhouseUrl,
          WALHOUSE_API_KEYS: `fraud:risk:read:${'0'.repeat(64)}`,
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (output += text));
    const ended = once(child, 'exit') as Promise<[number | null]>;
    const ask = (route: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${route}`);
    try {
      await expect
        .poll(
          () =>
            ask('/readyz').then(
              ({ status }) => status,
              () => output,
            ),
          COMES,
        )
        .toBe(200);
      expect(readFileSync(`/proc/${child.pid}/status`, 'utf8')).toMatch(
        /^Uid:\t65534\t65534\t65534\t65534$/m,
      );
      expect((await ask('/healthz')).status).toBe(200);
      const page = await ask('/');
      expect(page.status).toBe(200);
      expect(await page.text()).toContain('<html');
    } finally {
      child.kill('SIGTERM');
    }
    expect(await ended, output).toEqual([0, null]);
  });

  test('carries no development packages', () => {
    for (const name of ['typescript', 'vitest', 'tsx', 'playwright-core'])
      expect(existsSync(join(folder, 'app', 'node_modules', name)), name).toBe(false);
  });
});
