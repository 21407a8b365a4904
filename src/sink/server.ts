import { Readable } from 'node:stream';
import { ClickHouseError, type ClickHouseClient, type ClickHouseSettings } from '@clickhouse/client';
import { asWalhouseError, WalhouseError } from '../pipeline/errors.js';
import type { Span } from '../pipeline/tracer.js';
import { LONGEST_MS, PINNED_SETTINGS } from './client.js';
import { isTurnedAway, mayBeTakenOver, sinkFailure } from './failure.js';
import { inTrace } from './in-trace.js';
import type { RowBuffer } from './row-buffer.js';

const DEADLINE_MS = 60_000;

/** ClickHouse's own block sizes: an insert from a select must not gather a whole table in memory to make one block of it. */
const BLOCK_BY_BLOCK: ClickHouseSettings = {
  max_insert_block_size: '1048449',
  min_insert_block_size_rows: '1048449',
  min_insert_block_size_bytes: '268402944',
};

/**
 * The requests that the sink makes, each with its settings, its deadline and its errors. `doing` completes
 * "while ..." in a failure's message, and never holds values.
 */
export class Server {
  readonly #client: ClickHouseClient;
  readonly #insertMs: number;
  readonly #running = new Set<AbortController>();
  /** It has answered as ClickHouse does. */
  #isKnown = false;
  #writer: Writer | null = null;
  #closed = false;

  constructor(client: ClickHouseClient, insertMs = DEADLINE_MS) {
    this.#client = client;
    this.#insertMs = insertMs;
  }

  /** What is written from now on is written in this one's name. */
  writeAs(writer: Writer): void {
    this.#writer = writer;
  }

