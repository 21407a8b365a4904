import type { ClickHouseClient } from '@clickhouse/client';
import { failedWith, passed, refused, warned, type Finding } from '../pipeline/finding.js';
import type { Checkpoint } from '../pipeline/sink.js';
import { Checkpoints } from './checkpoint.js';
import { quoteName } from './identifier.js';
import { databasesFor, type Databases } from './names.js';
import { Server } from './server.js';
import { takenNames } from './taken-names.js';
import { atLeast, VERSION_MIN } from './version.js';

export interface SinkCheckOptions {
  readonly client: ClickHouseClient;
  /** The database that people query. */
  readonly database: string;
  /** The tables that will be kept there. */
  readonly tables: readonly { readonly schema: string; readonly name: string; readonly id: string }[];
  /** The audit database is wanted. */
  readonly history: boolean;
  /** How much the source's tables take there, in bytes, for comparing with what is free here. */
  readonly sourceBytes: number;
}

export interface SinkCheck {
  readonly findings: readonly Finding[];
  /** What was stored in an earlier run; null where nothing was, or where it could not be read. */
  readonly checkpoint: Checkpoint | null;
  /** The server's clock minus ours in milliseconds, and how far that may be wrong; null where it did not answer. */
  readonly clock: { readonly aheadMs: number; readonly uncertainMs: number } | null;
}

/** What Walhouse does in each of its databases. */
const RIGHTS = [
  'SELECT',
  'INSERT',
  'CREATE TABLE',
  'CREATE VIEW',
  'DROP TABLE',
  'DROP VIEW',
  'ALTER TABLE',
  'ALTER VIEW',
  'TRUNCATE',
] as const;
/** What it looks at beside them: what earlier instances still run, disks, parts, and whatever else is fed with its rows. */
const RIGHTS_ELSEWHERE = [
  'SELECT ON system.processes',
  'SELECT ON system.disks',
  'SELECT ON system.parts',
  'SELECT ON system.parts_columns',
  'SELECT ON system.detached_parts',
  'SHOW TABLES ON *.*',
  'SHOW COLUMNS ON *.*',
] as const;
const ROLE_FILE = 'clickhouse/roles/writer.sql has all of them';
/** Less than this is little, whatever the source's size. */
const FREE_BYTES_MIN = 5 * 1024 ** 3;
const GIB = 1024 ** 3;

/** Examines ClickHouse and changes nothing. Never rejects for what the server says: what fails becomes a finding. */
export async function checkSink(options: SinkCheckOptions): Promise<SinkCheck> {
  const server = new Server(options.client);
  const databases = databasesFor(options.database);
  const findings: Finding[] = [];
  let checkpoint: Checkpoint | null = null;
  let clock: SinkCheck['clock'] = null;
  try {
    findings.push(await checkVersion(server));
    clock = await readClock(server);
    const there = await existing(server, databases);
    findings.push(...(await checkRights(server, databases, there, options.history)));
    findings.push(...(await checkNames(server, databases, options.tables)));
    findings.push(await checkDisk(server, options.sourceBytes));
    checkpoint = await readCheckpoint(options.client, options.database);
  } catch (error) {
    findings.push(failedWith('clickhouse', error));
  }
  return { findings, checkpoint, clock };
}

async function checkVersion(server: Server): Promise<Finding> {
  const [row] = await server.rows<{ version: string; user: string }>(
    'select version() as version, currentUser() as user',
    'asking for its version',
  );
  const { version = '', user = '' } = row ?? {};
  if (atLeast(version)) return passed('clickhouse version', `${version}, user ${user}`);
  return refused('clickhouse version', version, `use ClickHouse ${VERSION_MIN.join('.')} or later`);
}

async function readClock(server: Server): Promise<SinkCheck['clock']> {
  const before = Date.now();
  const [row] = await server.rows<{ us: string }>(
    'select toString(toUnixTimestamp64Micro(now64(6))) as us',
    'reading its clock',
  );
  const after = Date.now();
  return {
    aheadMs: Number(row?.us ?? 0) / 1000 - (before + after) / 2,
    uncertainMs: (after - before) / 2,
  };
}

