// What `npm run demo`, `npm test`, `npm run walhouse`, `npm run bench`, `npm run chaos` and `npm pack` begin with. It works straight after `git clone`:
// it knows nothing but Node.js itself, installs what is missing, builds what has changed, and then hands over. What is
// up to date costs a tenth of a second. Everything it says goes to standard error, so that `--json` stays clean.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const NODE_MIN = [20, 19];
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

requireNode();
const [command, ...args] = process.argv.slice(2);
switch (command) {
  case 'build':
    await prepare();
    break;
  case 'demo':
    await prepare();
    watchNpm(() => process.kill(process.pid, 'SIGTERM'));
    await handOver(['demo', ...args]);
    break;
  case 'walhouse':
    await prepare();
    watchNpm(() => process.kill(process.pid, 'SIGTERM'));
    await handOver(args);
    break;
  case 'test':
    await prepare();
    process.exitCode = await test(args);
    break;
  case 'bench':
    await prepare();
    process.exitCode = await bench(args);
    break;
  case 'chaos':
    await prepare();
    process.exitCode = await runTypeScript(join('test', 'chaos', 'main.ts'), args);
    break;
  default:
    say('usage: node scripts/bootstrap.mjs build|demo|walhouse|test|bench|chaos [ARGUMENT...]');
    process.exitCode = 2;
}

/** `npm run bench` is main.ts; `npm run bench -- memory` another file beside it. */
function bench([part = 'main', ...rest]) {
  if (existsSync(join(ROOT, 'bench', `${part}.ts`))) return runTypeScript(join('bench', `${part}.ts`), rest);
  say(`there is no bench/${part}.ts`);
  return 2;
}

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > NODE_MIN[0] || (major === NODE_MIN[0] && minor >= NODE_MIN[1])) return;
  say(
    `Walhouse needs Node.js ${NODE_MIN.join('.')} or newer; this is ${process.versions.node}. Fix: install it from https://nodejs.org`,
  );
  process.exit(2);
}

/** Dependencies and build, for one process at a time: a second one waits and then finds the work done. */
async function prepare() {
  if (dependenciesAreCurrent() && buildIsCurrent()) return;
  const release = await lock();
  try {
    if (!dependenciesAreCurrent()) await installDependencies();
    if (!buildIsCurrent()) await build();
  } finally {
    release();
  }
}

/**
 * Compares the lock with npm's own record of what it installed, which it writes last: so an installation that was cut off, or
 * one made by hand, is judged rightly, and one with fewer packages (--omit=dev) is not enough.
 */
function dependenciesAreCurrent() {
  const wanted = packagesIn(join(ROOT, 'package-lock.json'));
  const installed = packagesIn(join(ROOT, 'node_modules', '.package-lock.json'));
  if (wanted === null || installed === null) return false;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '') continue;
    // Packages for other platforms are not there, and rightly so.
    if (installed[path] === undefined ? !entry.optional : installed[path].version !== entry.version)
      return false;
  }
  return Object.keys(installed).every((path) => wanted[path] !== undefined);
}

function packagesIn(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages ?? null;
  } catch {
    return null;
  }
}

async function installDependencies() {
  say("installing Walhouse's packages (about 150 MB on disk, usually under a minute)...");
  const startedAt = Date.now();
  const [program, first] = npm();
  const code = await run(program, [...first, 'ci', '--no-audit', '--no-fund', '--include=dev'], {
    cwd: ROOT,
    // npm's own words go where ours go.
    stdio: ['ignore', 2, 2],
  });
  if (code !== 0) {
    say(
      `npm ci ended with exit code ${code}. Fix: look at its messages above; is the npm registry within reach?`,
    );
    process.exit(code || 1);
  }
  say(`installed in ${seconds(startedAt)}`);
}

/** Under `npm run` the very npm that runs us is known; elsewhere it is on the path. */
function npm() {
  const path = process.env.npm_execpath;
  return path !== undefined && /npm-cli\.c?js$/.test(path) ? [process.execPath, [path]] : ['npm', []];
}

function buildIsCurrent() {
  const stamp = readStamp();
  return stamp !== null && stamp.fingerprint === fingerprint(sourceFiles()) && existsSync(main());
}

async function build() {
  const files = sourceFiles();
  const stamp = readStamp();
  // The compiler leaves the output of sources that are gone; somebody might still import it.
  if (stamp === null || stamp.files.join() !== files.join())
    rmSync(join(ROOT, 'dist'), { recursive: true, force: true });
  const before = fingerprint(files);
  say('building...');
  const startedAt = Date.now();
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const code = await run(process.execPath, [tsc, '-p', join(ROOT, 'tsconfig.build.json')], {
    stdio: ['ignore', 2, 2],
  });
  if (code !== 0 || (await run(process.execPath, [bundler()], { stdio: ['ignore', 2, 2] })) !== 0) {
    say('Walhouse does not compile. Fix: see the messages above.');
    process.exit(1);
  }
  writeFileSync(stampFile(), JSON.stringify({ fingerprint: before, files }));
  say(`built in ${seconds(startedAt)}`);
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile(), 'utf8'));
  } catch {
    return null;
  }
}

function stampFile() {
  return join(ROOT, 'dist', '.built.json');
}

function main() {
  return join(ROOT, 'dist', 'program', 'main.js');
}

function bundler() {
  return join(ROOT, 'scripts', 'bundle.mjs');
}

