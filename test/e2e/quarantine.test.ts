import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cli } from '../support/cli.js';
import { Scenario } from '../support/scenario.js';

const ID = 'public.orders';
const directory = mkdtempSync(join(tmpdir(), 'walhouse-keys-'));
const keysFile = join(directory, 'keys');
let scenario: Scenario;
beforeAll(async () => {
  scenario = await Scenario.open('quarantine', {
    schema: `create table orders (id int primary key, at timestamptz not null, note text);
      insert into orders values (1, '2026-01-01', 'in'), (2, 'infinity', 'secret from the snapshot')`,
    tables: { [ID]: {} },
  });
  writeFileSync(keysFile, 'not looked at yet');
  // All that it ever logs, for the test that looks for what it must not.
  await scenario.walhouse.start({ WALHOUSE_LOG_LEVEL: 'trace', API_KEYS_FILE: keysFile });
  await scenario.sql(`insert into orders values (3, '2026-01-03', 'in'), (4, '294276-12-31', 'secret from the stream');
    update orders set at = '-infinity' where id = 1; insert into orders values (5, 'infinity', 'secret, gone soon')`);
  await scenario.applied();
});
afterAll(async () => {
  await scenario.close();
  rmSync(directory, { recursive: true, force: true });
});

interface Listed {
  readonly total: number;
  readonly rows: readonly Record<string, string>[];
}

const quarantine = (...args: string[]) =>
  cli(['quarantine', ...args, '--config', scenario.walhouse.configPath]);
const status = async () => (await scenario.walhouse.status()).tables[ID]!.quarantined;

describe('walhouse quarantine', () => {
  it('lists keys, positions, columns and reasons; values only where they are asked for', async () => {
    expect(await status()).toBe(4);
    const text = await quarantine('list');
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toMatch(
      /public\.orders {2}\{"id":"4"\} {2}at [0-9A-F]+\/[0-9A-F]+, 20.*\n {2}at: timestamp/,
    );
    expect(text.stdout).not.toMatch(/secret|infinity|294276/);

    const { rows, total } = JSON.parse((await quarantine('list', ID, '--json')).stdout) as Listed;
    expect(total).toBe(4);
    expect(rows.map(({ key }) => key).sort()).toEqual([1, 2, 4, 5].map((id) => `{"id":"${id}"}`));
    expect(Object.keys(rows[0]!).sort()).toEqual(['column', 'committed_at', 'key', 'position', 'quarantined_at', 'reason', 'table']); // prettier-ignore

    const shown = await quarantine('list', ID, '--show-values');
    expect(shown.stdout).toContain('secret from the stream');
    expect((await quarantine('list', 'public.nothing')).stdout).toMatch(/^Nothing/);
  });

  it('leaves rows that still cannot be held, with their reason, and says so by its exit code', async () => {
    const { code, stdout } = await quarantine('retry', ID, '--json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ table: ID, put_back: 0, superseded: 0, left: 4 });
    expect(stdout).not.toMatch(/secret|294276/);
    expect(await status()).toBe(4);
  });

  it('takes out what was corrected or deleted in Postgres, and status follows', async () => {
    await scenario.sql(
      `update orders set at = '2026-02-02' where id in (1, 2); delete from orders where id = 5`,
    );
    await scenario.applied();
    const { code, stdout } = await quarantine('retry', ID);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^public\.orders: 0 put back, 3 replaced by later versions and taken out, 1 left\n {2}1 for at: timestamp/,
    );
    await expect.poll(status, { timeout: 10_000 }).toBe(1);
    await scenario.sql('delete from orders where id = 4');
    await scenario.applied();
    expect(await quarantine('retry', ID)).toMatchObject({ code: 0 });
    await expect.poll(status, { timeout: 10_000 }).toBe(0);
    await scenario.expectEqual();
  });

  it('puts back a row that could be held all along', async () => {
    // As a version that did not know how to write it would have left it: a tombstone, and the row beside it.
    const landing = `${scenario.databases.clickhouseDatabase}_landing`;
    await scenario.sql(
      `insert into orders values (6, '2026-03-03 03:03:03.000003', E'tab\\t and \\\\ back')`,
    );
    await scenario.applied();
    await scenario.databases.clickhouse(
      `insert into ${landing}._walhouse_quarantine (table, key, version, commit_lsn, column, reason, row, committed_at)
       select '${ID}', '{"id":"6"}', _version, '0/1', 'at', 'a reason of old', toJSONString(map('id', '6',
         'at', '2026-03-03 03:03:03.000003+00', 'note', note)), _committed_at
         from ${landing}.orders final where id = 6`,
    );
    await scenario.databases.clickhouse(
      `insert into ${landing}.orders (id, at, note, _version, _is_deleted, _committed_at)
       select id, at, '', _version, 1, _committed_at from ${landing}.orders final where id = 6`,
    );
    await expect(scenario.expectEqual()).rejects.toThrow(/"missing":1/);
    const { code, stdout } = await quarantine('retry', ID, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ put_back: 1, superseded: 0, left: 0 });
    expect(code).toBe(0);
    await scenario.expectEqual();
  });

  it('refuses a table that is not configured', async () => {
    const { code, stderr } = await quarantine('retry', 'public.nothing');
    expect(code).toBe(2);
    expect(stderr).toMatch(/not among tables.*Fix: name one of: public\.orders/);
  });
});

