import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { StatusDocument } from '../../src/ops/status.js';
import { Proxy } from '../support/proxy.js';
import { clickhouseQuery } from '../support/clickhouse-query.js';
import type { Findings } from './findings.js';
import { Instance } from './instance.js';
import { MortalServer } from './server.js';
import { configuredTables, PARTITIONED_SCHEMA, SCHEMA } from './tables.js';
import { createSchema } from '../../src/dev/generators.js';

export const DATABASE = 'shop';
export const SLOT = 'chaos';
/** What a statement may wait for a server that is away. */
const SERVER_MS_MAX = 60_000;

export interface WorldOptions {
  readonly dir: string;
  /** `auto`: the seed decides, where Postgres has wal2json. */
  readonly decoder: 'wal2json' | 'pgoutput' | 'auto';
  readonly seed: number;
  readonly findings: Findings;
}

/** The two servers, the links to them, and the service with its second instance: all that can break. */
export class World {
  readonly findings: Findings;
  readonly postgres: MortalServer;
  readonly clickhouse: MortalServer;
  readonly links: Readonly<Record<'postgres' | 'clickhouse', Proxy>>;
  readonly tables: Readonly<Record<string, object>>;
  readonly decoder: 'wal2json' | 'pgoutput';
  /** The first is the one that should be reading the slot. */
  instances: [Instance, Instance];

  private constructor(
    parts: Pick<World, 'findings' | 'postgres' | 'clickhouse' | 'links' | 'tables' | 'decoder'>,
    instances: [Instance, Instance],
  ) {
    this.findings = parts.findings;
    this.postgres = parts.postgres;
    this.clickhouse = parts.clickhouse;
    this.links = parts.links;
    this.tables = parts.tables;
    this.decoder = parts.decoder;
    this.instances = instances;
  }

  static async open({ dir, seed, findings, decoder: wanted }: WorldOptions): Promise<World> {
    const log = (line: string): void => findings.note(line);
    const postgres = await MortalServer.postgres(join(dir, 'postgres'), log);
    const clickhouse = await MortalServer.clickHouse(join(dir, 'clickhouse'), log);
    const links = {
      postgres: await Proxy.before(postgres.url),
      clickhouse: await Proxy.before(clickhouse.url),
    };
    const chosen = postgres.hasWal2json && seed % 2 === 1 ? 'wal2json' : 'pgoutput';
    const decoder = wanted === 'auto' ? chosen : wanted;
    const partitioned = decoder === 'pgoutput';
    const tables = configuredTables(partitioned);
    const options = {
      postgresUrl: links.postgres.through(postgres.url),
      clickhouseUrl: links.clickhouse.through(clickhouse.url).replace(/\/$/, ''),
      database: DATABASE,
      slot: SLOT,
      decoder,
      tables,
      marts: ['payments'],
    };
    const instances: [Instance, Instance] = [
      new Instance('walhouse 1', options, findings),
      new Instance('walhouse 2', options, findings),
    ];
    const world = new World({ findings, postgres, clickhouse, links, tables, decoder }, instances);
    await world.withPostgres(async (client) => {
      await createSchema(client, 'payments');
      await client.query(SCHEMA + (partitioned ? PARTITIONED_SCHEMA : ''));
    });
    return world;
  }

  get active(): Instance {
    return this.instances[0];
  }

  get live(): Instance[] {
    return this.instances.filter(({ up }) => up);
  }

  async withPostgres<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = new pg.Client({ connectionString: this.postgres.url, application_name: 'chaos' });
    // The query in hand rejects as well.
    client.on('error', () => undefined);
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  /** The same, again and again while the server is away; `work` must stand being done twice. */
  async persist<T>(work: (client: pg.Client) => Promise<T>): Promise<T> {
    const deadline = performance.now() + SERVER_MS_MAX;
    for (;;) {
      try {
        return await this.withPostgres(work);
      } catch (error) {
        if (!isPassing(error) || performance.now() > deadline) throw error;
        await sleep(100);
      }
    }
  }

  ask<Row = Record<string, unknown>>(sql: string): Promise<Row[]> {
    return clickhouseQuery<Row>(this.clickhouse.url, sql);
  }

  /** What some instance says of replication: the one that reads the slot, where one does; null while none answers. */
  async status(query = ''): Promise<{ ok: boolean; document: StatusDocument } | null> {
    for (const { walhouse } of this.live) {
      try {
        const response = await fetch(`${walhouse.url}/v1/replication${query}`, {
          signal: AbortSignal.timeout(10_000),
        });
        const document = (await response.json()) as StatusDocument;
        if (document.state === 'standby') continue;
        return { ok: response.ok, document };
      } catch {
        // Another one, or later.
      }
    }
    return null;
  }

  async close(): Promise<void> {
    for (const instance of this.instances) await instance.close();
    for (const link of Object.values(this.links)) await link.close();
    await this.postgres.close();
    await this.clickhouse.close();
  }
}

const BROKEN = ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT'];

/** A server that goes down or comes up, a connection that broke, a deadlock: the same may work in a moment. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const code = (error as { code?: string }).code ?? '';
  if (error instanceof pg.DatabaseError) return /^(57P|08|40|53|55P03)/.test(code);
  if (BROKEN.includes(code)) return true;
  return /Connection terminated|connection error and is not queryable|not queryable|timeout expired/i.test(
    error.message,
  );
}
