import type { ClickHouseClient } from '@clickhouse/client';
import { setTimeout as sleep } from 'node:timers/promises';
import { WalhouseError } from '../../pipeline/errors.js';
import { formatLsn, type Lsn } from '../../pipeline/lsn.js';
import { qualified } from '../../sink/identifier.js';
import { databasesFor } from '../../sink/names.js';
import { callService, keyRefused, type ServiceAddress } from './service.js';
import { askClickHouse } from './sides.js';

/** How long the service may take to come to a position before nothing can be said. */
const SERVICE_MS = 120_000;
/** How long the checkpoint is watched where no service answers: one may run whose API cannot be reached from here. */
const CHECKPOINT_MS = 6_000;
const ASK_MS = 5_000;
const LOOK_MS = 250;

export interface AppliedOptions extends ServiceAddress {
  readonly clickhouse: ClickHouseClient;
  readonly database: string;
  readonly slot: string;
  readonly serviceMs?: number;
  readonly checkpointMs?: number;
}

/** How tables stand, by id; as in the service's status. */
export interface TablesStanding {
  readonly tables: Readonly<
    Record<
      string,
      {
        readonly state: string;
        readonly error: { readonly what: string; readonly fix: string } | null;
      }
    >
  >;
}

/**
 * Waits until ClickHouse holds every transaction before `position`, and says how its tables stand: by the service's word, or by what it has
 * stored where it does not answer. Throws a typed error when that is not so in time.
 */
export async function waitUntilApplied(options: AppliedOptions, position: Lsn): Promise<TablesStanding> {
  const deadline = performance.now() + (options.serviceMs ?? SERVICE_MS);
  let last = '';
  while (performance.now() < deadline) {
    const response = await ask(options, position);
    if (response === null) return waitForCheckpoint(options, position);
    if (response.ok) return (await response.json()) as TablesStanding;
    if (response.status === 401 || response.status === 403)
      throw keyRefused(options, response.status, 'ops:read');
    last = ((await response.json().catch(() => ({}))) as { detail?: string }).detail ?? '';
    await sleep(LOOK_MS);
  }
  throw behind(position, `the service did not apply it in time. ${last}`.trim(), 'walhouse status');
}

function ask(address: ServiceAddress, position: Lsn): Promise<Response | null> {
  const query = new URLSearchParams({ min_lsn: formatLsn(position), wait_ms: String(ASK_MS) });
  return callService(address, `/v1/replication?${query.toString()}`, { timeoutMs: 2 * ASK_MS });
}

async function waitForCheckpoint(options: AppliedOptions, position: Lsn): Promise<TablesStanding> {
  const { landing } = databasesFor(options.database);
  const deadline = performance.now() + (options.checkpointMs ?? CHECKPOINT_MS);
  for (;;) {
    const [row] = await askClickHouse<{ lsn: string; exact: string[] }>(
      options.clickhouse,
      `select toString(argMax(applied_lsn, (epoch, save))) as lsn, argMax(exact, (epoch, save)) as exact
         from ${qualified(landing, '_walhouse_checkpoint')} where slot = {slot:String}`,
      { slot: options.slot },
    );
    const applied = BigInt(row?.lsn ?? '0');
    if (applied >= position) return storedStanding(options, row!.exact);
    if (performance.now() > deadline) {
      throw behind(
        position,
        `no service answers at ${options.apiUrl}, and the checkpoint stands at ${formatLsn(applied)}, ${String(position - applied)} bytes behind.`,
        'walhouse run',
      );
    }
    await sleep(LOOK_MS);
  }
}

/** A table that streams but is not as the source was at the checkpoint has rows of a copy that was taken later. */
async function storedStanding(
  { clickhouse, database }: AppliedOptions,
  exact: readonly string[],
): Promise<TablesStanding> {
  const rows = await askClickHouse<{ id: string; state: string }>(
    clickhouse,
    `select id, state from ${qualified(databasesFor(database).landing, '_walhouse_tables')} final`,
    {},
  );
  const standing = rows.map(({ id, state }): [string, { state: string; error: null }] => [
    id,
    { state: state === 'streaming' && !exact.includes(id) ? 'resyncing' : state, error: null },
  ]);
  return { tables: Object.fromEntries(standing) };
}

function behind(position: Lsn, what: string, fix: string): WalhouseError {
  return new WalhouseError('sink_timeout', {
    what: `ClickHouse has not come to ${formatLsn(position)}: ${what}`,
    why: 'The two sides can only be compared at one position.',
    fix,
  });
}
