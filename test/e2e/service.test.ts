import { execFile, execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { StatusDocument } from '../../src/ops/status.js';
import { blocksOf, documentBlocks, printsAs } from '../support/document-blocks.js';
import { cli } from '../support/cli.js';
import { isThere, PROGRAM } from '../support/program.js';
import { Scenario } from '../support/scenario.js';
import { Shell } from '../support/shell.js';
import type { WalhouseOptions } from '../support/walhouse.js';

const ROOT = new URL('../../', import.meta.url).pathname;
const SCHEMA = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');

interface Answer {
  total: { count: number; amount: string };
  as_of: { lsn: string; lag_ms: number };
}

/** The names that a document has, and what sort of value each is. */
function formOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(formOf);
  if (typeof value !== 'object' || value === null) return typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, formOf(inner)]));
}

let scenario: Scenario;
beforeAll(async () => {
  scenario = await Scenario.open('service', {
    schema: SCHEMA,
    tables: {
      'public.merchants': {},
      'public.payments': { retention: { column: 'payment_date', keep: '2 years' } },
    },
    marts: ['payments'],
  });
  await scenario.sql(`
    insert into merchants (merchant_id, name) values (1, 'with payments'), (2, 'without'), (42, 'of the examples'), (43, 'another');
    insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
      select i, 1, 1, 1.10, 'Visa', 'Paid', now() - i * interval '1 minute' from generate_series(1, 10) i`);
});
afterAll(() => scenario.close());

const risk = (merchant: number, query = ''): Promise<Response> =>
  fetch(`${scenario.walhouse.url}/v1/merchants/${merchant}/risk${query}`);

function statusCommand(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...PROGRAM, 'status', '--config', scenario.walhouse.configPath, ...args],
      { cwd: ROOT, timeout: 30_000 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ code, stdout, stderr });
      },
    );
  });
}

