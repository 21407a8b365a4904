import { createHash } from 'node:crypto';
import type { ClickHouseClient } from '@clickhouse/client';
import { DURABLE } from './durability.js';
import { qualified } from './identifier.js';
import { databasesFor } from './names.js';
import { Server } from './server.js';

/** A document as it is stored, word for word. */
export interface StoredReport {
  readonly number: number;
  /** JSON with `number` and `previous` in it. */
  readonly document: string;
  /** SHA-256 of the document, in hexadecimal. */
  readonly hash: string;
}

const TABLE = '_walhouse_reports';

/** What was removed, when and by which command: documents that each hold the hash of the one before. Never changed, never purged. */
export class ReportStore {
  readonly #server: Server;
  readonly #landing: string;
  readonly #table: string;

  constructor(client: ClickHouseClient, database: string) {
    this.#server = new Server(client);
    this.#landing = databasesFor(database).landing;
    this.#table = qualified(this.#landing, TABLE);
  }

  async append(fields: object): Promise<StoredReport> {
    await this.#server.define(
      `create table if not exists ${this.#table} (
        number UInt64 comment 'From 1, without gaps',
        document String comment 'JSON; holds the hash of the document before as previous',
        hash String comment 'SHA-256 of the document',
        stored_at DateTime64(6, 'UTC') default now64(6, 'UTC')
      ) engine = MergeTree
      order by number
      settings ${DURABLE}
      comment 'What walhouse retention and walhouse erase have removed, each report chained to the one before'`,
      'creating the table of reports',
    );
    const last = (await this.list()).at(-1);
    const number = (last?.number ?? 0) + 1;
    const document = JSON.stringify({ number, previous: last?.hash ?? '', ...fields });
    const hash = hashOf(document);
    await this.#server.insertRows(this.#table, [{ number, document, hash }], 'storing a report');
    return { number, document, hash };
  }

  /** All of them, the oldest first; none where nothing was ever reported. */
  async list(): Promise<StoredReport[]> {
    const [there] = await this.#server.rows<object>(
      'select 1 from system.tables where database = {landing:String} and name = {name:String}',
      'looking for reports',
      { landing: this.#landing, name: TABLE },
    );
    if (there === undefined) return [];
    const rows = await this.#server.rows<{ number: string; document: string; hash: string }>(
      `select toString(number) as number, document, hash from ${this.#table} as r order by r.number, stored_at`,
      'reading reports',
    );
    return rows.map((row) => ({ ...row, number: Number(row.number) }));
  }
}

export function hashOf(document: string): string {
  return createHash('sha256').update(document).digest('hex');
}
