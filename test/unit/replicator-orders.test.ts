import { expect, it } from 'vitest';
import { WalhouseError, type ErrorKind } from '../../src/pipeline/errors.js';
import { silentLog } from '../../src/pipeline/log.js';
import type { Lsn } from '../../src/pipeline/lsn.js';
import { NO_METER } from '../../src/pipeline/meter.js';
import type { Relation } from '../../src/pipeline/relation.js';
import { Replicator } from '../../src/pipeline/replicator.js';
import type { Source } from '../../src/pipeline/source.js';
import { MemorySink } from '../support/memory-sink.js';
import { QUIET_CHECKPOINT, quietSource, until } from '../support/quiet-source.js';
import { relationOf } from '../support/tuples.js';

const TABLES = ['public.a', 'public.b'].map((id) => relationOf(id, { id: 'int8 not null' }));

/** ClickHouse as a run left it, with all tables whole. */
class LeftSink extends MemorySink {
  readonly staged: string[] = [];

  constructor() {
    super();
    this.checkpoints.push({ ...QUIET_CHECKPOINT, exact: TABLES.map(({ id }) => id) });
  }

  override openStage(relation?: Relation): Promise<void> {
    this.staged.push(relation!.id);
    return Promise.resolve();
  }
}

/** A source that gives no snapshot at the moment. */
function sourceWithout(snapshot: () => void): Source {
  return {
    ...quietSource(TABLES).source,
    openSnapshot: () => {
      snapshot();
      const what = { what: 'no slot is free.', why: 'Nothing can be copied.', fix: 'wait' };
      return Promise.reject(new WalhouseError('source_unreachable', what));
    },
  };
}

function replicatorOver(source: Source, sink: LeftSink, retried: (reason: ErrorKind) => void): Replicator {
  return new Replicator({
    openSource: () => Promise.resolve(source),
    sink,
    slot: 'walhouse',
    limits: { batchRowsMax: 10, batchBytesMax: 1_000 },
    log: silentLog,
    meter: { ...NO_METER, retried },
  });
}

it('an order to copy a table anew is carried out, though the service has just read that the table is fit', async () => {
  const sink = new LeftSink();
  let asked = 0;
  let answer: () => void = () => {};
  // The last thing it asks before it streams, when all tables have been looked at.
  const currentLsn = (): Promise<Lsn> => {
    asked += 1;
    return asked === 1 ? Promise.resolve(500n) : new Promise((resolve) => (answer = () => resolve(500n)));
  };
  const replicator = replicatorOver({ ...sourceWithout(() => {}), currentLsn }, sink, () => {});
  void replicator.run();
  await until(() => asked === 2);
  expect(replicator.attached).toBe(false);
  await replicator.resync(['public.b'], false);
  answer();
  await until(() => sink.staged.length > 0);
  expect(sink.staged).toEqual(['public.b']);
  await replicator.close();
});

it('a copy that failed and is tried again is counted with its reason, each time', async () => {
  const sink = new LeftSink();
  const retried: ErrorKind[] = [];
  let asked = 0;
  const source = sourceWithout(() => (asked += 1));
  const replicator = replicatorOver(source, sink, (reason) => retried.push(reason));
  void replicator.run();
  await until(() => replicator.attached);
  await replicator.resync(['public.a'], false);
  await until(() => retried.length === 3);
  expect(asked).toBe(3);
  expect(new Set(retried)).toEqual(new Set(['source_unreachable']));
  await replicator.close();
});
