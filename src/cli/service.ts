import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { isDeepStrictEqual } from 'node:util';
import { Registry } from 'prom-client';
import { createApi } from '../api/api.js';
import { parseKeys } from '../api/keys.js';
import { notTheWriter, notYet } from '../api/failures.js';
import { ApiMetrics } from '../api/metrics.js';
import { clickHousePictures } from '../api/pictures-clickhouse.js';
import { serveApi } from '../api/serve.js';
import { addProcessMetrics } from '../ops/metrics/process.js';
import { addStandingMetrics } from '../ops/metrics/standing.js';
import { addTraceMetrics } from '../ops/metrics/traces.js';
import { addWorkMetrics } from '../ops/metrics/work.js';
import { positionsOf } from '../ops/positions.js';
import { SourceWatch } from '../ops/source-watch.js';
import type { StatusDocument } from '../ops/status.js';
import { statusOf } from '../ops/status-of.js';
import { StandingHistory } from '../ops/standing-history.js';
import { StoredPositions } from '../ops/stored-positions.js';
import { endsWithin } from '../pipeline/backoff.js';
import type { Log } from '../pipeline/log.js';
import { Replicator } from '../pipeline/replicator.js';
import type { Sink } from '../pipeline/sink.js';
import type { Source } from '../pipeline/source.js';
import { createSinkClient } from '../sink/client.js';
import { openSink } from '../sink/sink.js';
import { openSource } from '../source/source.js';
import { backgroundVerify, type RunningVerify } from './background-verify.js';
import { listenAddress, unprotected, type Config } from './config.js';
import { maskerOf } from './masking.js';
import { readPages } from './domain.js';
import { configuredMarts, RISK_TABLES, riskReader } from './payments-marts.js';
import { examine, refuseFixed, withoutKeys } from './reconfigure.js';
import { retentionStanding } from './standing.js';
import { version } from './version.js';

/** How long whoever leaves waits for answers that are on their way, before what they wait for is broken off. */
const ANSWERS_MS = 2_000;
/** A batch goes at the latest when it holds this much; the next fills meanwhile. */
const LIMITS = { batchRowsMax: 100_000, batchBytesMax: 16 * 1024 * 1024 };

export interface Service {
  /** Where the API listens. */
  readonly url: string;
  /** null in an instance that only reads. */
  readonly replicator: Replicator | null;
  /** Resolves after `close`; rejects when the service was refused before it ever streamed. */
  readonly finished: Promise<void>;
  /**
   * Goes on with another configuration: tables, marts and what else is not about where things are. The API listens on and the slot stays.
   * Resolves to false where it is the same as before. Rejects with a WalhouseError, having changed nothing, where it is refused.
   */
  reconfigure(config: Config): Promise<boolean>;
  /** Finishes what it took on, confirms it, and stops. */
  close(): Promise<void>;
}

/**
 * Puts the rooms together as the configuration says. The API listens at once and answers 503 until it knows better. With `apiOnly`
 * it reads what another instance stores, and writes nothing on either side.
 */
