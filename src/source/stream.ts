import type { Socket } from 'node:net';
import type { Client } from 'pg';
import { LogicalReplicationService } from 'pg-logical-replication';
import type { ChangeHandler } from '../pipeline/change.js';
import { WalhouseError } from '../pipeline/errors.js';
import type { Log } from '../pipeline/log.js';
import { formatLsn, lsnFrom, type Lsn } from '../pipeline/lsn.js';
import type { Relation } from '../pipeline/relation.js';
import type { ChangeStream, Evolutions, Since } from '../pipeline/source.js';
import { clientConfig, socketOf, type Target } from './connection.js';
import { identityLost, type Decoder } from './decoder.js';
import { Gulp } from './gulp.js';
import { LongMessages } from './long-messages.js';
import { startReplication } from './plugin-options.js';
import { PgoutputDecoder } from './pgoutput.js';
import { decoderFilters } from './row-filter.js';
import { slotInUse, slotMissing, type Plugin } from './slot.js';
import { sourceError } from './source-error.js';
import { StreamPlugin } from './stream-plugin.js';
import { Wal2jsonDecoder } from './wal2json.js';

/** How often the server is told that we live, unless its own timeout asks for more. */
const ALIVE_MS_MAX = 10_000;
const ALIVE_MS_MIN = 100;
/** pg-logical-replication counts from 1999-12-25 where Postgres counts from 2000-01-01. */
const LIBRARY_CLOCK_BEHIND_MS = 7 * 24 * 3_600_000;
/** A ping that was not answered for so long may be sent again. */
const PING_AGAIN_MS = 1_000;

/** `w`, then where the data starts, where the log ends, and when it was sent. */
const XLOG_DATA = 0x77;
const XLOG_DATA_HEADER_BYTES = 25;

/** How long the server may take to end the session. */
const GOODBYE_MS = 1_000;
/** The protocol's Terminate message. */
const TERMINATE = Buffer.from([0x58, 0, 0, 0, 4]);

export interface StreamOptions {
  readonly url: string;
  readonly target: Target;
  readonly slot: string;
  readonly publication: string;
  readonly plugin: () => Promise<Plugin>;
  readonly relations: readonly Relation[];
  /** The server's `server_version_num`. */
  readonly version: number;
  readonly since?: Since | undefined;
  readonly evolutions?: Evolutions | undefined;
  readonly log: Log;
  /** A connection that says nothing for so long, although it was pinged, is given up. */
  readonly silentAfterMs: number;
  /** Reads where the slot stands; null when it does not exist. */
  readonly readSlot: () => Promise<{ readonly confirmedLsn: Lsn } | null>;
  /** The server's wal_sender_timeout in milliseconds; 0 when it has none. */
  readonly senderTimeoutMs: () => Promise<number>;
  readonly slotHolder: () => Promise<string | null>;
}

/**
 * One run of START_REPLICATION, carried by pg-logical-replication with its timer, its acknowledgements and its flow control
 * off: the timer would confirm what was merely received, and its acknowledge adds one to the position it is given.
 */
