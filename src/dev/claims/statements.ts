import type { ClientBase } from 'pg';

import { asTransaction } from '../traffic.js';
import type { Case, Row } from './case.js';

/** One statement with its bound values. */
export interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

export function insert(table: keyof Case, rows: readonly Row[]): Statement {
  return {
    text: `insert into claims.${table} select * from jsonb_populate_recordset(null::claims.${table}, $1::jsonb)`,
    values: [JSON.stringify(rows)],
  };
}

/** Runs these as one transaction and resolves to the rows changed; 0 where it is rolled back. */
export async function runStatements(
  client: ClientBase,
  statements: readonly Statement[],
  commit: boolean,
): Promise<number> {
  const [only] = statements;
  if (commit && statements.length === 1 && only !== undefined) return run(client, only);
  return asTransaction(
    client,
    commit,
    statements.map((statement) => () => run(client, statement)),
  );
}

async function run(client: ClientBase, { text, values }: Statement): Promise<number> {
  return (await client.query({ text, values: [...values] })).rowCount ?? 0;
}
