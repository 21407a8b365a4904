import { randomInt } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startClickHouse, type LocalClickHouse } from '../../src/dev/servers/clickhouse.js';
import { subjectOf } from '../../src/ops/reports/erase.js';
import type { ChainedReport, ErasureReport } from '../../src/ops/reports/report.js';
import { cli } from '../support/cli.js';
import { filesWith, markers } from '../support/on-disk.js';
import { Scenario } from '../support/scenario.js';

const PAYMENTS = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');
const SPLITS = `create table splits (payment_id bigint, place int, note text, primary key (payment_id, place))`;
/** Every statement, with its text and its parameters, goes to a table on disk. */
const QUERY_LOG = `<clickhouse><query_log><database>system</database><table>query_log</table></query_log></clickhouse>`;

/** Found nowhere else: as a number in text, and as words. */
const SUBJECT = 7_000_000_000_000 + randomInt(1_000_000_000);
const { name: NAME } = markers('name');
const OTHER = 2;

let clickhouse: LocalClickHouse;
let scenario: Scenario;
let config: string;
beforeAll(async () => {
  config = mkdtempSync(join(tmpdir(), 'walhouse-erase-'));
  writeFileSync(join(config, 'query-log.xml'), QUERY_LOG);
  clickhouse = await startClickHouse({ configFile: join(config, 'query-log.xml'), log: () => {} });
  scenario = await Scenario.open('erase', {
    clickhouse: clickhouse.url,
    schema: `${PAYMENTS}; ${SPLITS}`,
    tables: {
      'public.merchants': { history: true, erase: { follow: ['public.payments (merchant_id)'] } },
      'public.payments': {
        retention: { column: 'payment_date', keep: '2 years' },
        history: true,
        erase: { follow: ['public.splits (payment_id)'] },
      },
      'public.splits': null,
    },
    marts: ['payments'],
  });
  await scenario.sql(`
    insert into merchants values (${SUBJECT}, '${NAME}', null, null, null, now()), (${OTHER}, 'Two', null, null, null, now());
    ${payment(101, SUBJECT)}; insert into splits values (101, 1, '${NAME}'), (101, 2, 'half')`);
  await scenario.walhouse.start();
  await scenario.applied();
  await scenario.rememberPlace();
  await scenario.sql(`
    ${payment(102, SUBJECT)}; update payments set merchant_id = ${OTHER}, method = 'Visa' where payment_id = 102;
    ${payment(103, OTHER, 'Visa')}; update payments set merchant_id = ${SUBJECT}, method = '${NAME}' where payment_id = 103;
    ${payment(104, SUBJECT)}; update payments set payment_date = now() - interval '3 years' where payment_id = 104;
    ${payment(105, SUBJECT)}; delete from payments where payment_id = 105;
    ${payment(106, SUBJECT, NAME, "'infinity'")};
    ${payment(107, OTHER, 'Visa')}; insert into splits values (107, 1, 'of the other');
    update merchants set name = '${NAME}, renamed' where merchant_id = ${SUBJECT}`);
  await scenario.expectEqual('public.merchants', 'public.splits');
});
afterAll(async () => {
  await scenario.close();
  await clickhouse.close();
  rmSync(config, { recursive: true });
});

function payment(id: number, merchant: number, method: string = NAME, ingested = 'now()'): string {
  return `insert into payments values (${id}, ${merchant}, 1, 1.25, '${method}', 'Paid', now(), ${ingested})`;
}

const command = (...args: string[]) => cli([...args, '--config', scenario.walhouse.configPath]);
const erase = (...args: string[]) => command('erase', ...args);
type Printed = ChainedReport & { readonly reference: string; readonly report: ErasureReport };

/** Everything that ClickHouse has written: tables of any kind, the log of statements, its own log. */
async function tracesOnDisk(): Promise<string[]> {
  await scenario.databases.clickhouse('system flush logs');
  return [
    ...(await filesWith(clickhouse.directory, NAME)),
    ...(await filesWith(clickhouse.directory, String(SUBJECT))),
  ];
}

