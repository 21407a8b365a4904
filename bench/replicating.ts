import { Replicator } from '../src/pipeline/replicator.js';
import { lsnFrom } from '../src/pipeline/lsn.js';
import { silentLog } from '../src/pipeline/log.js';
import { createSinkClient } from '../src/sink/client.js';
import { openSink } from '../src/sink/sink.js';
import { openSource } from '../src/source/source.js';

/**
 * Walhouse's own way: source, pipeline and sink as the service has them, until a position is durable in ClickHouse.
 *
 * Usage: replicating.ts URL CLICKHOUSE_URL SLOT DECODER DATABASE TARGET_LSN|snapshot.
 * Prints {"seconds", "cpuSeconds", "peakMb"}: from the moment it streams until the target is durable.
 */
const [url, clickhouseUrl, slot, decoder, database, target] = process.argv.slice(2) as [
  string,
  string,
  string,
  'wal2json' | 'pgoutput',
  string,
  string,
];
const tables = ['public.bench_changes'];
const client = createSinkClient({ url: clickhouseUrl });
const sink = openSink({
  client,
  database,
  tables: new Map(tables.map((id) => [id, { history: false }])),
  marts: [],
  log: silentLog,
});
let beganAt = 0;
const log = {
  ...silentLog,
  info: (_: object, message: string) => {
    if (message === 'streaming') beganAt = performance.now();
  },
};
const replicator = new Replicator({
  openSource: () => openSource({ url, slot, publication: 'bench', decoder, tables, log: silentLog }),
  sink,
  slot,
  limits: { batchRowsMax: 100_000, batchBytesMax: 16 * 1024 * 1024 },
  log,
});
const cpuBefore = process.cpuUsage();
const running = replicator.run();
running.catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
if (target === 'snapshot') {
  while (replicator.state !== 'streaming') await new Promise((resolve) => setTimeout(resolve, 20));
} else {
  if (!(await replicator.waitFor(lsnFrom(target), 600_000))) throw new Error('the target was not reached');
}
const seconds = (performance.now() - beganAt) / 1000;
const cpu = process.cpuUsage(cpuBefore);
const peakMb = Math.round(process.resourceUsage().maxRSS / 1024);
console.log(JSON.stringify({ seconds, cpuSeconds: (cpu.user + cpu.system) / 1e6, peakMb }));
await replicator.close();
await running;
await sink.close();
await client.close();
process.exit(0);
