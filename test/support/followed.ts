import { setTimeout as sleep } from 'node:timers/promises';
import type { Scenario } from './scenario.js';

const SETTLED_MS = 60_000;

/** The UUID of each landing table, by its name: one that was copied anew has another. */
export async function landingIdentities({ databases }: Scenario): Promise<Map<string, string>> {
  const rows = await databases.clickhouse<{ name: string; uuid: string }>(
    `select name, toString(uuid) as uuid from system.tables where database = '${databases.clickhouseDatabase}_landing'
        and not startsWith(name, '_walhouse')`,
  );
  return new Map(rows.map(({ name, uuid }) => [name, uuid]));
}

/** Far more often than anything is replaced, and not as often as the server could answer. */
const READ_EVERY_MS = 25;

/** Reads views over and over, as analysts would; `end` gives what ClickHouse refused. */
export function readOn({ databases }: Scenario, views: readonly string[]): { end(): Promise<string[]> } {
  const failures: string[] = [];
  let ended = false;
  const loops = views.map(async (view) => {
    while (!ended) {
      const response = await fetch(databases.clickhouseUrl, {
        method: 'POST',
        body: `select * from ${databases.clickhouseDatabase}.${view} format Null`,
      });
      const text = await response.text();
      if (!response.ok) failures.push(`${view}: ${text.slice(0, 300)}`);
      await sleep(READ_EVERY_MS);
    }
  });
  return {
    end: async () => {
      ended = true;
      await Promise.all(loops);
      return failures;
    },
  };
}

/**
 * Waits until the service has seen the catalog as it is now, every table streams, and all are equal. Nothing may write
 * meanwhile.
 */
export async function settled(scenario: Scenario): Promise<void> {
  const deadline = performance.now() + SETTLED_MS;
  let last = '';
  while (performance.now() < deadline) {
    try {
      await refuseUnseen(scenario);
      const { tables } = await scenario.walhouse.status();
      const busy = Object.entries(tables).filter(([, { state }]) => state !== 'streaming');
      if (busy.length > 0) throw new Error(JSON.stringify(busy));
      await scenario.expectEqual();
      return;
    } catch (error) {
      last = String(error);
    }
    await sleep(100);
  }
  throw new Error(`${last}\n${scenario.walhouse.output.slice(-3000)}`);
}

/** Throws where what is remembered of a table's columns and partitions is not what is there. */
async function refuseUnseen(scenario: Scenario): Promise<void> {
  const there = await scenario.sql(
    `select n.nspname || '.' || r.relname as id,
            (select string_agg(a.attnum || ':' || a.xmin::text, ',' order by a.attnum)
               from pg_attribute a where a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped) as columns,
            (select string_agg(t.relid::oid || ':' || c.relfilenode, ',' order by t.relid::oid)
               from pg_partition_tree(r.oid) t join pg_class c on c.oid = t.relid
              where r.relkind = 'p' and t.isleaf) as leaves
       from pg_class r join pg_namespace n on n.oid = r.relnamespace where r.relkind in ('r', 'p')`,
  );
  const seen = await scenario.databases.clickhouse<{ id: string; stamp: string }>(
    `select id, stamp from ${scenario.databases.clickhouseDatabase}_landing._walhouse_tables final where stamp <> ''`,
  );
  if (seen.length === 0) throw new Error('nothing was looked at yet');
  for (const { id, stamp } of seen) {
    const { columns, leaves } = JSON.parse(stamp) as {
      columns: string;
      leaves: { oid: number; file: string }[];
    };
    const table = there.find((row) => row['id'] === id);
    if (table === undefined) continue;
    const known = leaves.length === 0 ? null : leaves.map(({ oid, file }) => `${oid}:${file}`).join(',');
    if (columns !== table['columns'] || known !== table['leaves']) throw new Error(`${id} was not looked at`);
  }
}
