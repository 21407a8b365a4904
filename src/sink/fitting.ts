import type { Log } from '../pipeline/log.js';
import { prepareAlteration, resume, type Alteration, type Moment, type Prepared } from './alteration.js';
import { definitionOf, parseDefinition, stepBetween } from './evolution.js';
import type { Databases } from './names.js';
import type { TablePlan } from './plan.js';
import type { Server } from './server.js';
import type { KnownTable } from './stored-tables.js';
import { versionsFit } from './versions.js';

export interface FittingOptions {
  readonly server: Server;
  readonly databases: Databases;
  /** The relation's stamp, as it may be stored. */
  readonly stamp: string;
  /** Whether a mart reads a column of the table. */
  readonly isRead: (column: string) => boolean;
  /** Rows of the table that wait in quarantine. */
  readonly quarantined: number;
  readonly log: Log;
}

/** How the landing table comes to be what the plan wants of it; null where that takes a new copy. */
export async function fit(
  plan: TablePlan,
  known: KnownTable,
  moment: Moment,
  { server, databases, stamp, isRead, quarantined, log }: FittingOptions,
): Promise<Alteration | null> {
  const definition = parseDefinition(known.definition);
  if (definition === null) return null;
  let step = stepBetween({ definition, stamp: known.stamp }, { definition: definitionOf(plan), stamp });
  if (step.kind === 'same' && plan.history && !(await versionsFit(server, databases, plan)))
    step = { kind: 'resync', reason: 'its table of versions is not what it was left as' };
  if (step.kind === 'same') {
    const { altered } = known;
    return { plan: resume(plan, altered, moment.applied).plan, altered, first: null, last: null };
  }
  if (step.kind === 'alter') {
    const lost = step.drop.find(({ name }) => isRead(name));
    const before = { definition, altered: known.altered };
    const prepared: Prepared =
      lost !== undefined
        ? { reason: `a mart reads ${lost.name}` }
        : quarantined > 0
          ? { reason: 'rows of it are in quarantine' }
          : await prepareAlteration(server, databases.landing, plan, before, step, moment);
    if (!('reason' in prepared)) {
      const named = (columns: readonly { name: string }[]): string[] => columns.map(({ name }) => name);
      log.info({ table: plan.id, add: named(step.add), drop: named(step.drop) }, 'altering a table in place');
      return prepared;
    }
    step = { kind: 'resync', reason: prepared.reason };
  }
  log.info({ table: plan.id, reason: step.reason }, 'a table is to be copied anew');
  return null;
}
