import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Ended } from '../support/cli.js';

const ROOT = new URL('../../', import.meta.url).pathname;

const folder = mkdtempSync(join(tmpdir(), 'walhouse-package-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What an outer `npm test` sets would make npm work on the repository instead of on the folder. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(
    ([key]) => !/^npm_(package|lifecycle)_|^npm_config_(local_prefix|prefix|global|workspace)$/.test(key),
  ),
);

function run(command: string, args: readonly string[], cwd: string): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(command, args, { cwd, env: environment, timeout: 150_000 }, (error, stdout, stderr) => {
      resolve({
        code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1,
        stdout,
        stderr,
      });
    });
  });
}

async function succeed(command: string, args: readonly string[], cwd: string): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, cwd);
  expect(code, `${command} ${args.join(' ')}\n${stdout}\n${stderr}`).toBe(0);
  return stdout;
}

/** As somebody does who has the package and not the repository. */
const walhouse = (...args: string[]): Promise<string> =>
  succeed('npx', ['--no', '--', 'walhouse', ...args], folder);

beforeAll(async () => {
  // A whole run has built already, and other tests run what it built.
  const built = process.env['WALHOUSE_TEST_BUILT'] === '1' ? ['--ignore-scripts'] : [];
  await succeed('npm', ['pack', '--pack-destination', folder, ...built], ROOT);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))!;
  writeFileSync(join(folder, 'package.json'), '{"private":true}\n');
  await succeed('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', `./${tarball}`], folder);
});

describe('the package, installed into an empty folder', () => {
  test('tells its version and its help', async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect((await walhouse('--version')).trim()).toBe(version);
    const help = await walhouse('--help');
    for (const command of ['run', 'check', 'verify', 'demo']) expect(help).toContain(`\n  ${command} `);
  });

  test('holds every domain whole, and nothing of the tests or the build', async () => {
    const installed = join(folder, 'node_modules', 'walhouse');
    const { stderr } = await run('npx', ['--no', '--', 'walhouse', 'demo', '--domain', '?'], folder);
    const domains = /take one of (.*), or all/.exec(stderr)![1]!.split(', ');
    const described = readdirSync(join(ROOT, 'clickhouse')).filter((name) =>
      existsSync(join(ROOT, 'clickhouse', name, 'domain.yaml')),
    );
    expect(domains).toEqual(described.sort());
    for (const name of domains) {
      expect(readdirSync(join(installed, 'clickhouse', name), { recursive: true }).sort()).toEqual(
        readdirSync(join(ROOT, 'clickhouse', name), { recursive: true }).sort(),
      );
      expect(existsSync(join(installed, 'postgres', `${name}.sql`)), name).toBe(true);
    }
    for (const unwanted of ['test', 'bench', 'dist/cli', 'dist/.built.json'])
      expect(existsSync(join(installed, unwanted)), unwanted).toBe(false);
  });

  test('holds whatever the README refers to', () => {
    const installed = join(folder, 'node_modules', 'walhouse');
    const readme = readFileSync(join(installed, 'README.md'), 'utf8');
    const links = [...readme.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, link]) => link!);
    expect(links.length).toBeGreaterThan(10);
    for (const link of links) expect(existsSync(join(installed, link)), link).toBe(true);
  });

  test('plays the demo to its end, and everything is equal', async () => {
    expect(await walhouse('demo', '--seconds', '3', '--port', '0')).toMatch(/^All equal\.$/m);
  });
});
