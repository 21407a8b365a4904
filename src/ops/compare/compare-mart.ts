import type { ClickHouseClient } from '@clickhouse/client';
import type { ClientBase } from 'pg';

import { compareTable, type TableComparison } from './compare-table.js';
import { readComparedRelation } from './relation.js';
import type { ComparedView } from './sides.js';

/** What is to leave or to enter a window while it is asked for twice, once by each server, may differ; hardly so three times. */
const ATTEMPTS_MAX = 3;

/**
 * Compares what a mart shows with the same question in SQL on Postgres, row by row and column by column under the names
 * that both give them. Both sides must stand still at one position. Writes to a temporary table of the session alone.
 *
 * @throws what Postgres says of the question
 */
export async function compareMart(
  postgres: ClientBase,
  clickhouse: ClickHouseClient,
  view: ComparedView,
  oracle: string,
): Promise<TableComparison> {
  for (let attempt = 1; ; attempt++) {
    await postgres.query(`set timezone = 'UTC'`);
    await postgres.query(`drop table if exists pg_temp.walhouse_oracle`);
    await postgres.query(`create temporary table walhouse_oracle as ${oracle}`);
    const { rows } = await postgres.query<{ schema: string }>(
      'select pg_my_temp_schema()::regnamespace::text as schema',
    );
    const relation = await readComparedRelation(postgres, rows[0]!.schema, 'walhouse_oracle');
    const found = await compareTable({ postgres, clickhouse, relation, view });
    if (found.equal || attempt === ATTEMPTS_MAX) return { ...found, table: view.name };
  }
}
