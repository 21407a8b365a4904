import { describe, expect, it } from 'vitest';
import { statusOf, type StatusOptions } from '../../src/ops/status-of.js';
import { StandingHistory } from '../../src/ops/standing-history.js';
import { StoredPositions } from '../../src/ops/stored-positions.js';
import { Backoff } from '../../src/pipeline/backoff.js';
import { WalhouseError, type ErrorKind } from '../../src/pipeline/errors.js';
import { silentLog } from '../../src/pipeline/log.js';
import { NO_METER } from '../../src/pipeline/meter.js';
import { Replicator } from '../../src/pipeline/replicator.js';
import type { Stored } from '../../src/pipeline/sink.js';
import type { Source } from '../../src/pipeline/source.js';
import { MemorySink } from '../support/memory-sink.js';
import { QUIET_CHECKPOINT, quietSource, until } from '../support/quiet-source.js';

const NOW_MS = 1_795_251_600_000;
const THREE_DAYS_MS = 3 * 86_400_000;

/** ClickHouse as a run left it: ten seconds ago all was known to be there up to two seconds before; the last commit is long ago. */
class LeftSink extends MemorySink {
  constructor() {
    super();
    this.checkpoints.push({
      ...QUIET_CHECKPOINT,
      committedAtUs: BigInt(NOW_MS - THREE_DAYS_MS) * 1000n,
      lagMs: 2_000,
    });
  }

  override async stored(): Promise<Stored> {
    const { owner, checkpoint } = await super.stored();
    return { owner, checkpoint: checkpoint === null ? null : { ...checkpoint, ageMs: 10_000 } };
  }

  /** What is saved from now on is not of interest. */
  override saveCheckpoint(): Promise<void> {
    return Promise.resolve();
  }
}

const unreachable = (): WalhouseError =>
  new WalhouseError('source_unreachable', {
    what: 'nobody answers.',
    why: 'Nothing can be read.',
    fix: 'start it',
  });

function replicatorOver(openSource: () => Promise<Source>) {
  const retried: ErrorKind[] = [];
  const sink = new LeftSink();
  const replicator = new Replicator({
    openSource,
    sink,
    slot: 'walhouse',
    limits: { batchRowsMax: 10, batchBytesMax: 1_000 },
    log: silentLog,
    now: () => NOW_MS,
    backoff: new Backoff({ firstMs: 1, longestMs: 2 }),
    meter: { ...NO_METER, retried: (reason) => retried.push(reason) },
  });
  return { replicator, sink, retried };
}

describe('after a restart', () => {
  it('the lag is what was stored of it and the time since, however long ago the last commit was', async () => {
    const { source } = quietSource();
    const { replicator } = replicatorOver(() => Promise.resolve(source));
    const running = replicator.run();
    await until(() => replicator.state === 'streaming');
    expect(replicator.progress.lagMs).toBe(12_000);
    await until(() => replicator.progress.sourceEnd !== null);
    expect(replicator.progress.lagBytes).toBe(400n);
    // A look at the end of the WAL that is not reached yet makes it no younger.
    expect(replicator.progress.lagMs).toBe(12_000);
    await replicator.close();
    await running;
  });
});

describe('while the source is away', () => {
  it('each try is told with its reason, and the lag in bytes is what is seen from outside the stream', async () => {
    const { source, cut } = quietSource();
    let opened = 0;
    const { replicator, sink, retried } = replicatorOver(() => {
      opened += 1;
      return opened === 1 ? Promise.resolve(source) : Promise.reject(unreachable());
    });
    const running = replicator.run();
    await until(() => replicator.progress.sourceEnd !== null);
    expect(retried).toEqual([]);
    cut(new WalhouseError('source_disconnected', { what: 'cut.', why: 'Nothing comes.', fix: 'wait' }));
    await until(() => retried.length >= 3);
    expect(retried.slice(0, 3)).toEqual(['source_disconnected', 'source_unreachable', 'source_unreachable']);

    const stored = new StoredPositions({ sink, log: silentLog, now: () => NOW_MS });
    const options: StatusOptions = {
      replicator,
      stored,
      sink,
      source: { slot: null, warning: null },
      tables: [],
      history: new StandingHistory(() => NOW_MS),
    };
    expect(statusOf(options, NOW_MS)).toMatchObject({ source_lsn: '0/1F4', lag_bytes: 400, lag_ms: 12_000 });
    stored.progress.sighted(1_000n, NOW_MS);
    expect(statusOf(options, NOW_MS)).toMatchObject({ source_lsn: '0/3E8', lag_bytes: 900, lag_ms: 12_000 });
    await replicator.close();
    await running;
  });
});
