import { sleep } from '../pipeline/backoff.js';
import { WalhouseError } from '../pipeline/errors.js';
import type { StoredOwner } from '../pipeline/sink.js';
import { READ_MS } from './checkpoint.js';
import { DURABLE } from './durability.js';
import { qualified, quoteString } from './identifier.js';
import type { Server } from './server.js';

/**
 * Processes that claim at the same moment may get the same epoch, which is then nobody's, and claim again: each after a time of its own, which
 * doubles, and is in proportion to what a claim takes, so that they do not meet for ever where ClickHouse is slow.
 */
const CLAIMS_MAX = 10;
const CLAIM_AGAIN_MS = 10;
const CLAIM_AGAIN_MAX_MS = 2_000;
/** A claim that arrives later than this counts for nothing: who sent it may have gone, and would still be taken for the owner. */
const CLAIM_S = 10;

/** Who owns the tables, one process after the other: `_walhouse_owner` in the landing database, of which the newest row counts. */
export class Claims {
  readonly #server: Server;
  /** Quoted. */
  readonly #table: string;
  readonly #instance: string;
  readonly #token: string;

  /** See `Ownership` for `instance` and `token`. */
  constructor(server: Server, landingDatabase: string, instance: string, token: string) {
    this.#server = server;
    this.#table = qualified(landingDatabase, '_walhouse_owner');
    this.#instance = instance;
    this.#token = token;
  }

  async open(): Promise<void> {
    await this.#server.define(
      `create table if not exists ${this.#table} (
        epoch UInt64 comment 'Each owner has the next',
        token String comment 'Tells processes apart',
        instance String comment 'Host, process and address of the API',
        claimed_at DateTime64(6, 'UTC') default now64(6, 'UTC')
      ) engine = MergeTree
      order by epoch
      settings ${DURABLE}
      comment 'Which processes have written here, one after the other'`,
      'creating the table of owners',
    );
  }

  /** Claims an epoch above all others, and nobody else's. Throws `sink_taken_over` when others claim again and again at the same moment. */
  async next(): Promise<number> {
    for (let claims = 0; claims < CLAIMS_MAX; claims += 1) {
      const startedMs = performance.now();
      const epoch = await this.#claim();
      if (epoch !== null) return epoch;
      const tookMs = Math.max(CLAIM_AGAIN_MS, performance.now() - startedMs);
      await sleep(Math.random() * Math.min(CLAIM_AGAIN_MAX_MS, tookMs * 2 ** claims));
    }
    throw takenOver(null);
  }

  /** Who writes, or did so last. */
  find(): Promise<StoredOwner | null> {
    return this.#newest(READ_MS);
  }

  /** The error where another process has claimed since, or nobody ever has. */
  async lost(): Promise<WalhouseError | null> {
    const newest = await this.#newest();
    return newest?.isUs === true ? null : takenOver(newest?.instance ?? null);
  }

  /** A condition for statements that delete: that nobody has claimed since that epoch. */
  isStill(epoch: number): string {
    return `(select max(epoch) from ${this.#table}) <= ${epoch}`;
  }

  /**
   * The epoch that is now ours; null where others were quicker. One that arrives when another has claimed since counts for nothing, so neither
   * does one that was given up on and made again.
   */
  async #claim(): Promise<number | null> {
    const doing = 'claiming the tables';
    const [at] = await this.#server.rows<{ now: string; newest: string }>(
      `select toString(now64(6, 'UTC')) as now, toString(max(epoch)) as newest from ${this.#table}`,
      doing,
    );
    const { now, newest } = at!;
    await this.#server.define(
      `insert into ${this.#table} (epoch, token, instance)
        select max(epoch) + 1, ${quoteString(this.#token)}, ${quoteString(this.#instance)} from ${this.#table}
        having max(epoch) = ${newest}
          and now64(6, 'UTC') < toDateTime64(${quoteString(now)}, 6, 'UTC') + interval ${CLAIM_S} second`,
      doing,
    );
    const owner = await this.#newest();
    // Where nothing was stored, the newest may be an earlier one of ours.
    return owner?.isUs === true && owner.epoch === Number(newest) + 1 ? owner.epoch : null;
  }

  /** The newest claim. Where processes claimed at the same moment it is nobody's, though one of them is named. */
  async #newest(deadlineMs?: number): Promise<StoredOwner | null> {
    const rows = await this.#server.rows<{ epoch: string; token: string; instance: string }>(
      `select toString(o.epoch) as epoch, token, instance from ${this.#table} as o
        order by o.epoch desc limit 1 with ties`,
      'looking who writes',
      {},
      deadlineMs,
    );
    const [first] = rows;
    if (first === undefined) return null;
    const isUs = rows.length === 1 && first.token === this.#token;
    return { epoch: Number(first.epoch), instance: first.instance, isUs };
  }
}

export function takenOver(instance: string | null): WalhouseError {
  return new WalhouseError('sink_taken_over', {
    what: `another instance writes to ClickHouse now${instance === null ? '' : ` (${instance})`}.`,
    why: 'Only one at a time may; what this one had still to store, the other one stores.',
    fix: 'nothing, this instance stands by; or end one of the two',
  });
}
