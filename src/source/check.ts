import type { ClientBase, Pool } from 'pg';
import { WalhouseError } from '../pipeline/errors.js';
import type { Relation } from '../pipeline/relation.js';
import { openPool, parseTarget, quoteName, type Target } from './connection.js';
import { choosePlugin, knowsNumbers, misfits, nullableNumbers, readServer } from './server.js';
import { readSlot, type Plugin } from './slot.js';
import { tryPublished } from './publication.js';
import { decoderFilter, type Decoding } from './row-filter.js';
import { readSelected } from './selection.js';
import { sourceError } from './source-error.js';
import type { SourceOptions } from './source.js';

/** One precondition of the source. `level` is error where `run` would stop for it, warning where it may cost something. */
export interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly level: 'error' | 'warning';
  readonly detail: string;
  /** What to type; null where all is well. */
  readonly fix: string | null;
}

interface Facts {
  readonly walLevel: string;
  readonly slotsMax: number;
  readonly slotsUsed: number;
  readonly sendersMax: number;
  readonly sendersUsed: number;
  readonly keepMb: number;
  readonly maySend: boolean;
  readonly mayCreate: boolean;
}

const FACTS = `
  select current_setting('wal_level') as "walLevel",
         current_setting('max_replication_slots')::int4 as "slotsMax",
         (select count(*)::int4 from pg_replication_slots) as "slotsUsed",
         current_setting('max_wal_senders')::int4 as "sendersMax",
         (select count(*)::int4 from pg_stat_replication) as "sendersUsed",
         (select setting::float8 from pg_settings where name = 'max_slot_wal_keep_size') as "keepMb",
         (select rolreplication or rolsuper from pg_roles where rolname = current_user)
           or coalesce((select pg_has_role(r.oid, 'member') from pg_roles r where r.rolname = 'rds_replication'), false) as "maySend",
         has_database_privilege(current_database(), 'create') as "mayCreate"`;

/** Examines the source and changes nothing. Never rejects: what fails becomes a finding. */
export async function checkSource(options: SourceOptions): Promise<Finding[]> {
  const findings: Finding[] = [];
  let target: Target;
  let pool: Pool;
  try {
    target = parseTarget(options.url);
    pool = openPool(options.url);
  } catch (error) {
    return [failed('source url', error)];
  }
  try {
    const server = await readServer(pool, target);
    const major = Math.floor(server.version / 10_000);
    findings.push(
      passed('source version', `Postgres ${major}.${server.version % 10_000}, ${server.encoding}`),
    );
    const { rows } = await pool.query<Facts>(FACTS);
    findings.push(...checkFacts(rows[0]!, target));
    const relations: Relation[] = [];
    for (const id of options.tables) {
      try {
        const client = await pool.connect();
        try {
          relations.push(...(await readSelected(client, [id], options.selections ?? {})));
          findings.push(await checkTable(pool, relations.at(-1)!, target));
        } finally {
          client.release();
        }
      } catch (error) {
        findings.push(failed(`table ${id}`, sourceError(error, target, 'query')));
      }
    }
    const { slot, decoder, log } = options;
    const plugin = await choosePlugin({ pool, server, wanted: decoder, slot, relations, log });
    findings.push(checkDecoder(plugin, relations));
    const wrong = await misfits(pool, slot, server.version, relations, () => knowsNumbers(pool));
    for (const [id, error] of wrong) findings.push(failed(`decoder of ${id}`, error));
    const fitting = relations.filter(({ id }) => !wrong.has(id));
    findings.push(...(await checkConditions(pool, fitting, { plugin, version: server.version })));
    const state = await readSlot(pool, slot, plugin, target);
    findings.push(
      passed(
        'slot',
        state === null ? `"${slot}" will be created` : `"${slot}" exists and holds ${state.heldBytes} bytes`,
      ),
    );
  } catch (error) {
    findings.push(failed('source', sourceError(error, target, 'connect')));
  } finally {
    await pool.end();
  }
  return findings;
}

/** Whether the decoder can evaluate the conditions, or a publication would take them; that is tried out and taken back. */
async function checkConditions(
  pool: Pool,
  relations: readonly Relation[],
  decoding: Decoding,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const client = await pool.connect();
  try {
    for (const relation of relations) {
      try {
        decoderFilter(relation, decoding);
        if (decoding.plugin === 'pgoutput') await tryPublished(client, relation, decoding.version);
        findings.push(...(await checkMovesIn(client, relation)));
      } catch (error) {
        findings.push(failed(`condition of ${relation.id}`, error));
      }
    }
  } finally {
    client.release();
  }
  return findings;
}