  /** Inserts rows that are TabSeparated already; resolves once they are durable. */
  async insert(
    table: string,
    columns: readonly string[],
    rows: RowBuffer,
    doing: string,
    span: Span | null = null,
  ): Promise<void> {
    const part = span === null ? null : insertPart(span, table, rows);
    const inserting = this.#write(doing, this.#insertMs, async (named) => {
      await this.#client.insert({
        table,
        columns: columns as [string, ...string[]],
        format: 'TabSeparated',
        values: Readable.from(rows.pieces(), { objectMode: false }),
        clickhouse_settings: PINNED_SETTINGS,
        ...inTrace(part),
        ...named,
      });
    });
    await (part === null ? inserting : told(part, inserting));
  }

  /** Inserts a few rows as objects. */
  async insertRows(
    table: string,
    rows: readonly object[],
    doing: string,
    span: Span | null = null,
  ): Promise<void> {
    await this.#write(doing, this.#insertMs, async (named) => {
      await this.#client.insert({
        table,
        format: 'JSONEachRow',
        values: rows,
        clickhouse_settings: PINNED_SETTINGS,
        ...inTrace(span),
        ...named,
      });
    });
  }

  async command(query: string, doing: string, settings: ClickHouseSettings = {}): Promise<void> {
    await this.#command(query, doing, DEADLINE_MS, settings);
  }

  /** A statement that touches no row, so that ClickHouse's message may be shown whole. */
  async define(query: string, doing: string): Promise<void> {
    await this.#command(query, doing, DEADLINE_MS, {}, false);
  }

  /** A statement whose time grows with the table. */
  async longCommand(query: string, doing: string, settings: ClickHouseSettings = {}): Promise<void> {
    await this.#command(query, doing, LONGEST_MS, { ...BLOCK_BY_BLOCK, ...settings });
  }

  async rows<T>(
    query: string,
    doing: string,
    params: Record<string, unknown> = {},
    deadlineMs = DEADLINE_MS,
  ): Promise<T[]> {
    return this.#request(doing, deadlineMs, async (signal) => {
      const result = await this.#client.query({
        query,
        format: 'JSONEachRow',
        query_params: params,
        clickhouse_settings: {
          ...PINNED_SETTINGS,
          output_format_json_quote_64bit_integers: 1,
          // Small answers: threads to format them would take a third of the time that `select 1` does.
          output_format_parallel_formatting: 0,
        },
        abort_signal: signal,
      });
      return result.json<T>();
    });
  }

  /** A result as TabSeparated, each byte one character. */
  async tabSeparated(
    query: string,
    doing: string,
    params: Readonly<Record<string, unknown>> = {},
  ): Promise<string> {
    return this.#request(doing, DEADLINE_MS, async (signal) => {
      const { stream } = await this.#client.exec({
        query: `${query} format TabSeparated`,
        query_params: params,
        clickhouse_settings: PINNED_SETTINGS,
        abort_signal: signal,
      });
      const chunks: Buffer[] = [];
      for await (const chunk of stream) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString('latin1');
    });
  }

  /** The answer of a statement that takes no FORMAT, in the server's default one: TabSeparated over HTTP. */
  async text(query: string, doing: string): Promise<string> {
    return this.#request(doing, DEADLINE_MS, async (signal) => {
      const { stream } = await this.#client.exec({
        query,
        clickhouse_settings: { ...PINNED_SETTINGS, default_format: 'TabSeparated' },
        abort_signal: signal,
      });
      const chunks: Buffer[] = [];
      for await (const chunk of stream) chunks.push(chunk as Buffer);
      return Buffer.concat(chunks).toString().trim();
    });
  }

  /** What is on its way rejects with `sink_unreachable`; it may be carried out all the same. */
  breakOff(): void {
    for (const controller of this.#running) controller.abort();
  }

  /** Breaks off what is on its way. The client stays open: it is its owner's. */
  close(): void {
    this.#closed = true;
    this.breakOff();
  }

  async #command(
    query: string,
    doing: string,
    ms: number,
    settings: ClickHouseSettings,
    rowsInvolved = true,
  ): Promise<void> {
    await this.#write(
      doing,
      ms,
      async (named) => {
        await this.#client.command({
          query,
          clickhouse_settings: { ...PINNED_SETTINGS, ...settings },
          ...named,
        });
      },
      { rowsInvolved, repeatable: false },
    );
  }

  /**
   * A statement that writes, in the writer's name. One that may be done twice is sent again where the writer itself has begun a new epoch
   * meanwhile.
   */
  async #write(
    doing: string,
    ms: number,
    run: (named: { readonly abort_signal: AbortSignal; readonly query_id?: string }) => Promise<void>,
    { rowsInvolved = true, repeatable = true } = {},
  ): Promise<void> {
    await this.#request(
      doing,
      ms,
      async (signal) => {
        const writer = this.#writer;
        if (writer === null) return run({ abort_signal: signal });
        for (;;) {
          const id = writer.queryId();
          try {
            await run({ abort_signal: signal, query_id: id });
            writer.answered(id);
            return;
          } catch (error) {
            if (error instanceof ClickHouseError) writer.answered(id);
            else writer.gaveUp(id);
            if (!repeatable || !isTurnedAway(error) || !(await writer.hasRenewed(id))) throw error;
          }
        }
      },
      rowsInvolved,
    );
  }

  async #takenOver(): Promise<WalhouseError | null> {
    try {
      return (await this.#writer?.takenOver()) ?? null;
    } catch {
      return null; // What is known is told.
    }
  }

  async #request<T>(
    doing: string,
    ms: number,
    run: (signal: AbortSignal) => Promise<T>,
    rowsInvolved = true,
  ): Promise<T> {
    if (this.#closed) throw closed(doing);
    const controller = new AbortController();
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      controller.abort();
    }, ms);
    this.#running.add(controller);
    try {
      const answer = await run(controller.signal);
      this.#isKnown = true;
      return answer;
    } catch (error) {
      if (this.#closed) throw closed(doing);
      const cause = late ? new Error('timeout') : error;
      const failure = sinkFailure(cause, doing, rowsInvolved, this.#isKnown);
      throw (mayBeTakenOver(cause, failure) && (await this.#takenOver())) || failure;
    } finally {
      clearTimeout(timer);
      this.#running.delete(controller);
    }
  }
}

function insertPart(span: Span, table: string, { rows, length }: RowBuffer): Span {
  const name = table.replaceAll('`', '');
  return span.child(`insert ${name}`, {
    request: true,
    facts: { 'db.collection.name': name, 'walhouse.rows': rows, 'walhouse.bytes': length },
  });
}

/** Ends the span with what it was about. */
async function told(span: Span, work: Promise<void>): Promise<void> {
  try {
    await work;
    span.end();
  } catch (error) {
    span.end(asWalhouseError(error).kind);
    throw error;
  }
}

/** Whose statements these are. */
interface Writer {
  /** For a statement that is about to be sent. */
  queryId(): string;
  /** ClickHouse has done with it. */
  answered(queryId: string): void;
  /** It may have done with it, or may yet begin. */
  gaveUp(queryId: string): void;
  /** Whether the statement was turned away only because it is of an earlier epoch than ours is. */
  hasRenewed(queryId: string): Promise<boolean>;
  takenOver(): Promise<WalhouseError | null>;
}

function closed(doing: string): WalhouseError {
  return new WalhouseError('sink_unreachable', {
    what: `the sink was closed while ${doing}.`,
    why: 'Nothing is confirmed to Postgres until ClickHouse has it.',
    fix: 'none needed: Walhouse is leaving, and goes on from the confirmed position when it is started again',
  });
}