export class PostgresStream implements ChangeStream {
  readonly #options: StreamOptions;
  readonly #service: LogicalReplicationService;
  #client: Client | null = null;
  #decoder: Decoder | null = null;
  #handler: ChangeHandler | null = null;
  #settle: ((error: Error | null) => void) | null = null;
  #ended = false;
  #ran = false;
  #streaming = false;
  #paused = false;
  #confirmed: Lsn = 0n;
  #pingedAtMs: number | null = null;
  /** Something came since the last look. */
  #heard = false;
  #heardAtMs = 0;
  #silentAfterMs: number;
  #timer: NodeJS.Timeout | null = null;
  #gulp: Gulp | null = null;
  #leaving: Promise<void> | null = null;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#silentAfterMs = options.silentAfterMs;
    this.#service = new LogicalReplicationService(clientConfig(options.url, 'replication'), {
      acknowledge: { auto: false, timeoutSeconds: 0 },
      flowControl: { enabled: false },
    });
    this.#service.on('error', (error) => this.#fail(error));
    this.#service.on('start', () => this.#started());
    this.#service.on('heartbeat', (lsn, sentAtMs, wantsReply) => {
      this.#keepalive(lsnFrom(lsn), sentAtMs + LIBRARY_CLOCK_BEHIND_MS, wantsReply);
    });
  }

  async run(handler: ChangeHandler): Promise<void> {
    if (this.#ran) throw new Error('a stream runs once');
    this.#ran = true;
    if (this.#ended) return;
    this.#handler = handler;
    const settled = new Promise<void>((resolve, reject) => {
      this.#settle = (error) => (error === null ? resolve() : reject(error));
    });
    settled.catch(() => {}); // It may be settled before it is awaited.
    try {
      await this.#start(handler);
    } catch (error) {
      this.#fail(error);
    }
    try {
      await settled;
    } catch (error) {
      throw await this.#named(error);
    } finally {
      await this.#teardown();
    }
  }

  pause(): void {
    this.#paused = true;
    // Before the stream has begun its own answers must get through.
    if (this.#streaming && this.#client !== null) socketOf(this.#client).pause();
  }

  resume(): void {
    this.#paused = false;
    this.#heard = true; // Being paused is no silence of the server's.
    if (this.#client !== null) socketOf(this.#client).resume();
  }

  confirm(lsn: Lsn): void {
    if (lsn > this.#confirmed) this.#confirmed = lsn;
    this.#sendStatus(false);
  }

  ping(confirmed: Lsn): void {
    if (confirmed > this.#confirmed) this.#confirmed = confirmed;
    // Answers that nobody reads, or that queue behind data, would pile up at the server.
    const now = Date.now();
    if (this.#paused || (this.#pingedAtMs !== null && now - this.#pingedAtMs < PING_AGAIN_MS)) return;
    this.#pingedAtMs = now;
    this.#sendStatus(true);
  }

  async close(): Promise<void> {
    this.#end(null);
    await this.#teardown();
  }

  async #start(handler: ChangeHandler): Promise<void> {
    const options = this.#options;
    const slot = await options.readSlot();
    if (this.#ended) return;
    if (slot === null) throw slotMissing(options.slot, options.target, null);
    // An older position than the slot's own would move it back on servers that allow that.
    if (slot.confirmedLsn > this.#confirmed) this.#confirmed = slot.confirmedLsn;
    const senderTimeoutMs = await options.senderTimeoutMs();
    const name = await options.plugin();
    if (this.#ended) return;
    const { relations, since, version, evolutions } = options;
    const filters = decoderFilters(relations, { plugin: name, version });
    this.#decoder =
      name === 'pgoutput'
        ? new PgoutputDecoder(relations, handler, since, filters, evolutions)
        : new Wal2jsonDecoder(relations, handler, since, filters, evolutions);
    const plugin = new StreamPlugin({
      plugin: name,
      command: (numbersAsStrings) =>
        startReplication(options.slot, {
          plugin: name,
          publication: options.publication,
          relations: options.relations,
          numbersAsStrings,
        }),
      onClient: (client) => this.#connected(client, senderTimeoutMs),
      onMessage: (message) => this.#message(message),
    });
    this.#service.subscribe(plugin, options.slot).then(
      () => this.#fail(this.#serverLeft()),
      (error: unknown) => this.#fail(error),
    );
  }

  #connected(client: Client, senderTimeoutMs: number): void {
    this.#client = client;
    if (this.#ended) {
      socketOf(client).destroy();
      return;
    }
    this.#takeLongMessages(socketOf(client));
    client.on('notice', (notice) => this.#notice(notice.message ?? ''));
    // A server without a timeout need not hear of us; the ticks that watch for silence are enough.
    const aliveMs = senderTimeoutMs === 0 ? Infinity : Math.min(ALIVE_MS_MAX, senderTimeoutMs / 4);
    // A server that could not answer within twice its own timeout has given this connection up already.
    if (senderTimeoutMs > 0) this.#silentAfterMs = Math.min(this.#silentAfterMs, 2 * senderTimeoutMs);
    this.#heardAtMs = Date.now();
    this.#timer = setInterval(
      () => this.#tick(),
      Math.max(ALIVE_MS_MIN, Math.min(aliveMs, this.#silentAfterMs / 4)),
    );
  }

  /** Nothing was asked yet, so the next byte begins a message. */
  #takeLongMessages(socket: Socket): void {
    const listeners = socket.rawListeners('data') as ((bytes: Buffer) => void)[];
    socket.removeAllListeners('data');
    const messages = new LongMessages(
      (bytes) => listeners.forEach((listener) => listener.call(socket, bytes)),
      (payload) => {
        if (payload[0] === XLOG_DATA) this.#message(payload.subarray(XLOG_DATA_HEADER_BYTES));
      },
    );
    socket.on('data', (chunk: Buffer) => messages.push(chunk));
  }

  #started(): void {
    if (this.#client === null || this.#ended) return;
    this.#streaming = true;
    const socket = socketOf(this.#client);
    this.#gulp = new Gulp(socket, () => !this.#paused && !this.#ended);
    if (this.#paused) socket.pause();
    this.#sendStatus(false);
  }

  #message(message: Buffer): void {
    if (this.#ended) return;
    this.#heard = true;
    try {
      this.#decoder!.decode(message);
    } catch (error) {
      this.#fail(error);
    }
  }

  #keepalive(walEnd: Lsn, sentAtMs: number, wantsReply: boolean): void {
    if (this.#ended) return;
    this.#heard = true;
    this.#pingedAtMs = null;
    if (wantsReply) this.#sendStatus(false);
    if (this.#decoder === null || this.#decoder.open) return;
    try {
      this.#handler!.caughtUp(walEnd, sentAtMs);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** wal2json leaves out updates and deletes without a replica identity, and says so in a warning only. */
  #notice(message: string): void {
    const match = /^no tuple identifier for \w+ in table "(.*)"\."(.*)"$/.exec(message);
    if (match === null) return;
    const id = `${match[1]}.${match[2]}`;
    const relation = this.#options.relations.find((candidate) => candidate.id === id);
    if (relation === undefined) return;
    const error = identityLost(relation);
    if (this.#decoder?.excuses(error) !== true) this.#fail(error);
  }

  #tick(): void {
    const now = Date.now();
    if (this.#heard || this.#paused) {
      this.#heard = false;
      this.#heardAtMs = now;
    } else if (now - this.#heardAtMs >= this.#silentAfterMs) {
      this.#fail(
        new WalhouseError('source_disconnected', {
          what: `Postgres at ${this.#options.target.host} has said nothing for ${Math.round((now - this.#heardAtMs) / 1000)} s, though it was asked.`,
          why: 'The connection is dead, or the server stands still.',
          fix: 'nothing, it connects again; if it persists, look at the network between',
        }),
      );
      return;
    }
    const quiet = now - this.#heardAtMs >= this.#silentAfterMs / 4;
    this.#sendStatus(quiet && !this.#paused);
  }

  #sendStatus(wantsReply: boolean): void {
    // The library adds one, so that the value on the wire is exactly the confirmed position.
    if (this.#ended || this.#confirmed === 0n) return;
    this.#service.acknowledge(formatLsn(this.#confirmed - 1n), wantsReply).catch((error: unknown) => {
      this.#fail(error);
    });
  }

  #serverLeft(): WalhouseError {
    return new WalhouseError('source_restarting', {
      what: `Postgres at ${this.#options.target.host} has ended the stream.`,
      why: 'It is shutting down, or somebody ended our session.',
      fix: 'nothing, it is tried again',
    });
  }

  #fail(error: unknown): void {
    this.#end(error instanceof Error ? error : new Error(String(error)));
  }

  /** The first end counts; what comes after it is the echo. */
  #end(error: Error | null): void {
    if (this.#ended) return;
    this.#ended = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#gulp?.stop();
    this.#settle?.(error);
  }

  async #named(error: unknown): Promise<unknown> {
    const { target, slot } = this.#options;
    const named = sourceError(error, target, this.#client === null ? 'connect' : 'stream');
    if (!(named instanceof WalhouseError) || named.kind !== 'slot_in_use') return named;
    const holder = await this.#options.slotHolder().catch(() => null);
    return slotInUse(slot, target, holder);
  }

  async #teardown(): Promise<void> {
    this.#leaving ??= this.#leave();
    await this.#leaving;
  }

  async #leave(): Promise<void> {
    const client = (this.#service as unknown as { readonly _client: Client | null })._client;
    if (client !== null) {
      if (this.#streaming) await sayGoodbye(socketOf(client));
      // Not waiting any longer: the server may be gone.
      socketOf(client).destroy();
    }
    await this.#service.stop();
  }
}

/** Ends the session and waits until the server has closed it, by when the slot is free for the next reader. */
function sayGoodbye(socket: Socket): Promise<void> {
  if (socket.destroyed || !socket.writable) return Promise.resolve();
  return new Promise((resolve) => {
    const patience = setTimeout(resolve, GOODBYE_MS);
    socket.once('close', () => {
      clearTimeout(patience);
      resolve();
    });
    socket.end(TERMINATE);
    socket.resume(); // What still comes is discarded; unread it would keep the server from leaving.
  });
}
