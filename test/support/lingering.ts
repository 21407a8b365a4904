import { randomUUID } from 'node:crypto';
import { setTimeout as later } from 'node:timers/promises';
import { clickhouseQuery } from './clickhouse-query.js';

/** A query that reads a table or view for a minute and more, unless `cancel` ends it, which gives its answer if it had one. */
export function linger(
  clickhouseUrl: string,
  from: string,
): { begun(): Promise<void>; cancel(): Promise<string | null> } {
  const id = randomUUID();
  const settings = `max_block_size=1&max_threads=1&function_sleep_max_microseconds_per_block=100000000&query_id=${id}`;
  const query = fetch(`${clickhouseUrl}/?${settings}`, {
    method: 'POST',
    body: `select sum(sleepEachRow(1)) from ${from}`,
  }).then(
    async (response): Promise<string | null> => (response.ok ? response.text() : null),
    () => null,
  );
  return {
    // Not as soon as it is known: until it reads, it has no part of the table yet.
    begun: async () => {
      const reads = `select 1 from system.processes where query_id = '${id}' and read_rows > 0`;
      while ((await clickhouseQuery(clickhouseUrl, reads)).length === 0) await later(20);
    },
    cancel: async () => {
      await clickhouseQuery(clickhouseUrl, `kill query where query_id = '${id}' sync`);
      return query;
    },
  };
}
