import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startClickHouse, type LocalClickHouse } from '../../src/dev/servers/clickhouse.js';
import type { ChainedReport } from '../../src/ops/reports/report.js';
import { cli } from '../support/cli.js';
import { filesWith, markers } from '../support/on-disk.js';
import { Scenario } from '../support/scenario.js';

const RETENTION = { column: 'payment_date', keep: '2 years' };
const PAYMENTS = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');
/** The date is part of the key, so the old one comes with every delete and every move. */
const BY_KEY = `create table visits (id int, payment_date timestamptz, note text, primary key (id, payment_date))`;
const EDGE = `now() - interval '2 years'`;

const marker = markers('snapshot', 'stream', 'refused', 'kept');

let clickhouse: LocalClickHouse;
let scenario: Scenario;
beforeAll(async () => {
  // Half a day and more from UTC, with summer time.
  clickhouse = await startClickHouse({ timezone: 'Pacific/Auckland', log: () => {} });
  scenario = await Scenario.open('retention', {
    clickhouse: clickhouse.url,
    schema: `${PAYMENTS}; ${BY_KEY}`,
    tables: {
      'public.merchants': null,
      'public.payments': { retention: RETENTION, history: true },
      'public.visits': { retention: RETENTION },
    },
    marts: ['payments'],
  });
  await scenario.sql(`
    insert into merchants values (1, 'One', null, null, null, now());
    ${payment(1, `${EDGE} - interval '1 second'`, marker.snapshot)};
    ${payment(2, `${EDGE} + interval '1 day'`, marker.kept)};
    ${payment(3, 'now()', 'in the window')};
    ${payment(4, `${EDGE} - interval '1 second'`, marker.refused, "'infinity'")};
    ${payment(5, `'1900-01-01'`, 'long ago')};
    ${payment(6, `'2105-01-01'`, 'in 2105')};
    ${payment(7, `'2290-01-01'`, 'in 2290')};
    ${payment(8, `${EDGE} - interval '1 year'`, 'comes back')};
    insert into visits select i, ${EDGE} + i * interval '1 day', 'visit ' || i from generate_series(-5, 5) i`);
  await scenario.walhouse.start();
  await scenario.applied();
});
afterAll(async () => {
  await scenario.close();
  await clickhouse.close();
});

function payment(id: number, date: string, method: string, ingested = 'now()'): string {
  return `insert into payments values (${id}, 1, 1, 1.25, '${method}', 'Paid', ${date}, ${ingested})`;
}

const command = (...args: string[]) => cli([...args, '--config', scenario.walhouse.configPath]);
const data = () => `${clickhouse.directory}/data`;