export async function startService(
  config: Config,
  log: Log,
  options: { readonly apiOnly?: boolean } = {},
): Promise<Service> {
  const client = createSinkClient(config.sink);
  // Questions must not queue behind inserts.
  const askClient = createSinkClient(config.sink);
  let current = config;
  const token = randomUUID();
  let sink = makeSink(config, client, log, token);
  const connect = (to: Config) => (): Promise<Source> =>
    openSource({ ...to.source, tables: Object.keys(to.tables), selections: to.tables, log });
  const registry = new Registry();
  addProcessMetrics(registry, version());
  const tracing =
    config.tracing === undefined
      ? null
      : (await import('../ops/tracing.js')).openTracing({
          ...config.tracing,
          version: version(),
          log,
          meter: addTraceMetrics(registry),
        });
  const meter = addWorkMetrics(registry, () => replicator?.tables ?? new Map());
  const replicator: Replicator | null =
    options.apiOnly === true
      ? null
      : new Replicator({
          openSource: connect(config),
          sink,
          slot: config.source.slot,
          limits: LIMITS,
          log,
          meter,
          tracer: tracing?.tracer,
        });
  const stored = new StoredPositions({
    sink: { stored: () => sink.stored(), loadTables: () => sink.loadTables() },
    log,
  });
  const watch = new SourceWatch({
    openSource: () => connect(current)(),
    progress: stored.progress,
    slotName: () => current.source.slot,
    isStreaming: () => replicator?.attached === true,
    log,
  });
  const configured = (): readonly string[] => Object.keys(current.tables);
  const positions = positionsOf({
    replicator,
    stored,
    tables: () => (current.marts.includes('payments') ? RISK_TABLES : configured()),
  });
  /** What changes something is done by the instance that streams. */
  const streaming = (): Replicator => {
    if (replicator?.state === 'starting' && stored.isOurs !== true) throw notYet();
    if (replicator !== null && replicator.state !== 'standby') return replicator;
    throw notTheWriter(replicator === null ? 'api_only' : 'standby', stored.owner?.instance ?? null);
  };
  const status = (): StatusDocument =>
    statusOf({
      replicator,
      stored,
      sink,
      source: watch,
      tables: configured(),
      verified: background?.results,
      history,
    });
  const history = new StandingHistory();
  addStandingMetrics(registry, status);
  const metrics = new ApiMetrics(registry);
  const compare = (): RunningVerify | null =>
    replicator === null ? null : backgroundVerify(current, replicator, status, log);
  let background = compare();
  const apiOf = (to: Config) => {
    const risk = riskReader(to, askClient, positions);
    return createApi({
      risk,
      payments: risk,
      windowsMs: to.risk.windows,
      positions,
      pictures: clickHousePictures(askClient, to.sink.database, readPages(to.marts)),
      status,
      history: () => history.samples,
      retention: () => retentionStanding(to, askClient),
      control: {
        async resync(table) {
          if (!Object.hasOwn(to.tables, table)) return false;
          await streaming().resync([table], false);
          // What was found different is looked at again once it is copied.
          if (background?.results.get(table)?.verdict === 'different') background.ask([table]);
          return true;
        },
        async repair(table, keys) {
          return Object.hasOwn(to.tables, table) ? streaming().repair(table, keys) : null;
        },
        resyncAll: async () => streaming().resync(configured(), true),
        verify(table) {
          if (table !== null && !Object.hasOwn(to.tables, table)) return false;
          streaming();
          background?.ask(table === null ? configured() : [table]);
          return true;
        },
        pause: async () => streaming().pause(),
        resume: () => streaming().resume(),
      },
      keys: parseKeys(to.api.keys ?? ''),
      log,
      metrics,
      tracer: tracing?.tracer,
      version: version(),
    });
  };
  let api = apiOf(config);
  const server = await serveApi(
    { fetch: (request, bindings) => api.fetch(request, bindings) },
    listenAddress(config.api.listen),
  );
  log.info({ url: server.url }, 'the API listens');
  for (const warning of unprotected(config)) log.warn({}, warning);
  stored.start();
  watch.start();
  history.start(status);
  background?.start();
  const reading = new AbortController();
  const running = replicator === null ? untilAborted(reading.signal) : replicator.run();
  const finished = running.finally(async () => {
    await server.close();
    history.close();
    await background?.close();
    await watch.close();
    await stored.close();
    await sink.close();
    await client.close();
    await askClient.close();
    await tracing?.close();
  });
  return {
    url: server.url,
    replicator,
    finished,
    async reconfigure(to) {
      if (isDeepStrictEqual(current, to)) return false;
      refuseFixed(current, to);
      // Whatever can be wrong with it is found out before anything changes.
      const nextApi = apiOf(to);
      if (isDeepStrictEqual(withoutKeys(current), withoutKeys(to))) {
        // Who may ask is no business of the stream's.
        current = to;
        api = nextApi;
        return true;
      }
      const nextSink = makeSink(to, client, log, token);
      if (replicator !== null)
        await examine({ config: current, sink }, { config: to, sink: nextSink }, connect(to));
      const former = { sink, background };
      await former.background?.close();
      current = to;
      sink = nextSink;
      api = nextApi;
      await replicator?.reconfigure({ sink, openSource: connect(to) });
      await former.sink.close();
      background = compare();
      background?.start();
      return true;
    },
    async close() {
      // Answers that are nearly ready are given; whoever waits for something that takes longer learns that it is broken off.
      await endsWithin(ANSWERS_MS, server.close());
      await background?.close();
      await replicator?.close();
      reading.abort();
      // Why it was refused is for who waits for that.
      await finished.catch(() => undefined);
    },
  };
}

/** The ClickHouse side as configured; talks to no server yet. */
export function makeSink(
  config: Config,
  client: ReturnType<typeof createSinkClient>,
  log: Log,
  token?: string,
): Sink {
  return openSink({
    client,
    database: config.sink.database,
    tables: new Map(Object.entries(config.tables)),
    marts: configuredMarts(config),
    log,
    masker: maskerOf(config),
    instance: `${hostname()}:${process.pid} http://${config.api.listen}`,
    token,
  });
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