describe('the service', () => {
  it('answers 503 with Retry-After while the snapshot is not complete, then the truth', async () => {
    const blocker = new pg.Client({ connectionString: scenario.databases.postgresUrl });
    await blocker.connect();
    try {
      await blocker.query('begin; lock table payments in access exclusive mode');
      await scenario.walhouse.start();
      let answer: Response | null = null;
      while (answer === null) answer = await risk(1).catch(() => null);
      expect(answer.status).toBe(503);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(await answer.json()).toMatchObject({ status: 503, fix: expect.any(String) as string });
      expect((await fetch(`${scenario.walhouse.url}/readyz`)).status).toBe(503);
    } finally {
      await blocker.query('rollback');
      await blocker.end();
    }
    await scenario.applied();
    const answer = await risk(1);
    expect(answer.status).toBe(200);
    expect(((await answer.json()) as Answer).total).toEqual({ count: 10, amount: '11.00' });
    expect((await fetch(`${scenario.walhouse.url}/readyz`)).status).toBe(200);
  });

  it('is found well by walhouse check while it streams', async () => {
    const moving = new pg.Client({ connectionString: scenario.databases.postgresUrl });
    await moving.connect();
    let going = true;
    const writing = (async () => {
      while (going) {
        await moving.query(`update merchants set name = name || '.' where merchant_id = 43`);
        await sleep(2);
      }
    })();
    try {
      for (let round = 0; round < 3; round += 1) {
        const { code, stdout } = await cli(['check', '--config', scenario.walhouse.configPath]);
        expect(code, stdout).toBe(0);
      }
    } finally {
      going = false;
      await writing;
      await moving.end();
    }
  });

  it('gives zeros for a merchant without payments and 404 for one that does not exist', async () => {
    expect(((await (await risk(2)).json()) as Answer).total).toEqual({ count: 0, amount: '0.00' });
    expect((await risk(3)).status).toBe(404);
  });

  it('waits for the caller’s own commit, a hundred times', async () => {
    for (let i = 1; i <= 100; i += 1) {
      await scenario.sql(`insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
                          values (${1000 + i}, 1, 1, 0.01, 'Check', 'Pending', now())`);
      const [row] = await scenario.databases.postgres<{ lsn: string }>(
        'select pg_current_wal_insert_lsn()::text lsn',
      );
      const answer = await risk(1, `?min_lsn=${row!.lsn}&wait_ms=5000`);
      expect(answer.status).toBe(200);
      expect(((await answer.json()) as Answer).total.count).toBe(10 + i);
    }
  });

  it('answers 503 when a position is not reached in time', async () => {
    const answer = await risk(1, '?min_lsn=FFFF/0&wait_ms=50');
    expect(answer.status).toBe(503);
  });

  it('is fresh: an idle source’s answer is not old', async () => {
    await expect
      .poll(async () => ((await (await risk(1)).json()) as Answer).as_of.lag_ms, { timeout: 10_000 })
      .toBeLessThan(1_500);
  });

  it('pushes the slot on while other tables are written', async () => {
    const slot = async (): Promise<string> => {
      const [row] = await scenario.databases.postgres<{ lsn: string }>(
        `select confirmed_flush_lsn::text lsn from pg_replication_slots where slot_name = '${scenario.databases.name}'`,
      );
      return row!.lsn;
    };
    const before = await slot();
    await scenario.sql('create table other (x int); insert into other select generate_series(1, 1000)');
    await scenario.applied();
    await expect.poll(slot, { timeout: 10_000 }).not.toBe(before);
  });

  it('is reported by walhouse status, as text and as JSON', async () => {
    const text = await statusCommand();
    expect(text.stdout).toContain('public.payments');
    expect(text.code).toBe(0);
    const json = await statusCommand('--json');
    const document = JSON.parse(json.stdout) as StatusDocument;
    expect(document.state).toBe('streaming');
    expect(document.tables['public.payments']!.rows_applied).toBeGreaterThanOrEqual(110);
  });

  it('has the state that docs/OPERATIONS.md and docs/TYPES.md look at, in Postgres and in ClickHouse', async () => {
    const { databases } = scenario;
    const asked: string[] = [];
    for (const document of ['docs/OPERATIONS.md', 'docs/TYPES.md'])
      for (const statement of blocksOf(document, 'sql').flatMap((block) => block.split(/;$/m))) {
        const sql = statement.trim();
        // test/e2e/tutorial.test.ts does it, on a server of its own.
        if (sql === '' || /^alter system/.test(sql)) continue;
        asked.push(sql);
        // What ends or drops something is only planned.
        const plan = /pg_terminate_backend|pg_drop_replication_slot/.test(sql) ? 'explain ' : '';
        if (/\bpg_/.test(sql))
          await databases.postgres(plan + sql.replaceAll("'walhouse'", `'${databases.name}'`));
        else
          await databases.clickhouse(
            sql.replaceAll('shop_landing', `${databases.clickhouseDatabase}_landing`),
          );
      }
    expect(asked.length).toBeGreaterThan(12);
  });

  it.skipIf(!isThere('curl') || !isThere('psql'))(
    'answers what README.md asks, in the form shown',
    async () => {
      await scenario.sql('update merchants set name = upper(name) where merchant_id = 42');
      await scenario.applied();
      const blocks = documentBlocks('README.md');
      const shell = new Shell({
        cwd: tmpdir(),
        env: { ...process.env, SOURCE_URL: scenario.databases.postgresUrl },
      });
      try {
        const asked = blocks.filter(({ language, text }) => language === 'sh' && text.includes('curl '));
        expect(asked).toHaveLength(2);
        for (const { text } of asked) {
          const here = text
            .replaceAll('http://127.0.0.1:8080', scenario.walhouse.url)
            .replaceAll('/238/', '/42/');
          const { output } = await shell.run(here);
          const shown = blocks.find(({ language }) => language === 'json')!;
          expect(formOf(JSON.parse(output)), output).toEqual(formOf(JSON.parse(shown.text)));
        }
      } finally {
        await shell.close();
      }
    },
  );

  describe('does what docs/API.md says', () => {
    const key = 'the-key-that-you-were-given';
    let directory: string;
    let open: WalhouseOptions;
    beforeAll(async () => {
      open = scenario.walhouse.options;
      directory = mkdtempSync(join(tmpdir(), 'walhouse-api-'));
      await scenario.sql(`insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
                          values (4242, 42, 1, 2.50, 'Visa', 'Rejected', now()), (4243, 42, 1, 4.00, 'Check', 'Paid', now())`);
      await scenario.applied();
      const hash = createHash('sha256').update(key).digest('hex');
      scenario.walhouse.configure({ keys: `examples:risk:read:${hash}`, key });
      scenario.walhouse.reload();
      await vi.waitFor(async () => expect((await risk(42)).status).toBe(401), { timeout: 10_000 });
    });
    afterAll(async () => {
      scenario.walhouse.options = open;
      scenario.walhouse.configure({});
      scenario.walhouse.reload();
      await vi.waitFor(async () => expect((await risk(42)).status).toBe(200), { timeout: 10_000 });
      rmSync(directory, { recursive: true, force: true });
    });

    const environment = (): NodeJS.ProcessEnv => ({
      ...process.env,
      WALHOUSE_URL: scenario.walhouse.url,
      WALHOUSE_KEY: key,
      SOURCE_URL: scenario.databases.postgresUrl,
    });

    it.skipIf(!isThere('curl') || !isThere('psql'))('with curl, and answers in the form shown', async () => {
      const shell = new Shell({ cwd: directory, env: environment() });
      try {
        const blocks = documentBlocks('docs/API.md');
        for (const [index, { language, text, prints }] of blocks.entries()) {
          if (language !== 'sh' || text.startsWith('export ')) continue;
          const { code, output } = await shell.run(text);
          expect(code, `${text}\n${output}`).toBe(0);
          if (prints !== null) expect(printsAs(prints, output), output).toBe(true);
          const next = blocks[index + 1];
          if (next?.language === 'json')
            expect(formOf(JSON.parse(output))).toEqual(formOf(JSON.parse(next.text)));
          else if (output.startsWith('{')) expect(JSON.parse(output)).toHaveProperty('as_of.lsn');
        }
      } finally {
        await shell.close();
      }
    });

    it.each([
      ['ts', ['42'], '1 of 2 rejected, 2.50 of 6.50\n'],
      [
        'python',
        ['42', '43', '404'],
        '42 1 of 2 rejected, for 2.50\n43 0 of 0 rejected, for 0.00\n404 does not exist\n',
      ],
    ])('with a whole program: %s %j', (language, args, printed) => {
      if (language === 'python' && !isThere('python3')) return;
      const [program] = blocksOf('docs/API.md', language);
      const file = join(directory, language === 'ts' ? 'risk.mts' : 'risk.py');
      writeFileSync(file, program!);
      const [command, ...first] =
        language === 'ts'
          ? [process.execPath, '--import', import.meta.resolve('tsx'), file]
          : ['python3', file];
      expect(execFileSync(command, [...first, ...args], { env: environment(), encoding: 'utf8' })).toBe(
        printed,
      );
    });
  });

  it('leaves cleanly on SIGTERM, and status then says that nobody answers', async () => {
    expect(await scenario.walhouse.stop()).toBe(0);
    const status = await statusCommand();
    expect(status.code).toBe(1);
    expect(status.stderr).toContain('walhouse run');
  });
});