describe('retention, with a ClickHouse in Auckland', () => {
  it('a snapshot does not load what is past its retention, nor does anything that is made of it', async () => {
    await scenario.expectEqual();
    expect(await filesWith(data(), marker.kept)).not.toEqual([]);
    expect(await filesWith(data(), marker.snapshot)).toEqual([]);
    expect(await filesWith(data(), marker.refused)).toEqual([]);
  });

  it('a row that the snapshot left out is there once its date is moved within, and gone when it is moved beyond', async () => {
    const move = (date: string) => `update payments set payment_date = ${date} where payment_id = 8`;
    for (const date of [
      'now()',
      `'2290-01-01'`,
      `'1900-01-01'`,
      `'2105-01-01'`,
      `${EDGE} - interval '1 second'`,
    ]) {
      await scenario.sql(move(date));
      await scenario.expectEqual('public.payments');
    }
    await scenario.sql(move('now()'));
    await scenario.sql(`
      update visits set payment_date = payment_date + interval '20 days' where id < 0;
      update visits set payment_date = payment_date - interval '30 days' where id > 0;
      delete from visits where id = 5`);
    await scenario.expectEqual();
    await scenario.expectRiskEqual([1n]);
  });

  it('retention removes what is past it from everything that holds it, beside the running service, and proves it', async () => {
    // Otherwise ClickHouse may have removed some by itself.
    await scenario.databases.clickhouse('system stop ttl merges');
    await scenario.sql(`
      ${payment(11, `${EDGE} - interval '1 second'`, marker.stream)};
      ${payment(12, `${EDGE} - interval '1 second'`, marker.refused, "'infinity'")};
      ${payment(13, 'now()', 'moved away')};
      update payments set payment_date = '1990-01-01', method = '${marker.stream}' where payment_id = 13;
      insert into visits values (100, ${EDGE} - interval '1 second', '${marker.stream}')`);
    await scenario.expectEqual('public.payments');
    expect(await filesWith(data(), marker.stream)).not.toEqual([]);
    expect(await filesWith(data(), marker.refused)).not.toEqual([]);
    expect((await scenario.walhouse.status()).tables['public.payments']!.quarantined).toBe(0);

    const { code, stdout, stderr } = await command('retention', '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { report, number, previous } = JSON.parse(stdout) as ChainedReport;
    expect({ number, previous, proven: report.proven }).toEqual({ number: 1, previous: '', proven: true });
    const { clickhouseDatabase: database } = scenario.databases;
    const found = Object.fromEntries(
      report.tables.map(({ name, of, before, after, unproven }) => [
        `${name.replace(database, '')} of ${of}`,
        [before.versions > 0, after, unproven],
      ]),
    );
    const none = { versions: 0, inactive_parts: 0, detached_parts: 0 };
    expect(found).toMatchObject({
      '_landing.payments of public.payments': [true, none, null],
      '_landing._walhouse_audit_payments of public.payments': [true, none, null],
      '_landing._walhouse_quarantine of public.payments': [true, none, null],
      '.payments_7d of public.payments': [false, none, null],
      '_landing.visits of public.visits': [true, none, null],
    });
    for (const text of [marker.stream, marker.refused]) expect(await filesWith(data(), text)).toEqual([]);
    expect(await filesWith(data(), marker.kept)).not.toEqual([]);
    await scenario.expectEqual();
    await scenario.expectRiskEqual([1n]);
    await scenario.databases.clickhouse('system start ttl merges');
  });

  it('what was removed does not come back when it is delivered again, nor with what comes later', async () => {
    await scenario.sql(`
      ${payment(21, 'now()', 'deleted later')};
      update payments set payment_date = '1990-01-01' where payment_id = 21`);
    await scenario.applied();
    await scenario.rememberPlace();
    await scenario.sql(`
      delete from payments where payment_id = 21;
      update payments set payment_date = now() where payment_id = 13`);
    await scenario.applied();
    expect((await command('retention')).code).toBe(0);
    await scenario.deliverAgain();
    await scenario.expectEqual();
    expect((await command('retention')).code).toBe(0);
    await scenario.expectEqual();
  });

  it('reports hold no personal data, are listed, and form a chain', async () => {
    const list = await command('reports', 'list', '--json');
    const reports = JSON.parse(list.stdout) as ChainedReport[];
    expect(reports.map(({ number }) => number)).toEqual([1, 2, 3]);
    expect(reports[2]!.previous).toBe(reports[1]!.hash);
    for (const text of Object.values(marker)) expect(list.stdout).not.toContain(text);
    const shown = await command('reports', 'show', '1');
    expect(shown.stdout).toMatch(
      /^report 1: walhouse retention, .*\n.*past their retention at .* UTC\n[^]*\nProven: /,
    );
    expect(shown.stdout).toContain(reports[0]!.hash);
    expect(await command('reports', 'verify', '--last', reports[1]!.hash)).toMatchObject({
      code: 0,
      stderr: '',
    });
    const { clickhouseDatabase: database } = scenario.databases;
    await scenario.databases.clickhouse(
      `alter table ${database}_landing._walhouse_reports delete where number = 2 settings mutations_sync = 1`,
    );
    expect(await command('reports', 'verify')).toMatchObject({
      code: 1,
      stdout: 'broken: report 2 is missing\n',
    });
  });
});
