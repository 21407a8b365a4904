import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createGenerator } from '../../src/dev/receivables/generator.js';
import { LiveTraffic } from '../../src/dev/traffic.js';
import { silentLog } from '../../src/pipeline/log.js';
import { cli } from '../support/cli.js';
import { expectMartsEqual, oraclesOf } from '../support/marts.js';
import { Scenario } from '../support/scenario.js';

const FOLDER = join(process.env['WALHOUSE_DATA'] ?? '', 'receivables');
const isThere = process.env['WALHOUSE_DATA'] !== undefined && existsSync(join(FOLDER, 'invoices.csv'));
const FILES = ['accounts', 'skus', 'invoices', 'invoice_line_items'] as const;

if (!isThere)
  process.stdout.write('left out: WALHOUSE_DATA names no folder with receivables/invoices.csv in it\n');

describe.skipIf(!isThere)('a supplier’s real invoices', () => {
  let scenario: Scenario | null = null;
  afterAll(() => scenario?.close());

  it('are loaded from their files, followed, and give the marts that Postgres gives, before and after live changes', async () => {
    const oracles = await oraclesOf('receivables');
    scenario = await Scenario.open('real_receivables', {
      schema: '',
      tables: Object.fromEntries(FILES.map((file) => [`receivables.${file}`, { history: true }])),
      marts: ['receivables'],
    });
    const { postgresUrl: url, clickhouseDatabase: shop } = scenario.databases;
    const loaded = await cli(['load', 'receivables', '--from', FOLDER], { SOURCE_URL: url });
    expect(loaded.stderr).toBe('');
    expect(loaded.code).toBe(0);
    // A line of these files has no line break in it.
    const lines = (file: string): number => readFileSync(join(FOLDER, `${file}.csv`), 'utf8').trimEnd().split('\n').length - 1; // prettier-ignore
    await scenario.walhouse.start();
    await scenario.expectEqual();
    for (const file of FILES) {
      expect(await scenario.databases.clickhouse(`select toUInt32(count()) as rows from ${shop}.receivables_${file}`)).toEqual([
        { rows: lines(file) },
      ]); // prettier-ignore
    }
    await expectMartsEqual(scenario, oracles);
    const [figures] = await scenario.databases.clickhouse(
      `select count() as invoices, countIf(is_late = 1) as late, countIf(is_late is null) as undecided, uniqExact(acct_id) as accounts,
         uniqExactIf(acct_id, is_late = 1) as accounts_with_late, sum(inv_items) as items, toString(sum(inv_total)) as worth,
         toString(sumIf(inv_total, is_late = 1)) as worth_late, max(num_inv_120d) as most_within_120_days,
         max(cum_tot_inv_acct) as most_of_an_account, min(acct_age) as youngest_account, max(acct_age) as oldest_account
       from ${shop}.invoice_features`,
    );
    process.stdout.write(`${loaded.stdout}${JSON.stringify(figures, null, 2)}\n`);

    const traffic = new LiveTraffic(createGenerator({ seed: 3 }), {
      url,
      seed: 3,
      ratePerSecond: 200,
      log: silentLog,
    });
    try {
      expect(await traffic.load()).toEqual({ loaded: false });
      await traffic.start();
      await expect.poll(() => traffic.transactions, { timeout: 60_000, interval: 20 }).toBeGreaterThan(300);
    } finally {
      await traffic.stop();
    }
    await expectMartsEqual(scenario, oracles);
    const again = `select * from ${shop}.invoice_features_at(ts = now64(6, 'UTC'))`;
    const hash = (of: string): Promise<unknown[]> =>
      scenario!.databases.clickhouse(`select count() as rows, sum(cityHash64(*)) as hash from (${of})`);
    expect(await hash(again)).toEqual(await hash(`select * from ${shop}.invoice_features`));
  }, 120_000);
});
