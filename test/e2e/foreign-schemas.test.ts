import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { Foreign } from '../support/foreign.js';
import { RandomLoad } from '../support/random-load.js';

const execute = promisify(execFile);
const DATA = new URL('../data/', import.meta.url).pathname;

/** The fixes as the file names them; of two ways the one that can be typed as it stands. */
function fixesIn(text: string): string[] {
  return [...text.matchAll(/^ {2}# Fix: (.*)$/gm)].map(([, fix]) =>
    fix!.replace(/^.*without a natural one: /, ''),
  );
}

let foreign: Foreign | null = null;
afterEach(async () => {
  await foreign?.close();
  foreign = null;
});

/** Where distributions put it; null when there is none. */
function findPgbench(): string | null {
  const versions = '/usr/lib/postgresql';
  const installed = existsSync(versions)
    ? readdirSync(versions).map((v) => join(versions, v, 'bin/pgbench'))
    : [];
  return (
    [...installed, '/usr/bin/pgbench', '/usr/local/bin/pgbench'].find((path) => existsSync(path)) ?? null
  );
}

describe('a database that was not made for Walhouse', () => {
  const pgbench = findPgbench();
  if (pgbench === null) process.stderr.write('pgbench is not installed, so its schema is not tested\n');

  it.skipIf(pgbench === null)(
    'pgbench under load: its table without a key is left out with a fix, and followed once that is applied',
    async () => {
      foreign = await Foreign.open('pgbench');
      const { postgresUrl } = foreign.databases;
      await execute(pgbench!, ['-i', '-q', '-s', '1', postgresUrl]);

      const first = await foreign.init();
      expect(first.tables).toEqual([
        'public.pgbench_accounts',
        'public.pgbench_branches',
        'public.pgbench_tellers',
      ]);
      expect(first.text).toMatch(/LEFT OUT: .*pgbench_history/);
      expect(await foreign.check(first.path)).toMatchObject({ code: 0 });

      // Who puts it in all the same is told by check, before run would refuse it.
      writeFileSync(
        `${first.path}.all`,
        first.text.replace('# public.pgbench_history: {}', 'public.pgbench_history: {}'),
      );
      const refused = await foreign.check(`${first.path}.all`);
      expect(refused.stdout).toMatch(/FAIL +table public\.pgbench_history .*\n +fix: alter table/);
      expect(refused.code).toBe(1);

      for (const fix of fixesIn(first.text)) await foreign.databases.postgres(fix);
      const second = await foreign.init();
      expect(second.tables).toHaveLength(4);
      expect(await foreign.check(second.path)).toMatchObject({ code: 0 });

      const load = execute(pgbench!, ['-n', '-c', '2', '-T', '5', postgresUrl]);
      const walhouse = await foreign.run(second.path);
      const { stdout } = await load;
      const rows = await foreign.expectEqual(second.tables);
      expect(await walhouse.status()).toMatchObject({ state: 'streaming' });
      process.stdout.write(
        `pgbench: ${/transactions actually processed: \d+/.exec(stdout)?.[0]}; ${rows} rows equal\n`,
      );
    },
  );

  it('the 138 tables of a Matrix server, 110 of them without a primary key, once the fixes that init names are typed', async () => {
    foreign = await Foreign.open('synapse');
    for (const part of ['common', 'main', 'state']) {
      // `psql` would read them; the settings that they open with are for one session.
      await foreign.databases.postgres(readFileSync(join(DATA, 'synapse', `${part}.sql`), 'utf8'));
    }
    const first = await foreign.init();
    const left = first.text.match(/^ {2}# LEFT OUT/gm)?.length ?? 0;
    expect({ followed: first.tables.length, left }).toEqual({ followed: 28, left: 110 });
    for (const fix of fixesIn(first.text)) await foreign.databases.postgres(fix);
    const second = await foreign.init();
    expect(second.tables).toHaveLength(138);
    expect(await foreign.check(second.path)).toMatchObject({ code: 0 });

    const load = await RandomLoad.open(foreign.databases.postgresUrl, 7);
    try {
      await load.fill(20);
      const before = performance.now();
      await foreign.run(second.path);
      await load.run(1_000);
      const rows = await foreign.expectEqual(second.tables);
      const seconds = ((performance.now() - before) / 1000).toFixed(1);
      process.stdout.write(
        `synapse: ${JSON.stringify(load.report)}; ${rows} rows of 138 tables equal after ${seconds} s\n`,
      );
    } finally {
      await load.close();
    }
  });
});
