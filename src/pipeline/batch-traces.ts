import type { TransactionStart } from './change.js';
import { formatLsn, type Lsn } from './lsn.js';
import type { Batch } from './sink.js';
import type { Span, Tracer } from './tracer.js';

/** How many traces may wait for their checkpoint; older ones go without. */
const PENDING_MAX = 100;

/** What is known of the transactions in one batch. */
export interface BatchNotes {
  readonly committedAtUs: bigint;
  readonly firstLsn: Lsn;
  lastLsn: Lsn;
  transactions: number;
  /** When the oldest commit, or as much of it as the batch takes, had been read; null until then. */
  receivedAtMs: number | null;
}

/** A checkpoint on its way, in every trace that waits for it. */
export interface TracedSave {
  /** One of them, for the request. */
  readonly span: Span;
  failed(kind: string): void;
  /** It is saved; `confirm` tells Postgres. */
  saved(confirm: () => void): void;
}

/**
 * Tells batches as traces, each from the oldest commit in it:
 *
 *     replicate   |-- receive --|-- wait --|-- insert ... --|
 *                                                           |-- checkpoint --|-- confirm --|
 *
 * While the batch fills only its first commit is looked at, and the clock once; whether it is told is known when it is stored.
 */
export class BatchTraces {
  readonly #tracer: Tracer;
  #filling: BatchNotes | null = null;
  #pending: { readonly lsn: Lsn; readonly root: Span }[] = [];

  constructor(tracer: Tracer) {
    this.#tracer = tracer;
  }

  began({ committedAtUs, commitLsn }: TransactionStart): void {
    const notes = this.#filling;
    if (notes === null)
      this.#filling = {
        committedAtUs,
        firstLsn: commitLsn,
        lastLsn: commitLsn,
        transactions: 1,
        receivedAtMs: null,
      };
    else {
      notes.lastLsn = commitLsn;
      notes.transactions += 1;
    }
  }

  committed(): void {
    if (this.#filling !== null) this.#filling.receivedAtMs ??= performance.now();
  }

  /** The filling batch is closed; `open` goes on in the next. */
  cut(open: TransactionStart | null): BatchNotes | null {
    this.committed();
    const notes = this.#filling;
    this.#filling = null;
    if (open !== null) this.began(open);
    return notes;
  }

  /** Its inserts begin; null when it is not to be told. */
  storing(notes: BatchNotes, { rows, bytes }: Batch, endsOpen: boolean): Span | null {
    const root = this.#tracer.batch(notes.committedAtUs, {
      'walhouse.first_commit_lsn': formatLsn(notes.firstLsn),
      'walhouse.commit_lsn': formatLsn(notes.lastLsn),
      'walhouse.transactions': notes.transactions,
      'walhouse.rows': rows,
      'walhouse.bytes': bytes,
      'walhouse.ends_inside_transaction': endsOpen,
    });
    if (root === null) return null;
    const receivedAtMs = notes.receivedAtMs ?? performance.now();
    root.child('receive', { since: 'parent' }).end(null, receivedAtMs);
    root.child('wait', { since: receivedAtMs }).end();
    return root;
  }

  /** Everything up to `lsn` is durable with it; null where it ended inside a transaction. */
  stored(root: Span, lsn: Lsn | null): void {
    if (lsn !== null) {
      root.note({ 'walhouse.durable_lsn': formatLsn(lsn) });
      this.#pending.push({ lsn, root });
      if (this.#pending.length > PENDING_MAX) this.#pending.shift();
    }
    root.end();
  }

  /** null when no trace waits for this position. */
  saving(lsn: Lsn): TracedSave | null {
    if (this.#pending.length === 0) return null;
    const covered = this.#pending.filter((one) => one.lsn <= lsn);
    const facts = { 'walhouse.applied_lsn': formatLsn(lsn) };
    const saves = covered.map(({ root }) => root.child('checkpoint', { request: true, facts }));
    const [span] = saves;
    if (span === undefined) return null;
    return {
      span,
      failed: (kind) => saves.forEach((save) => save.end(kind)),
      saved: (confirm) => {
        saves.forEach((save) => save.end());
        const confirms = covered.map(({ root }) => root.child('confirm', { facts }));
        confirm();
        confirms.forEach((one) => one.end());
        this.#pending = this.#pending.filter((one) => !covered.includes(one));
      },
    };
  }
}