describe('walhouse erase', () => {
  it('refuses while the source has the subject or what belongs to it, and removes nothing', async () => {
    const refused = await erase('public.merchants', '--key', String(SUBJECT));
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(
      /^erase_refused: the source still has it: 1 rows of public\.merchants, 4 rows of public\.payments\. .*Fix: delete them in Postgres first/,
    );
    expect(refused.stderr).not.toContain(String(SUBJECT));
    expect(await tracesOnDisk()).not.toEqual([]);
    await scenario.expectEqual('public.merchants', 'public.splits');
  });

  it('leaves nothing of the subject, of what belongs to it, and of what they were before', async () => {
    await scenario.sql(`
      delete from splits where payment_id = 101;
      delete from payments where merchant_id = ${SUBJECT};
      delete from merchants where merchant_id = ${SUBJECT}`);
    const { code, stdout, stderr } = await erase('public.merchants', '--key', String(SUBJECT), '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(await tracesOnDisk()).toEqual([]);
    await scenario.expectEqual();
    await scenario.expectRiskEqual([BigInt(OTHER)]);

    const { report, reference } = JSON.parse(stdout) as Printed;
    expect(report).toMatchObject({
      proven: true,
      in_source: { 'public.merchants': 0, 'public.payments': 0 },
    });
    expect(report.subject).toBe(subjectOf(reference, 'public.merchants', [String(SUBJECT)]));
    // 102 is somebody else's by now, and only what it was before is gone.
    expect(report.rows).toEqual({
      'public.merchants': { erased: 1, kept: 0 },
      'public.payments': { erased: 5, kept: 1 },
      'public.splits': { erased: 2, kept: 0 },
    });
    const { clickhouseDatabase: database } = scenario.databases;
    const held = report.tables.filter(({ before }) => before.versions > 0).map(({ name, of }) => `${name.replace(database, '')} of ${of}`); // prettier-ignore
    expect(held.sort()).toEqual([
      '.merchants_known of public.merchants',
      '.payments_7d of public.payments',
      '_landing._walhouse_audit_merchants of public.merchants',
      '_landing._walhouse_audit_payments of public.payments',
      '_landing._walhouse_quarantine of public.payments',
      '_landing._walhouse_versions_merchants of public.merchants',
      '_landing._walhouse_versions_payments of public.payments',
      '_landing.merchants of public.merchants',
      '_landing.payments of public.payments',
      '_landing.splits of public.splits',
    ]);
    for (const text of [NAME, String(SUBJECT)]) {
      expect(stdout).not.toContain(text);
      expect(scenario.walhouse.output).not.toContain(text);
    }
  });

  it('does not come back with what is delivered again, a retry of the quarantine, a resync or a repair', async () => {
    await scenario.deliverAgain();
    expect(await tracesOnDisk()).toEqual([]);
    expect((await command('quarantine', 'retry', 'public.payments')).code).toBe(0);
    for (const table of ['public.merchants', 'public.payments'])
      expect((await command('resync', table)).code).toBe(0);
    await expect
      .poll(async () => Object.values((await scenario.walhouse.status()).tables).map(({ state }) => state), {
        timeout: 30_000,
      }) // prettier-ignore
      .toEqual(['streaming', 'streaming', 'streaming']);
    expect((await command('verify', '--repair')).code).toBe(0);
    expect(await tracesOnDisk()).toEqual([]);
    await scenario.expectEqual();
    const again = await erase('public.merchants', '--key', String(SUBJECT));
    expect(again).toMatchObject({ code: 0, stderr: '' });
    expect(again.stdout).toMatch(
      /^report 2: walhouse erase public\.merchants --key \(left out\), [^]*Proven: /,
    );
    expect(await command('reports', 'verify')).toMatchObject({ code: 0 });
  });

  it('erases what the source still has where it is told so; the next change brings it back', async () => {
    const place = ['--key', 'place=1,payment_id=107'];
    expect((await erase('public.splits', ...place)).code).toBe(1);
    const { code, stdout } = await erase('public.splits', ...place, '--although-in-source', '--json');
    expect(code).toBe(0);
    expect((JSON.parse(stdout) as Printed).report).toMatchObject({
      rows: { 'public.splits': { erased: 1, kept: 0 } },
      in_source: { 'public.splits': 1 },
    });
    await expect(scenario.expectEqual('public.splits')).rejects.toThrow(/"missing":1/);
    await scenario.sql(`update splits set note = 'again'`);
    await scenario.expectEqual();
  });

  it.each([
    [['public.nothing', '--key', '1'], /public\.nothing is not among tables/],
    [
      ['public.merchants', '--key', `x${SUBJECT}`],
      /--key is no key of public\.merchants\. .*merchant_id \(bigint\)/,
    ],
    [['public.splits', '--key', '1'], /--key does not name each of payment_id, place once/],
  ])('%j is a mistake, told without repeating the key', async (args, message) => {
    const { code, stderr } = await erase(...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain(String(SUBJECT));
  });

  it('waits for nothing that cannot come: without the service it refuses', async () => {
    expect(await scenario.walhouse.stop()).toBe(0);
    await scenario.sql(`delete from splits`);
    const { code, stderr } = await erase('public.splits', '--key', '{"payment_id": 107, "place": "1"}');
    expect(code).toBe(1);
    expect(stderr).toMatch(/no service answers .*Fix: walhouse run/);
  });
});