/** Where the old row is the key alone, a row that its new key moves in lacks what is stored out of line and did not change. */
async function checkMovesIn(client: ClientBase, relation: Relation): Promise<Finding[]> {
  if (relation.selection?.where == null || relation.replicaIdentity === 'full') return [];
  const { rows } = await client.query<{ name: string }>(
    `select attname as name from pg_attribute
      where attrelid = $1 and attname = any($2::text[]) and attlen = -1 and attstorage <> 'p' and attnum > 0`,
    [
      relation.oid,
      relation.columns.filter((_, index) => !relation.key.includes(index)).map(({ name }) => name),
    ],
  );
  if (rows.length === 0) return [];
  return [
    expect(
      `condition of ${relation.id}`,
      false,
      `a row that an update of its key moves in comes without large values that stay as they are (${rows.map(({ name }) => name).join(', ')}), and goes to quarantine`,
      `alter table ${quoteName(relation.schema)}.${quoteName(relation.name)} replica identity full, if keys are updated`,
      'warning',
    ),
  ];
}

function checkFacts(facts: Facts, { user }: Target): Finding[] {
  const free = (used: number, max: number): string => `${used} of ${max} used`;
  return [
    expect(
      'wal_level',
      facts.walLevel === 'logical',
      facts.walLevel,
      'alter system set wal_level = logical, then restart the server',
    ),
    expect('replication right', facts.maySend, user, `alter role ${quoteName(user)} with replication`),
    // The stream's slot, and one for a snapshot of a table added later.
    expect(
      'free slots',
      facts.slotsUsed + 2 <= facts.slotsMax,
      free(facts.slotsUsed, facts.slotsMax),
      'raise max_replication_slots and restart, or drop a slot that nobody uses',
      facts.slotsUsed >= facts.slotsMax ? 'error' : 'warning',
    ),
    expect(
      'free senders',
      facts.sendersUsed + 2 <= facts.sendersMax,
      free(facts.sendersUsed, facts.sendersMax),
      'raise max_wal_senders and restart',
      facts.sendersUsed >= facts.sendersMax ? 'error' : 'warning',
    ),
    expect(
      'max_slot_wal_keep_size',
      facts.keepMb !== -1,
      facts.keepMb === -1 ? 'unlimited: a slot that nobody reads can fill the disk' : `${facts.keepMb} MB`,
      `alter system set max_slot_wal_keep_size = '100GB', or what the disk can spare`,
      'warning',
    ),
  ];
}

async function checkTable(pool: Pool, relation: Relation, { user }: Target): Promise<Finding> {
  const name = `${quoteName(relation.schema)}.${quoteName(relation.name)}`;
  const { rows } = await pool.query<{ readable: boolean; hidden: boolean }>(
    `select has_table_privilege($1::oid, 'select') as readable, row_security_active($1::oid) as hidden`,
    [relation.oid],
  );
  const { readable, hidden } = rows[0]!;
  const key = relation.key.map((column) => relation.columns[column]!.name).join(', ');
  const detail = `${relation.replicaIdentity} replica identity, key (${key})`;
  const title = `table ${relation.id}`;
  if (!readable)
    return expect(title, false, 'may not be read', `grant select on ${name} to ${quoteName(user)}`);
  return expect(
    title,
    !hidden,
    hidden ? 'row-level security hides rows from the snapshot' : detail,
    `alter role ${quoteName(user)} with bypassrls`,
  );
}

function checkDecoder(plugin: Plugin, relations: readonly Relation[]): Finding {
  const doubtful = plugin === 'wal2json' ? nullableNumbers(relations) : [];
  return expect(
    'decoder',
    doubtful.length === 0,
    doubtful.length === 0
      ? plugin
      : `wal2json up to 2.5 cannot tell NaN and infinities from null in ${doubtful.join(', ')}`,
    'set source.decoder to pgoutput, with another source.slot if this one exists',
    'warning',
  );
}

function expect(
  name: string,
  ok: boolean,
  detail: string,
  fix: string,
  level: Finding['level'] = 'error',
): Finding {
  return { name, ok, level, detail, fix: ok ? null : fix };
}

function passed(name: string, detail: string): Finding {
  return { name, ok: true, level: 'error', detail, fix: null };
}

function failed(name: string, error: unknown): Finding {
  if (!(error instanceof WalhouseError)) throw error;
  return {
    name,
    ok: false,
    level: 'error',
    detail: `${error.kind}: ${error.what} ${error.why}`,
    fix: error.fix,
  };
}
