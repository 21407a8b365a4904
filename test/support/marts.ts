import { createClient } from '@clickhouse/client';
import pg from 'pg';
import { expect } from 'vitest';
import { readDomains } from '../../src/cli/domain.js';
import { compareMart } from '../../src/ops/compare/compare-mart.js';
import type { Scenario } from './scenario.js';

/** The questions of a domain's marts in SQL on Postgres, by the mart's name. */
export async function oraclesOf(domain: string): Promise<ReadonlyMap<string, string>> {
  const [read] = await readDomains(domain);
  return new Map(read!.oracles.map(({ mart, sql }) => [mart, sql]));
}

/** Compares what each mart (or view, in the people's database) shows with its question on Postgres, at the position of now. */
export async function expectMartsEqual(
  scenario: Scenario,
  oracles: Iterable<readonly [mart: string, sql: string]>,
  /** `shown`: an empty mart is a failure too. */
  { shown = false } = {},
): Promise<void> {
  const { databases } = scenario;
  await scenario.applied();
  const postgres = new pg.Client({ connectionString: databases.postgresUrl });
  const clickhouse = createClient({ url: databases.clickhouseUrl });
  await postgres.connect();
  try {
    for (const [mart, sql] of oracles) {
      const view = { database: databases.clickhouseDatabase, name: mart };
      const found = await compareMart(postgres, clickhouse, view, sql);
      expect(found, `${mart}: ${JSON.stringify(found)}`).toMatchObject({
        equal: true,
        columns: { missing: [], extra: [] },
      });
      if (shown) expect(found.rowsPostgres, `${mart} shows nothing`).toBeGreaterThan(0);
    }
  } finally {
    await postgres.end();
    await clickhouse.close();
  }
}
