import type { ClickHouseClient } from '@clickhouse/client';
import type { Client } from 'pg';
import { WalhouseError } from '../../pipeline/errors.js';
import { failedWith, passed, refused, warned, type Finding } from '../../pipeline/finding.js';
import { formatLsn } from '../../pipeline/lsn.js';
import type { Relation } from '../../pipeline/relation.js';
import type { Checkpoint, Sink } from '../../pipeline/sink.js';
import { checkSink, readCheckpoint, type SinkCheck } from '../../sink/check.js';
import { checkSource } from '../../source/check.js';
import { connect } from '../../source/connection.js';
import { openSource, type SourceOptions } from '../../source/source.js';
import { textsOf } from '../init/examine.js';
import { readEach } from './read-each.js';
import { checkSurroundings, some } from './source-surroundings.js';

export interface CheckOptions {
  readonly source: SourceOptions;
  readonly client: ClickHouseClient;
  readonly database: string;
  /** The audit database is wanted. */
  readonly history: boolean;
  /** Makes the sink as `run` would, without opening it; what it throws becomes a finding. */
  readonly makeSink: () => Sink;
}

/** Lag is a difference of clocks, and retention is decided by ClickHouse's. */
const CLOCK_MS_MAX = 1_000;

/** Examines both sides as `run` would find them, and changes nothing. What fails becomes a finding, never an error. */
export async function checkBoth(options: CheckOptions): Promise<Finding[]> {
  const findings: Finding[] = [...(await checkSource(options.source))];
  const decoder = findings.find(({ name }) => name === 'decoder')?.detail.split(' ')[0] ?? '';
  let client: Client | null = null;
  let relations: readonly Relation[] = [];
  let bytes = 0;
  let ahead: SinkCheck['clock'] = null;
  try {
    client = await connect(options.source.url, 'sql');
    const each = await readEach(client, options.source.tables, options.source.selections);
    relations = [...each.values()].filter((found): found is Relation => !(found instanceof WalhouseError));
    const { publication } = options.source;
    const around = await checkSurroundings(client, { relations, publication, decoder });
    bytes = around.bytes;
    findings.push(...around.findings);
    ahead = await sourceClock(client);
  } catch (error) {
    // Where nothing could be asked, checkSource has said why.
    if (findings.every(({ ok, level }) => ok || level === 'warning'))
      findings.push(asFinding('source', error));
  } finally {
    await client?.end();
  }
  replaceTables(findings, checkPlans(options, relations));
  const texts = relations.flatMap((relation) =>
    textsOf(relation).map((column) => `${relation.id}.${column}`),
  );
  findings.push(
    passed(
      'types kept as text',
      texts.length === 0 ? 'none' : `${some(texts)}: exact, as Postgres writes them`,
    ),
  );
  const { database, history } = options;
  const sink = await checkSink({
    client: options.client,
    database,
    history,
    tables: relations,
    sourceBytes: bytes,
  });
  findings.push(...sink.findings);
  findings.push(...checkClocks(ahead, sink.clock));
  if (sink.checkpoint !== null) findings.push(await checkContinuation(options, sink.checkpoint));
  return findings;
}

/** What the sink would say of each table: names, retention, history, marts. */
function checkPlans(options: CheckOptions, relations: readonly Relation[]): Finding[] {
  let sink: Sink;
  try {
    sink = options.makeSink();
  } catch (error) {
    return [failedWith('marts', error)];
  }
  const findings: Finding[] = [];
  for (const relation of relations) {
    try {
      sink.check([relation]);
    } catch (error) {
      findings.push(failedWith(`table ${relation.id}`, error));
    }
  }
  return findings;
}

/** A table that is well in Postgres and refused by the sink is not well: one line a table. */
function replaceTables(findings: Finding[], refusals: readonly Finding[]): void {
  for (const refusal of refusals) {
    const index = findings.findIndex(({ name, ok }) => name === refusal.name && ok);
    if (index < 0) findings.push(refusal);
    else findings[index] = refusal;
  }
}

async function sourceClock(client: Client): Promise<SinkCheck['clock']> {
  const before = Date.now();
  const { rows } = await client.query<{ ms: number }>(
    'select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms',
  );
  const after = Date.now();
  return { aheadMs: rows[0]!.ms - (before + after) / 2, uncertainMs: (after - before) / 2 };
}

function checkClocks(source: SinkCheck['clock'], sink: SinkCheck['clock']): Finding[] {
  return [['clock of Postgres', source] as const, ['clock of ClickHouse', sink] as const].flatMap(
    ([name, clock]) => {
      if (clock === null) return [];
      const { aheadMs, uncertainMs } = clock;
      const detail = `${Math.abs(aheadMs).toFixed(0)} ms ${aheadMs < 0 ? 'behind' : 'ahead of'} ours, give or take ${uncertainMs.toFixed(0)}`;
      if (Math.abs(aheadMs) - uncertainMs <= CLOCK_MS_MAX) return [passed(name, detail)];
      return [warned(name, detail, 'set all three by NTP: lag and retention are told by them')];
    },
  );
}

/** What is stored must go on from this cluster and this slot without a gap. */
async function checkContinuation(options: CheckOptions, stored: Checkpoint): Promise<Finding> {
  const title = 'continuation';
  const { source: sourceOptions, client, database } = options;
  try {
    const source = await openSource(sourceOptions);
    try {
      const identity = await source.identify();
      const before = stored.identity;
      if (identity.systemIdentifier !== before.systemIdentifier || identity.database !== before.database) {
        return refused(
          title,
          `what is stored came from cluster ${before.systemIdentifier}, database ${before.database}; source.url is cluster ${identity.systemIdentifier}, database ${identity.database}`,
          'point source.url at the former one, choose another sink.database, or run walhouse resync --all',
        );
      }
      const slot = await source.slot();
      // Read after the slot: a service that runs meanwhile stores before it confirms.
      const { appliedLsn } = (await readCheckpoint(client, database)) ?? stored;
      const applied = formatLsn(appliedLsn);
      if (slot === null)
        return refused(
          title,
          `slot "${sourceOptions.slot}" is gone; applied is ${applied}`,
          'walhouse resync --all',
        );
      if (slot.confirmedLsn > appliedLsn) {
        return refused(
          title,
          `slot "${sourceOptions.slot}" stands at ${formatLsn(slot.confirmedLsn)}, ahead of what is applied, ${applied}`,
          'walhouse resync --all',
        );
      }
      return passed(title, `goes on from ${applied}`);
    } finally {
      await source.close();
    }
  } catch (error) {
    return asFinding(title, error);
  }
}

function asFinding(name: string, error: unknown): Finding {
  if (error instanceof WalhouseError) return failedWith(name, error);
  return refused(name, error instanceof Error ? error.message : String(error), 'look at the server’s log');
}
