import { fileURLToPath } from 'node:url';
import { createApi } from '../api/app.js';
import { parseKeys } from '../api/keys.js';
import { createRiskReader } from '../api/risk.js';
import { serveApi } from '../api/serve.js';
import { positionsOf } from '../ops/positions.js';
import { statusOf } from '../ops/status-of.js';
import type { Log } from '../pipeline/log.js';
import { Replicator } from '../pipeline/replicator.js';
import { createSinkClient } from '../sink/client.js';
import { loadMarts } from '../sink/marts.js';
import { openSink } from '../sink/sink.js';
import { openSource } from '../source/source.js';
import { listenAddress, type Config } from './config.js';

/** A batch goes at the latest when it holds this much; the next fills meanwhile. */
const LIMITS = { batchRowsMax: 100_000, batchBytesMax: 16 * 1024 * 1024 };

export interface Service {
  /** Where the API listens. */
  readonly url: string;
  readonly replicator: Replicator;
  /** Resolves after `close`; rejects when the service was refused before it ever streamed. */
  readonly finished: Promise<void>;
  /** Finishes what it took on, confirms it, and stops. */
  close(): Promise<void>;
}

/** Puts the rooms together as the configuration says. The API listens at once and answers 503 until it knows better. */
export async function startService(config: Config, log: Log): Promise<Service> {
  const keys = parseKeys(config.api.keys ?? '');
  const client = createSinkClient(config.sink.url);
  const sink = openSink({
    client,
    database: config.sink.database,
    tables: new Map(Object.entries(config.tables)),
    marts: loadMarts(fileURLToPath(new URL('../../clickhouse', import.meta.url)), config.marts),
    log,
  });
  const replicator = new Replicator({
    openSource: () => openSource({ ...config.source, tables: Object.keys(config.tables), log }),
    sink,
    slot: config.source.slot,
    limits: LIMITS,
    log,
  });
  const positions = positionsOf(replicator);
  const api = createApi({
    risk: createRiskReader({ client, database: config.sink.database, positions }),
    positions,
    status: () => statusOf(replicator, sink),
    keys,
    log,
  });
  const server = await serveApi(api, listenAddress(config.api.listen));
  log.info({ url: server.url }, 'the API listens');
  const finished = replicator.run().finally(async () => {
    await server.close();
    await sink.close();
    await client.close();
  });
  return {
    url: server.url,
    replicator,
    finished,
    async close() {
      await server.close();
      await replicator.close();
      await finished;
    },
  };
}
