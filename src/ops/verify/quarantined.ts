import type { ClickHouseClient } from '@clickhouse/client';
import { qualified } from '../../sink/identifier.js';
import { IN_RETENTION } from '../../sink/quarantine.js';
import type { ComparedTable } from './compared-table.js';
import { askClickHouse } from './sides.js';

/** The keys of a table's rows in quarantine: each a JSON list of Postgres's texts, in the order of the key. */
export async function quarantinedKeys(
  client: ClickHouseClient,
  table: ComparedTable,
): Promise<ReadonlySet<string>> {
  const rows = await askClickHouse<{ key: string }>(
    client,
    `select distinct key from ${qualified(table.landing.database, '_walhouse_quarantine')} where table = {table:String} and ${IN_RETENTION}`,
    { table: table.relation.id },
  );
  const names = table.key.map((place) => table.checked[place]!.column.name);
  return new Set(
    rows.map(({ key }) => {
      const texts = JSON.parse(key) as Record<string, string | null>;
      return JSON.stringify(names.map((name) => texts[name] ?? null));
    }),
  );
}
