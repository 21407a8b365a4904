import type { Socket } from 'node:net';
import type pg from 'pg';
import { LogicalReplicationService, PgoutputPlugin } from 'pg-logical-replication';
import { Gulp } from '../src/source/gulp.js';

/**
 * The limit: a consumer that counts the bytes of every message and drops them. `gulp` reads as
 * Walhouse does, in gulps, which lets the server and us both work in larger pieces; the fastest of the ways counts.
 *
 * Usage: dropping.ts URL SLOT DECODER read|gulp CHANGES. Prints {"seconds", "messages", "bytes"}.
 */
const [url, slot, decoder, way, changesText] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
const changes = Number(changesText);

const OPTIONS: Record<string, string> = {
  pgoutput: `proto_version '1', publication_names 'bench'`,
  wal2json: `"format-version" '2', "include-lsn" 'true', "include-timestamp" 'true', "include-xids" 'true', "include-types" 'false', "add-tables" 'public.bench_changes'`,
};

let bytes = 0;
let messages = 0;
const isChange: (message: Buffer) => boolean =
  decoder === 'pgoutput'
    ? (message) => message[0] === 0x49 || message[0] === 0x55
    : // {"action":"I"
      (message) => message[11] === 0x49 || message[11] === 0x55;

class Dropping extends PgoutputPlugin {
  override get name(): string {
    return decoder;
  }

  override parse(message: Buffer): never {
    bytes += message.length;
    if (isChange(message)) messages += 1;
    if (messages === changes) finish();
    return undefined as never;
  }

  override start(client: pg.Client): Promise<pg.QueryResult> {
    return client.query(`START_REPLICATION SLOT "${slot}" LOGICAL 0/0 (${OPTIONS[decoder]})`);
  }
}

const service = new LogicalReplicationService(
  { connectionString: url },
  { acknowledge: { auto: false, timeoutSeconds: 0 } },
);
let beganAt = 0;
let finished = false;
let gulp: Gulp | null = null;
service.on('error', (error: Error) => {
  if (finished) return;
  console.error(error.message);
  process.exit(1);
});
service.on('start', () => {
  beganAt = performance.now();
  if (way !== 'gulp') return;
  const { stream } = (service as unknown as { _connection: { stream: Socket } })._connection;
  gulp = new Gulp(stream, () => !finished);
});

function finish(): void {
  finished = true;
  const seconds = (performance.now() - beganAt) / 1000;
  console.log(JSON.stringify({ seconds, messages, bytes }));
  gulp?.stop();
  process.exit(0);
}

await service.subscribe(new Dropping({ protoVersion: 1, publicationNames: [] }), slot);
