import type { ClientBase, Pool } from 'pg';
import type { WalhouseError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import { lsnFrom, type Lsn } from '../pipeline/lsn.js';
import type { Relation } from '../pipeline/relation.js';
import type { SlotHealth } from '../pipeline/slot-health.js';
import type {
  ChangeStream,
  Evolutions,
  Since,
  SlotState,
  Snapshot,
  Source,
  SourceIdentity,
  Survey,
  Turn,
} from '../pipeline/source.js';
import { closePool, connect, destroy, openPool, parseTarget, type Target } from './connection.js';
import { ensurePublication } from './publication.js';
import { misPublished } from './publication-look.js';
import { lackingRights } from './rights.js';
import { decoderFilters } from './row-filter.js';
import { readSelected, type Selections } from './selection.js';
import { choosePlugin, knowsNumbers, misfits, readServer, refuseGenerated, type Server } from './server.js';
import {
  createSlot,
  dropSlot,
  readSlot,
  slotHolder,
  slotPlugin,
  type ExportedSnapshot,
  type Plugin,
} from './slot.js';
import { readSlotHealth } from './slot-health.js';
import { PostgresSnapshot } from './snapshot.js';
import { sourceError } from './source-error.js';
import { PostgresStream } from './stream.js';
import { survey } from './survey.js';
import { timelineEnd } from './timeline.js';
import { takeTurn } from './turn.js';

const SILENT_AFTER_MS = 60_000;
/** A slot waits for every open transaction; after so long somebody is told which. */
const WAITING_LOG_MS = 5_000;

export interface SourceOptions {
  readonly url: string;
  readonly slot: string;
  readonly publication: string;
  readonly decoder: 'auto' | Plugin;
  /** `schema.table`, unquoted. */
  readonly tables: readonly string[];
  /** Columns and rows that are copied, of tables where it is not all of them. */
  readonly selections?: Selections | undefined;
  readonly log: Log;
  /** A stream that hears nothing for so long, although it asks, is given up. */
  readonly silentAfterMs?: number;
}

/** The Postgres side behind the pipeline's contract, with what status and check show of it. */
export interface PostgresSourceFacts {
  /** The plugin that decodes; null until it is decided, which needs the tables. */
  readonly decoder: Plugin | null;
  /** `server_version_num`, e.g. 150018. */
  readonly serverVersion: number;
}

/**
 * Connects and checks the server's version. Rejects with a typed error when the server cannot be reached or lets us not in.
 * Nothing is created before `ensurePublication` and `createSlot`.
 */
export async function openSource(options: SourceOptions): Promise<PostgresSource> {
  const target = parseTarget(options.url);
  const pool = openPool(options.url);
  try {
    const server = await readServer(pool, target);
    return new PostgresSource(options, target, pool, server);
  } catch (error) {
    await pool.end();
    throw sourceError(error, target, 'connect');
  }
}

export class PostgresSource implements Source, PostgresSourceFacts {
  readonly #options: SourceOptions;
  readonly #target: Target;
  readonly #pool: Pool;
  readonly #server: Server;
  readonly #snapshots = new Set<Snapshot>();
  readonly #streams = new Set<ChangeStream>();
  #relations: readonly Relation[] | null = null;
  #plugin: Plugin | null;
  #knowsNumbers: Promise<boolean> | null = null;
  #closing: Promise<void> | null = null;

  constructor(options: SourceOptions, target: Target, pool: Pool, server: Server) {
    this.#options = options;
    this.#target = target;
    this.#pool = pool;
    this.#server = server;
    this.#plugin = options.decoder === 'pgoutput' ? 'pgoutput' : null;
  }

  get decoder(): Plugin | null {
    return this.#plugin;
  }

  get serverVersion(): number {
    return this.#server.version;
  }

  identify(): Promise<SourceIdentity> {
    return this.#named(async () => {
      const client = await connect(this.#options.url, 'replication');
      try {
        const { rows } = await client.query<{ systemid: string; timeline: number | string; dbname: string }>(
          'IDENTIFY_SYSTEM',
        );
        const { systemid, timeline, dbname } = rows[0]!;
        return { systemIdentifier: systemid, timeline: Number(timeline), database: dbname };
      } finally {
        destroy(client);
      }
    });
  }

  takeTurn(): Promise<Turn> {
    return this.#named(() => takeTurn(this.#options.url, this.#options.slot, this.#target));
  }

  relations(): Promise<readonly Relation[]> {
    return this.#named(async () => {
      this.#relations = await this.#withClient((client) =>
        readSelected(client, this.#options.tables, this.#options.selections ?? {}),
      );
      return this.#relations;
    });
  }

  /** Those that can be followed become the tables of the publication and of the stream. */
  survey(): Promise<Survey> {
    return this.#named(async () => {
      const { tables, selections, slot, publication } = this.#options;
      const { version } = this.#server;
      const plugin = this.#plugin ?? (await slotPlugin(this.#pool, slot));
      const found = await this.#withClient(
        (client) => survey(client, tables, selections, plugin !== 'pgoutput'),
        'begin isolation level repeatable read read only',
      );
      const published = plugin === 'pgoutput' ? publication : null;
      const lacking = await this.#withClient((client) =>
        lackingRights(client, found.relations, published, this.#target),
      );
      const wrong = await misfits(this.#pool, slot, version, found.relations, () => {
        this.#knowsNumbers ??= knowsNumbers(this.#pool);
        return this.#knowsNumbers;
      });
      const problems = new Map([...found.problems, ...lacking, ...wrong]);
      const relations = found.relations.filter(({ id }) => !problems.has(id));
      this.#relations = relations;
      const misread =
        this.#plugin === 'pgoutput'
          ? await this.#withClient((client) => misPublished(client, publication, relations, version))
          : [];
      return { relations, problems, misPublished: misread };
    });
  }

  /**
   * Under wal2json there is nothing to do: it ignores publications, and its tables are named when the stream starts.
   */
  ensurePublication(
    onDiffering?: (ids: readonly string[]) => Promise<void>,
    without: ReadonlySet<string> = new Set(),
  ): Promise<ReadonlyMap<string, WalhouseError>> {
    return this.#named(async () => {
      const plugin = await this.#decide();
      const { publication, log } = this.#options;
      const { version } = this.#server;
      const relations = (await this.#known()).filter(({ id }) => !without.has(id));
      // Throws for a condition that nobody could evaluate.
      decoderFilters(relations, { plugin, version });
      if (plugin === 'wal2json') return new Map();
      refuseGenerated(relations, version);
      const { done, locked } = await this.#withClient((client) =>
        ensurePublication(client, publication, relations, version, onDiffering),
      );
      if (done !== 'kept') log.info({ publication, done, tables: relations.length }, 'publication set');
      return locked;
    });
  }

  slotHealth(): Promise<SlotHealth | null> {
    return this.#named(() => readSlotHealth(this.#pool, this.#options.slot));
  }

  timelineEnd(timeline: number): Promise<Lsn | null> {
    return this.#named(async () => {
      const client = await connect(this.#options.url, 'replication');
      try {
        const { rows } = await client.query<{ timeline: number | string }>('IDENTIFY_SYSTEM');
        return await timelineEnd(client, Number(rows[0]!.timeline), timeline);
      } finally {
        destroy(client);
      }
    });
  }

  slot(): Promise<SlotState | null> {
    return this.#named(async () => {
      const state = await readSlot(this.#pool, this.#options.slot, await this.#decide(), this.#target);
      if (state?.endangered === true) {
        this.#options.log.warn(
          { slot: this.#options.slot, heldBytes: String(state.heldBytes) },
          'the slot holds more WAL than max_slot_wal_keep_size allows and may be lost at the next checkpoint',
        );
      }
      return state;
    });
  }

  createSlot(): Promise<Snapshot> {
    return this.#named(async () => this.#export(this.#options.slot, await this.#decide(), false));
  }

  dropSlot(): Promise<void> {
    return this.#named(() => dropSlot(this.#pool, this.#options.slot, this.#target));
  }

  openSnapshot(): Promise<Snapshot> {
    return this.#named(async () => {
      const name = `walhouse_snapshot_${process.pid}_${Date.now().toString(36)}_${this.#snapshots.size}`;
      return this.#export(name, 'pgoutput', true);
    });
  }

  openStream(relations: readonly Relation[], since?: Since, evolutions?: Evolutions): ChangeStream {
    const { url, slot, publication, log } = this.#options;
    const stream = new PostgresStream({
      url,
      target: this.#target,
      slot,
      publication,
      plugin: () => this.#named(() => this.#decide()),
      relations,
      version: this.#server.version,
      since,
      evolutions,
      log,
      silentAfterMs: this.#options.silentAfterMs ?? SILENT_AFTER_MS,
      readSlot: () => this.slot(),
      senderTimeoutMs: () => this.#named(() => this.#senderTimeoutMs()),
      slotHolder: () => slotHolder(this.#pool, slot),
    });
    this.#streams.add(stream);
    return stream;
  }

  async endLsn(): Promise<Lsn | null> {
    return this.#server.inRecovery ? null : this.currentLsn();
  }

  currentLsn(): Promise<Lsn> {
    return this.#named(async () => {
      const { rows } = await this.#pool.query<{ lsn: string }>(
        `select (case when pg_is_in_recovery() then coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
                      else pg_current_wal_flush_lsn() end)::text as lsn`,
      );
      return lsnFrom(rows[0]!.lsn);
    });
  }

  heartbeat(): Promise<void> {
    return this.#named(async () => {
      // A standby can write none; its primary's WAL moves it on.
      if (this.#server.inRecovery) return;
      await this.#pool.query(`select pg_logical_emit_message(false, 'walhouse', '')`);
    });
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      await Promise.all([...this.#streams].map((stream) => stream.close()));
      await Promise.all([...this.#snapshots].map((snapshot) => snapshot.close()));
      await closePool(this.#pool);
    })();
    return this.#closing;
  }

  async #known(): Promise<readonly Relation[]> {
    return this.#relations ?? this.relations();
  }

  async #decide(): Promise<Plugin> {
    this.#plugin ??= await choosePlugin({
      pool: this.#pool,
      server: this.#server,
      wanted: this.#options.decoder,
      slot: this.#options.slot,
      relations: await this.#known(),
      log: this.#options.log,
    });
    return this.#plugin;
  }

  async #export(slot: string, plugin: Plugin, temporary: boolean): Promise<Snapshot> {
    const holder = await connect(this.#options.url, 'replication');
    const patience = setInterval(() => void this.#tellWhoIsWaitedFor(slot), WAITING_LOG_MS);
    let exported: ExportedSnapshot;
    try {
      exported = await createSlot(holder, slot, plugin, {
        temporary,
        failover: !temporary && !this.#server.inRecovery && this.#server.version >= 170_000,
        serverVersion: this.#server.version,
      });
    } catch (error) {
      // The server drops a slot that was not finished; a temporary one goes with its connection.
      destroy(holder);
      throw error;
    } finally {
      clearInterval(patience);
    }
    const snapshot: Snapshot = new PostgresSnapshot({
      url: this.#options.url,
      target: this.#target,
      exported,
      holder,
      onClose: () => this.#snapshots.delete(snapshot),
    });
    this.#snapshots.add(snapshot);
    return snapshot;
  }

  async #tellWhoIsWaitedFor(slot: string): Promise<void> {
    try {
      const { rows } = await this.#pool.query<{ pid: number; name: string; seconds: number }>(
        `select pid, application_name as name, extract(epoch from now() - xact_start)::int4 as seconds
           from pg_stat_activity where backend_xid is not null and pid <> pg_backend_pid()
          order by xact_start limit 3`,
      );
      this.#options.log.warn({ slot, open: rows }, 'the new slot waits for transactions that are open');
    } catch {
      // Only a courtesy; the wait itself reports what is wrong.
    }
  }

  async #senderTimeoutMs(): Promise<number> {
    const { rows } = await this.#pool.query<{ ms: number }>(
      `select setting::float8 as ms from pg_settings where name = 'wal_sender_timeout'`,
    );
    return rows[0]?.ms ?? 60_000;
  }

  async #withClient<T>(work: (client: ClientBase) => Promise<T>, begin = 'begin'): Promise<T> {
    const client = await this.#pool.connect();
    try {
      await client.query(begin);
      const result = await work(client);
      await client.query('commit');
      client.release();
      return result;
    } catch (error) {
      client.release(true);
      throw error;
    }
  }

  async #named<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw sourceError(error, this.#target, 'query');
    }
  }
}
