import { afterAll, beforeAll, expect, it } from 'vitest';
import { connect, destroy } from '../../src/source/connection.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';

let databases: TestDatabases;
beforeAll(async () => {
  databases = await createDatabases('source_connection');
});
afterAll(() => databases.close());

it.each(['sql', 'replication'] as const)(
  'a session for %s has the server ask after 5 s of silence whether we are there, and give up 6 s later',
  async (kind) => {
    const client = await connect(databases.postgresUrl, kind);
    try {
      const asked: Record<string, unknown> = {};
      // As the server's own socket has it.
      for (const name of ['idle', 'interval', 'count'])
        Object.assign(asked, (await client.query(`show tcp_keepalives_${name}`)).rows[0]);
      expect(asked).toEqual({
        tcp_keepalives_idle: '5',
        tcp_keepalives_interval: '2',
        tcp_keepalives_count: '3',
      });
    } finally {
      destroy(client);
    }
  },
);
