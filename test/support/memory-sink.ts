import type { TransactionStart } from '../../src/pipeline/change.js';
import type { WalhouseError } from '../../src/pipeline/errors.js';
import type { Relation } from '../../src/pipeline/relation.js';
import type {
  Attached,
  Batch,
  Checkpoint,
  RepairWriter,
  Sink,
  SnapshotWriter,
  Stored,
  StoredTable,
} from '../../src/pipeline/sink.js';
import type { Tuple } from '../../src/pipeline/tuple.js';

/** One change as the sink was handed it: `commit:ordinal:op:first column`. */
export type StoredChange = string;

/** The sink's contract over arrays, for tests of the pipeline alone. `beforeStore` may fail or wait. */
export class MemorySink implements Sink {
  changes: StoredChange[] = [];
  batches: number[] = [];
  checkpoints: Checkpoint[] = [];
  beforeStore: () => Promise<void> = () => Promise.resolve();

  open(): Promise<void> {
    return Promise.resolve();
  }

  loadCheckpoint(): Promise<Checkpoint | null> {
    return Promise.resolve(this.checkpoints.at(-1) ?? null);
  }

  saveCheckpoint(checkpoint: Checkpoint): Promise<void> {
    this.checkpoints.push(checkpoint);
    return Promise.resolve();
  }

  stored(): Promise<Stored> {
    const checkpoint = this.checkpoints.at(-1);
    return Promise.resolve({
      owner: { isUs: true, epoch: 1, instance: 'memory' },
      checkpoint: checkpoint === undefined ? null : { ...checkpoint, ageMs: 0 },
    });
  }

  loadTables(): Promise<readonly StoredTable[]> {
    return Promise.resolve([]);
  }

  check(): void {}

  copyOf(): number {
    return 0;
  }

  beginRepair(): Promise<RepairWriter> {
    return Promise.resolve({
      bytes: 0,
      add: () => {},
      look: () => Promise.resolve(),
      store: () => Promise.resolve({ rows: 0, hidden: 0, beyond: 0 }),
    });
  }

  beginSnapshot(): Promise<SnapshotWriter> {
    return Promise.resolve({ rows: 0, add: () => {}, flush: () => Promise.resolve() });
  }

  endSnapshot(): Promise<void> {
    return Promise.resolve();
  }

  openStage(): Promise<void> {
    return Promise.resolve();
  }

  stageSpoilt(): boolean {
    return false;
  }

  stageHasMarts(): boolean {
    return false;
  }

  markStale(): Promise<void> {
    return Promise.resolve();
  }

  forgetCheckpoint(): Promise<void> {
    return Promise.resolve();
  }

  attach(): Promise<Attached> {
    return Promise.resolve({
      live: true,
      stale: false,
      rebuilt: false,
      snapshotLsn: 0n,
      since: 0n,
      evolution: null,
    });
  }

  taken(): Promise<ReadonlyMap<string, WalhouseError>> {
    return Promise.resolve(new Map());
  }

  noteStamp(): Promise<void> {
    return Promise.resolve();
  }

  openBatch(): Batch {
    return new MemoryBatch();
  }

  async store(batch: Batch): Promise<void> {
    await this.beforeStore();
    this.changes.push(...(batch as MemoryBatch).changes);
    this.batches.push(batch.rows);
  }

  quarantined(): ReadonlyMap<string, number> {
    return new Map();
  }

  breakOff(): void {}

  close(): Promise<void> {
    return Promise.resolve();
  }
}

class MemoryBatch implements Batch {
  readonly changes: StoredChange[] = [];
  sealed = false;
  #commit = '';

  get rows(): number {
    return this.changes.length;
  }

  get bytes(): number {
    return this.changes.length * 10;
  }

  begin(transaction: TransactionStart): void {
    this.#commit = String(transaction.commitLsn);
  }

  insert(_relation: Relation, row: Tuple, ordinal: number): void {
    this.#add('c', row, ordinal);
  }

  update(_relation: Relation, _old: Tuple | null, row: Tuple, ordinal: number): void {
    this.#add('u', row, ordinal);
  }

  delete(_relation: Relation, old: Tuple, ordinal: number): void {
    this.#add('d', old, ordinal);
  }

  truncate(_relation: Relation, ordinal: number): void {
    this.#add('t', null, ordinal);
    this.sealed = true;
  }

  #add(op: string, tuple: Tuple | null, ordinal: number): void {
    if (this.sealed) throw new Error('a sealed batch was added to');
    this.changes.push(`${this.#commit}:${ordinal}:${op}:${tuple?.text(0) ?? ''}`);
  }
}
