import type { TestProject } from 'vitest/node';
import { startClickHouse } from '../../src/dev/servers/clickhouse.js';
import { startPostgres } from '../../src/dev/servers/postgres.js';

/** The servers of this run, as tests see them through `inject('servers')`. */
export interface SharedServers {
  readonly postgres: string;
  readonly clickhouse: string;
  readonly postgresVersion: string;
  readonly hasWal2json: boolean;
}

declare module 'vitest' {
  interface ProvidedContext {
    servers: SharedServers;
  }
}

interface Running {
  readonly facts: SharedServers;
  users: number;
  stop(): Promise<void>;
}

/** Each project loads this module for itself, and all of them share one pair of servers. */
const shared = globalThis as { walhouseTestServers?: Promise<Running> };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  shared.walhouseTestServers ??= start();
  const running = await shared.walhouseTestServers;
  running.users += 1;
  project.provide('servers', running.facts);
  return async () => {
    running.users -= 1;
    if (running.users > 0) return;
    delete shared.walhouseTestServers;
    await running.stop();
  };
}

async function start(): Promise<Running> {
  const log = (line: string): void => void process.stderr.write(`${line}\n`);
  // One after the other: their first installation reports its progress line by line.
  const postgres = await startPostgres({ log });
  try {
    const clickhouse = await startClickHouse({ log });
    return {
      facts: {
        postgres: postgres.url,
        clickhouse: clickhouse.url,
        postgresVersion: postgres.version,
        hasWal2json: postgres.hasWal2json,
      },
      users: 0,
      stop: async () => {
        await Promise.all([postgres.close(), clickhouse.close()]);
      },
    };
  } catch (error) {
    await postgres.close();
    throw error;
  }
}
