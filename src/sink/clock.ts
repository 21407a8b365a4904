import type { Server } from './server.js';

/** ClickHouse's clock, by which rows expire: UTC to the microsecond, as it reads a DateTime64. */
export async function nowOf(server: Server): Promise<string> {
  const [row] = await server.rows<{ now: string }>(
    `select toString(now64(6, 'UTC')) as now`,
    'asking for the time',
  );
  return row!.now;
}
