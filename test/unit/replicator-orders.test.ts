import { expect, it } from 'vitest';
import { silentLog } from '../../src/pipeline/log.js';
import type { Lsn } from '../../src/pipeline/lsn.js';
import type { Relation } from '../../src/pipeline/relation.js';
import { Replicator } from '../../src/pipeline/replicator.js';
import { MemorySink } from '../support/memory-sink.js';
import { QUIET_CHECKPOINT, quietSource, until } from '../support/quiet-source.js';
import { relationOf } from '../support/tuples.js';

const TABLES = ['public.a', 'public.b'].map((id) => relationOf(id, { id: 'int8 not null' }));

class StagingSink extends MemorySink {
  readonly staged: string[] = [];

  constructor() {
    super();
    this.checkpoints.push({ ...QUIET_CHECKPOINT, exact: TABLES.map(({ id }) => id) });
  }

  override openStage(relation?: Relation): Promise<void> {
    this.staged.push(relation!.id);
    // A copy that does not come to its end.
    return new Promise(() => {});
  }
}

it('an order to copy a table anew is carried out, though the service has just read that the table is fit', async () => {
  const { source } = quietSource(TABLES);
  const sink = new StagingSink();
  let asked = 0;
  let answer: () => void = () => {};
  // The last thing it asks before it streams, when all tables have been looked at.
  const currentLsn = (): Promise<Lsn> => {
    asked += 1;
    return asked === 1 ? Promise.resolve(500n) : new Promise((resolve) => (answer = () => resolve(500n)));
  };
  const replicator = new Replicator({
    openSource: () => Promise.resolve({ ...source, currentLsn }),
    sink,
    slot: 'walhouse',
    limits: { batchRowsMax: 10, batchBytesMax: 1_000 },
    log: silentLog,
  });
  void replicator.run();
  await until(() => asked === 2);
  expect(replicator.attached).toBe(false);
  await replicator.resync(['public.b'], false);
  answer();
  await until(() => sink.staged.length > 0);
  expect(sink.staged).toEqual(['public.b']);
  await replicator.close();
});