async function existing(server: Server, databases: Databases): Promise<ReadonlySet<string>> {
  const rows = await server.rows<{ name: string }>(
    'select name from system.databases where name in {names:Array(String)}',
    'looking for the databases',
    { names: Object.values(databases) },
  );
  return new Set(rows.map(({ name }) => name));
}

/** One finding for each database: what may not be done there. */
async function checkRights(
  server: Server,
  { views, landing, audit }: Databases,
  there: ReadonlySet<string>,
  history: boolean,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const database of [views, landing, ...(history ? [audit] : [])]) {
    const title = `rights on ${database}`;
    const wanted = there.has(database) ? RIGHTS : (['CREATE DATABASE', ...RIGHTS] as const);
    const missing: string[] = [];
    for (const right of wanted)
      if (!(await isGranted(server, `${right} on ${quoteName(database)}.*`))) missing.push(right);
    const state = there.has(database) ? 'exists' : 'will be created';
    findings.push(
      missing.length === 0
        ? passed(title, `all; it ${state}`)
        : refused(
            title,
            `missing: ${missing.join(', ')}`,
            `grant ${missing.join(', ')} on ${quoteName(database)}.* to the user of sink.url; ${ROLE_FILE}`,
          ),
    );
  }
  const missing: string[] = [];
  for (const right of RIGHTS_ELSEWHERE) if (!(await isGranted(server, right))) missing.push(right);
  findings.push(
    missing.length === 0
      ? passed('rights elsewhere', 'all')
      : refused(
          'rights elsewhere',
          `missing: ${missing.join(', ')}`,
          `grant ${missing.join(', ')} to the user of sink.url; ${ROLE_FILE}`,
        ),
  );
  return findings;
}

async function isGranted(server: Server, right: string): Promise<boolean> {
  return (await server.text(`check grant ${right}`, 'asking for its rights')) === '1';
}

/** Names that something else has already: Walhouse would drop or replace it. */
async function checkNames(
  server: Server,
  databases: Databases,
  tables: SinkCheckOptions['tables'],
): Promise<Finding[]> {
  const taken = await takenNames(server, databases, tables);
  const findings = [...taken].map(([id, object]) =>
    refused(
      `name of ${id}`,
      `${object} is there already, and not made for this table`,
      'choose another sink.database, or move that table away',
    ),
  );
  if (findings.length === 0) findings.push(passed('names', `${tables.length} free or Walhouse's own`));
  return findings;
}

async function checkDisk(server: Server, sourceBytes: number): Promise<Finding> {
  const disks = await server.rows<{ name: string; free: string; total: string }>(
    'select name, toString(unreserved_space) as free, toString(total_space) as total from system.disks where not is_read_only',
    'looking at its disks',
  );
  // Object stores report no end of space, or none.
  const sized = disks.filter(({ total }) => Number(total) > 0);
  if (sized.length === 0) return passed('clickhouse disk', 'no disk that tells its size');
  const roomiest = sized.reduce((a, b) => (Number(b.free) > Number(a.free) ? b : a));
  const free = Number(roomiest.free);
  const detail = `${gib(free)} free of ${gib(Number(roomiest.total))} on ${roomiest.name}; the source's tables take ${gib(sourceBytes)}`;
  if (free >= Math.max(FREE_BYTES_MIN, sourceBytes)) return passed('clickhouse disk', detail);
  return warned('clickhouse disk', detail, 'add space, or leave large tables out of tables');
}

/** How far everything is stored; null where nothing ever was. */
export async function readCheckpoint(client: ClickHouseClient, database: string): Promise<Checkpoint | null> {
  const server = new Server(client);
  const { landing } = databasesFor(database);
  const found = await server.rows<object>(
    `select 1 from system.tables where database = {landing:String} and name = '_walhouse_checkpoint'`,
    'looking for the checkpoint',
    { landing },
  );
  return found.length === 0 ? null : new Checkpoints(server, landing).load();
}

function gib(bytes: number): string {
  return `${(bytes / GIB).toFixed(1)} GiB`;
}
