import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parsePasswd } from '../../src/dev/servers/account.js';
import { acquireLock } from '../../src/dev/servers/install-lock.js';
import { cacheDirectory } from '../../src/dev/servers/install.js';
import { startFailure } from '../../src/dev/servers/start-failure.js';

test.each([
  [{ WALHOUSE_CACHE: '/a', XDG_CACHE_HOME: '/b' }, '/a'],
  [{ XDG_CACHE_HOME: '/b' }, '/b/walhouse'],
  [{ WALHOUSE_CACHE: '', XDG_CACHE_HOME: '/b' }, '/b/walhouse'],
])('the cache of %j is %s', (env, directory) => {
  expect(cacheDirectory(env)).toBe(directory);
});

test('accounts are read from passwd, whatever else is in it', () => {
  const accounts = parsePasswd(
    'root:x:0:0:root:/root:/bin/sh\n\n# no\npostgres:x:101:104::/:/bin/sh\nbad:x:y:z\n',
  );
  expect([...accounts.keys()]).toEqual(['root', 'postgres']);
  expect(accounts.get('postgres')).toEqual({ name: 'postgres', uid: 101, gid: 104 });
});

describe('what a server wrote before it ended', () => {
  test.each([
    ['FATAL:  could not write: No space left on device', 'local_start_failed', /no space/],
    ['LOG:  could not bind IPv4 address "127.0.0.1": Address already in use', 'local_port_taken', /port/],
    [
      'Code: 76. DB::Exception: Cannot lock file status. Another server instance in same directory is already running.',
      'local_data_unusable',
      /another ClickHouse/,
    ],
    ['FATAL:  lock file "postmaster.pid" already exists', 'local_data_unusable', /another Postgres/],
    ['FATAL:  data directory "/d" has wrong ownership', 'local_data_unusable', /files/],
    ['FATAL:  something new', 'local_start_failed', /something new/],
    ['', 'local_start_failed', /wrote nothing/],
  ])('%j is %s', (log, kind, message) => {
    const error = startFailure('A server', { path: '/d', temporary: false }, 'exit code 1', log);
    expect(error.kind).toBe(kind);
    expect(error.message).toMatch(message);
    expect(error.message).toContain('/d');
  });
});

describe('the lock of an installation', () => {
  let folder: string;
  let path: string;
  const options = { onWait: () => undefined, signal: undefined };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'walhouse-test-'));
    path = join(folder, 'x.lock');
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test('is held by one at a time, in turn', async () => {
    const release = await acquireLock(path, options);
    let waited = false;
    const second = acquireLock(path, { ...options, onWait: () => (waited = true) });
    await expect.poll(() => waited).toBe(true);
    release();
    (await second)();
    expect(existsSync(path)).toBe(false);
  });

  test('of a process that is gone is taken over', async () => {
    // Above the largest process id that any system hands out.
    writeFileSync(path, '99999999');
    (await acquireLock(path, options))();
  });

  test('is not waited for any longer once the caller gives up', async () => {
    const release = await acquireLock(path, options);
    const interrupt = new AbortController();
    const second = acquireLock(path, { onWait: () => interrupt.abort(), signal: interrupt.signal });
    await expect(second).rejects.toThrow();
    release();
  });
});
