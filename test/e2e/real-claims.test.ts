import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readDomains } from '../../src/cli/domain.js';
import { createGenerator } from '../../src/dev/claims/generator.js';
import { LiveTraffic } from '../../src/dev/traffic.js';
import { silentLog } from '../../src/pipeline/log.js';
import { cli } from '../support/cli.js';
import { expectMartsEqual, oraclesOf } from '../support/marts.js';
import { Scenario } from '../support/scenario.js';

const FOLDER = join(process.env['WALHOUSE_DATA'] ?? '', 'claims');
const isThere = process.env['WALHOUSE_DATA'] !== undefined && existsSync(join(FOLDER, 'claims.csv.gz'));

const title = isThere
  ? 'a health program’s real claims'
  : 'a health program’s real claims (left out: WALHOUSE_DATA names no folder with claims/claims.csv.gz in it)';

describe.skipIf(!isThere)(title, () => {
  let scenario: Scenario | null = null;
  afterAll(() => scenario?.close());

  it('are loaded from their files, followed, and give the marts that Postgres gives, before and after live changes', async () => {
    const oracles = await oraclesOf('claims');
    const [domain] = await readDomains('claims');
    scenario = await Scenario.open('real_claims', {
      schema: '',
      tables: domain!.tables as Record<string, object>,
      marts: ['claims'],
    });
    const { postgresUrl: url, clickhouseDatabase: shop } = scenario.databases;
    const loaded = await cli(['load', 'claims', '--from', FOLDER], { SOURCE_URL: url }, 150_000);
    expect(loaded).toMatchObject({ code: 0, stderr: '' });
    await scenario.walhouse.start();
    await scenario.expectEqual();
    await expectMartsEqual(scenario, oracles);
    const ask = (sql: string): Promise<Record<string, unknown>[]> =>
      scenario!.databases.clickhouse(sql.replaceAll('{db}', shop));
    const report = [
      loaded.stdout,
      ...(await ask(`select status, count() as n, countIf(is_suspicious = 1) as suspicious, toString(sum(counted_amount)) as counted
                     from {db}.claim_facts group by status order by n desc`)),
      ...(await ask('select rule, rows, of, round(share, 5) as share from {db}.claim_quality')),
      ...(await ask(`select sum(approved) as approved, sum(suspicious) as suspicious, toString(sum(approved_amount)) as amount,
                       toString(sum(approved_amount_all)) as everything, count() as rows from {db}.approvals_monthly`)),
    ];
    process.stdout.write(
      `${report.map((row) => (typeof row === 'string' ? row : JSON.stringify(row))).join('\n')}\n`,
    );

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
    await scenario.expectEqual();
    await expectMartsEqual(scenario, oracles);
  }, 600_000);
});
