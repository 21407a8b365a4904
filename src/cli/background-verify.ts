import { WalhouseError } from '../pipeline/errors.js';
import { BackgroundVerify } from '../ops/verify/background.js';
import { LOAD_DEFAULT, loadOf } from '../ops/verify/load.js';
import { verify } from '../ops/verify/verify.js';
import type { StatusDocument } from '../ops/status.js';
import type { Log } from '../pipeline/log.js';
import { formatLsn, type Lsn } from '../pipeline/lsn.js';
import type { Replicator } from '../pipeline/replicator.js';
import { createSinkClient } from '../sink/client.js';
import type { Config } from './config.js';
import { maskerOf } from './masking.js';

/** How long the stream may take to come to a position before the table is left for the next round. */
const POSITION_MS = 120_000;

export interface RunningVerify {
  readonly results: BackgroundVerify['results'];
  /** Has these tables compared now. */
  ask(tables: readonly string[]): void;
  start(): void;
  close(): Promise<void>;
}

/** The comparison that goes on beside the service: as often as `verify` configures it, and when it is asked for. */
export function backgroundVerify(
  config: Config,
  replicator: Replicator,
  status: () => StatusDocument,
  log: Log,
): RunningVerify {
  const { every: everyMs = null, max_load: maxLoad = LOAD_DEFAULT } = config.verify ?? {};
  const clickhouse = createSinkClient(config.sink, { readOnly: true });
  const tables = new Map(Object.entries(config.tables));
  const masker = maskerOf(config);
  const applied = async (position: Lsn, signal: AbortSignal): Promise<StatusDocument> => {
    if (await replicator.waitFor(position, POSITION_MS, signal)) return status();
    signal.throwIfAborted();
    throw new WalhouseError('sink_timeout', {
      what: `ClickHouse did not come to ${formatLsn(position)} in ${POSITION_MS / 1_000} s.`,
      why: 'The two sides can only be compared at one position.',
      fix: 'walhouse status',
    });
  };
  const background = new BackgroundVerify({
    everyMs,
    tables: [...tables.keys()],
    verify: (table, signal) =>
      verify({
        sourceUrl: config.source.url,
        clickhouse,
        database: config.sink.database,
        tables,
        masker,
        selections: config.tables,
        only: [table],
        load: loadOf(maxLoad),
        applied: (position) => applied(position, signal),
        signal,
      }),
    isFree: () =>
      replicator.state === 'streaming' &&
      [...replicator.tables.values()].every(
        ({ state, repairing }) => (state === 'streaming' && !repairing) || state === 'stopped',
      ),
    log,
  });
  return {
    results: background.results,
    ask: (asked) => background.ask(asked),
    start: () => background.start(),
    async close() {
      await background.close();
      await clickhouse.close();
    },
  };
}