/** What the build depends on, relative to the root. */
function sourceFiles() {
  const files = [
    'tsconfig.json',
    'tsconfig.build.json',
    'package-lock.json',
    'scripts/bundle.mjs',
    'src/ops/dashboard/assets.json',
  ];
  const visit = (folder) => {
    for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) visit(path);
      else if (entry.name.endsWith('.ts')) files.push(path);
    }
  };
  visit('src');
  return files.sort();
}

function fingerprint(files) {
  const hash = createHash('sha256');
  for (const file of files) {
    const { size, mtimeMs } = statSync(join(ROOT, file), { throwIfNoEntry: false }) ?? {
      size: 0,
      mtimeMs: 0,
    };
    hash.update(`${file}\0${size}\0${mtimeMs}\n`);
  }
  return hash.digest('hex');
}

/** The command line in this very process: one process less that could be left behind. */
async function handOver(argv) {
  process.setSourceMapsEnabled(true);
  process.argv = [process.argv[0], main(), ...argv];
  await import(pathToFileURL(main()).href);
}

async function test(argv) {
  if (!onlyUnit(argv)) {
    const { prepareServers } = await import(
      pathToFileURL(join(ROOT, 'dist', 'dev', 'servers', 'prepare.js')).href
    );
    try {
      await prepareServers({ everyFlavour: true, log: say });
    } catch (error) {
      say(error instanceof Error ? error.message : String(error));
      printCounts({ passed: 0, failed: 1, skipped: 0 });
      return 1;
    }
  }
  const { makeScratch, removeScratch } = await import('./scratch.mjs');
  const folder = makeScratch();
  try {
    const report = join(folder, 'report.json');
    const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
    const chosen = argv.some((argument) => /^--reporter(=|$)/.test(argument)) ? [] : ['--reporter=default'];
    const reporters = [...chosen, '--reporter=json', `--outputFile.json=${report}`];
    // What was built just now is what is there, so the tests run it: it starts in a third of the time.
    const env = { ...process.env, TMPDIR: folder, WALHOUSE_TEST_BUILT: '1' };
    const code = await run(process.execPath, [vitest, 'run', ...reporters, ...argv], { cwd: ROOT, env });
    const counts = countsIn(report, code);
    printCounts(counts);
    return code;
  } finally {
    removeScratch(folder);
  }
}

function onlyUnit(argv) {
  return argv.some(
    (argument, index) =>
      argument === '--project=unit' || (argument === 'unit' && argv[index - 1] === '--project'),
  );
}

/** A file that fails before its first test counts as one failure, and so does a run that ends without a report. */
function countsIn(report, code) {
  let document;
  try {
    document = JSON.parse(readFileSync(report, 'utf8'));
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const brokenFiles = document.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  const failed = document.numFailedTests + brokenFiles;
  return {
    passed: document.numPassedTests,
    // An error outside of any test fails the run, and the line must not look like success.
    failed: failed === 0 && code !== 0 ? 1 : failed,
    skipped: document.numPendingTests + (document.numTodoTests ?? 0),
  };
}

function printCounts({ passed, failed, skipped }) {
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
}

function runTypeScript(path, argv) {
  return run(process.execPath, ['--import', 'tsx', join(ROOT, path), ...argv], { cwd: ROOT });
}

/** Runs a program to its end, passes signals on, and resolves with its exit code. */
function run(program, argv, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, argv, { stdio: 'inherit', ...options });
    const forward = (signal) => {
      // On a terminal Ctrl-C reaches the child by itself, and twice often means "at once".
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal);
    };
    for (const signal of SIGNALS) process.on(signal, forward);
    const unwatch = watchNpm(() => child.kill('SIGTERM'));
    const end = (code) => {
      unwatch();
      for (const signal of SIGNALS) process.off(signal, forward);
      resolve(code);
    };
    child.once('error', (error) => {
      say(`${program} cannot be started: ${error.message}`);
      end(1);
    });
    child.once('exit', (code, signal) =>
      end(code ?? (signal === 'SIGINT' ? 130 : signal === 'SIGTERM' ? 143 : 1)),
    );
  });
}

/** npm that is killed with -9 cannot tell us; but then we have another parent. Returns how to stop watching. */
function watchNpm(onDeath) {
  if (process.env.npm_lifecycle_event === undefined || process.platform === 'win32') return () => {};
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    onDeath();
  }, 500);
  timer.unref();
  return () => clearInterval(timer);
}

/** Waits for other processes that prepare the same folder. A holder that is gone does not count. */
async function lock() {
  const name = createHash('sha256').update(ROOT).digest('hex').slice(0, 16);
  const path = join(tmpdir(), `walhouse-bootstrap-${name}.lock`);
  for (let told = false; ; told = true) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' });
      const release = () => rmSync(path, { force: true });
      process.once('exit', release);
      return () => {
        process.off('exit', release);
        release();
      };
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (isAbandoned(path)) {
      rmSync(path, { force: true });
      continue;
    }
    if (!told) say('waiting for another process that installs or builds here...');
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}

function isAbandoned(path) {
  try {
    const holder = Number.parseInt(readFileSync(path, 'utf8'), 10);
    if (!(holder > 0)) return Date.now() - statSync(path).mtimeMs > 5_000;
    process.kill(holder, 0);
    // Ten minutes are more than any of this takes: by now the number is somebody else's.
    return Date.now() - statSync(path).mtimeMs > 600_000;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

function seconds(startedAt) {
  return `${((Date.now() - startedAt) / 1000).toFixed(1)} s`;
}

function say(line) {
  process.stderr.write(`${line}\n`);
}
