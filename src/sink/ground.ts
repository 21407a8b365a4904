import { WalhouseError } from '../pipeline/errors.js';
import { quoteName } from './identifier.js';
import type { Server } from './server.js';
import { atLeast, VERSION_MIN } from './version.js';

/** Throws `sink_unsupported` where ClickHouse is too old for what is promised. */
export async function refuseOldServer(server: Server): Promise<void> {
  const [row] = await server.rows<{ version: string }>(
    'select version() as version',
    'asking for its version',
  );
  const version = row?.version ?? '';
  if (atLeast(version)) return;
  throw new WalhouseError('sink_unsupported', {
    what: `ClickHouse is ${version}.`,
    why: 'Rows would not expire as they should: dates past 2106 cannot decide it there.',
    fix: `use ClickHouse ${VERSION_MIN.join('.')} or later`,
  });
}

/** Asks before it creates, so that a user without the right to create databases can work in ones made for it. */
export async function createDatabases(server: Server, wanted: readonly string[]): Promise<void> {
  const rows = await server.rows<{ name: string }>(
    'select name from system.databases where name in {names:Array(String)}',
    'looking for the databases',
    { names: wanted },
  );
  const there = new Set(rows.map(({ name }) => name));
  for (const name of wanted) {
    if (there.has(name)) continue;
    await server.define(`create database if not exists ${quoteName(name)}`, `creating ${name}`);
  }
}