const entry = (name: string, key: string, scope = 'ops:read'): string =>
  `${name}:${scope}:${createHash('sha256').update(key).digest('hex')}`;
const ask = async (path: string, key: string): Promise<number> => {
  const answer = await fetch(`${scenario.walhouse.url}${path}`, {
    headers: { authorization: `Bearer ${key}` },
  });
  await answer.text();
  return answer.status;
};

/** SIGHUP; resolves to what was logged until the configuration was taken up. */
async function reload(): Promise<string> {
  const { walhouse } = scenario;
  const from = walhouse.output.length;
  walhouse.reload();
  const said = (): string => walhouse.output.slice(from);
  await expect.poll(said, { timeout: 10_000 }).toMatch(/the configuration (is|stays)/);
  expect(said()).toContain('the configuration is the new one');
  return said();
}

describe('the keys of a running service', () => {
  it('are changed by their file and SIGHUP, the old one beside the new one, and no request is refused meanwhile', async () => {
    const path = '/v1/replication';
    writeFileSync(keysFile, `${entry('grafana-1', 'planted-old')}\n`);
    scenario.walhouse.configure({ keys: '${API_KEYS}' });
    await reload();
    expect(await ask(path, 'nonsense')).toBe(401);

    let key = 'planted-old';
    let over = false;
    const answers = new Map<number, number>();
    const callers = Array.from({ length: 4 }, async () => {
      while (!over) {
        const status = await ask(path, key);
        answers.set(status, (answers.get(status) ?? 0) + 1);
        await turn();
      }
    });
    const asked = () => answers.get(200) ?? 0;
    const goOn = async () => {
      const before = asked();
      await expect.poll(asked).toBeGreaterThan(before + 20);
    };
    await goOn();
    writeFileSync(keysFile, `${entry('grafana-1', 'planted-old')},${entry('grafana-2', 'planted-new')}\n`);
    let said = await reload();
    expect([await ask(path, 'planted-old'), await ask(path, 'planted-new')]).toEqual([200, 200]);
    await goOn();
    // Those who hold it take the new one while both are good.
    key = 'planted-new';
    await goOn();
    writeFileSync(keysFile, `${entry('grafana-2', 'planted-new')}\n`);
    said += await reload();
    expect([await ask(path, 'planted-old'), await ask(path, 'planted-new')]).toEqual([401, 200]);
    await goOn();
    over = true;
    await Promise.all(callers);
    expect([...answers.keys()]).toEqual([200]);
    // The stream was not disturbed for it.
    expect(said).not.toContain('state changed');

    writeFileSync(keysFile, 'planted-mistake');
    scenario.walhouse.reload();
    await expect
      .poll(() => scenario.walhouse.output)
      .toMatch(/the configuration stays as it was.*api\.keys has an entry/);
    expect(await ask(path, 'planted-new')).toBe(200);
  });
});

describe('secrets and values of rows', () => {
  it('are in nothing that the service says, logs at any level or answers, errors that quote them included', async () => {
    const { walhouse, databases } = scenario;
    const landing = `${databases.clickhouseDatabase}_landing.orders`;
    // ClickHouse's refusal of an insert quotes the row, and the table then stops with an error.
    await databases.clickhouse(
      `alter table ${landing} add constraint refuses check not startsWith(note, 'planted')`,
    );
    await scenario.sql(`insert into orders values (7, '2026-04-04', 'planted in a row')`);
    const answers: string[] = [];
    const get = async (path: string, key = 'planted-new', method = 'GET') => {
      const answer = await fetch(`${walhouse.url}${path}`, {
        method,
        headers: { authorization: `Bearer ${key}` },
      });
      const text = `${JSON.stringify([...answer.headers])} ${await answer.text()}`;
      answers.push(text);
      return text;
    };
    await expect.poll(() => get('/v1/replication'), { timeout: 20_000 }).toContain('VIOLATED_CONSTRAINT');
    for (const path of [
      '/metrics',
      '/openapi.json',
      '/healthz',
      '/readyz',
      '/',
      '/v1/merchants/planted-id/risk',
      '/planted-path',
    ])
      await get(path);
    await get('/v1/replication?min_lsn=planted-lsn');
    await get('/v1/replication', 'planted-wrong');
    await get('/v1/pause', 'planted-new', 'POST');
    expect(await walhouse.stop()).not.toBe('SIGKILL');

    const { password } = new URL(databases.postgresUrl);
    expect(password.length).toBeGreaterThan(8);
    const hashes = ['planted-old', 'planted-new'].map((key) => entry('', key).split(':').at(-1)!);
    const said = [walhouse.output, ...answers];
    expect(walhouse.output).toContain('"level":20');
    for (const planted of ['planted', 'secret', '294276', password, ...hashes])
      for (const text of said) expect(text.split('\n').filter((line) => line.includes(planted))).toEqual([]);
  });
});
