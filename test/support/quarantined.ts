import { createClient } from '@clickhouse/client';
import pg from 'pg';
import { expect } from 'vitest';
import { compareTable } from '../../src/ops/compare/compare-table.js';
import { readComparedRelation } from '../../src/ops/compare/relation.js';
import type { Scenario } from './scenario.js';

/** By table of schema public: the ids of rows that must be in quarantine and visible to nobody. */
export type QuarantinedIds = ReadonlyMap<string, readonly number[]>;

/**
 * Compares every table with its view, value for value, but for the rows that must be in quarantine: those must be missing, and the
 * quarantine must have them with a reason. Nothing may write meanwhile.
 */
export async function expectEqualBut(scenario: Scenario, quarantined: QuarantinedIds): Promise<void> {
  await scenario.applied();
  const { databases } = scenario;
  const kept = await databases.clickhouse<{ table: string; ids: number[]; rows: string; vague: string }>(
    `select table, arraySort(groupUniqArray(toInt32(JSONExtractString(key, 'id')))) as ids, toString(count()) as rows,
            toString(countIf(reason = '' or column = '')) as vague
     from ${databases.clickhouseDatabase}_landing._walhouse_quarantine final group by table`,
  );
  const status = await scenario.walhouse.status();
  const client = new pg.Client({ connectionString: databases.postgresUrl });
  const clickhouse = createClient({ url: databases.clickhouseUrl });
  await client.connect();
  try {
    for (const [table, ids] of quarantined) {
      const found = await compareTable({
        postgres: client,
        clickhouse,
        relation: await readComparedRelation(client, 'public', table),
        view: { database: databases.clickhouseDatabase, name: table },
        quarantined: ids.map((id) => [String(id)]),
      });
      expect(found, `${table}: ${JSON.stringify(found)}`).toMatchObject({
        equal: true,
        quarantined: ids.length,
      });
      const rows = kept.find((row) => row.table === `public.${table}`);
      expect(rows?.ids ?? [], table).toEqual(expect.arrayContaining([...ids]));
      expect(rows?.vague ?? '0', `${table}: a reason and a column each`).toBe('0');
      expect([table, status.tables[`public.${table}`]!.quarantined]).toEqual([
        table,
        Number(rows?.rows ?? 0),
      ]);
    }
  } finally {
    await client.end();
    await clickhouse.close();
  }
}
