import { forgetOtherwiseMasked } from './audit.js';
import { AUDIT_PREFIX, type Databases } from './names.js';
import type { Ownership } from './ownership.js';
import type { TablePlan } from './plan.js';
import type { Server } from './server.js';
import { forgetOtherwiseMaskedVersions } from './versions.js';

/**
 * Takes columns that are masked otherwise now out of what is kept of a table's past: its trail and its versions stay with it, also where its history
 * is not kept any more.
 */
export async function forgetMaskedOtherwise(
  plan: TablePlan,
  { server, ownership, databases }: { server: Server; ownership: Ownership; databases: Databases },
): Promise<void> {
  const doing = `taking columns that are masked otherwise now out of the history of ${plan.id}`;
  const rewrite = async (
    table: string,
    { update, where, remember }: { update: string; where: string; remember: string },
  ): Promise<void> => {
    await ownership.deleting((still) =>
      server.longCommand(`alter table ${table} update ${update} where ${where} and ${still}`, doing, {
        mutations_sync: '1',
      }),
    );
    await ownership.alter(table, remember, doing);
  };
  const [trail] = await server.rows<{ comment: string }>(
    `select comment from system.tables where database = {landing:String} and name = {name:String}`,
    doing,
    { landing: databases.landing, name: `${AUDIT_PREFIX}${plan.name}` },
  );
  const change = trail === undefined ? null : forgetOtherwiseMasked(plan, trail.comment);
  if (change !== null) await rewrite(plan.auditRows, change);
  // Where history is kept, its versions come into the new copy without what was masked otherwise.
  const left = plan.history ? null : await forgetOtherwiseMaskedVersions(server, databases, plan);
  if (left !== null) await rewrite(plan.versions, { ...left, where: 'true' });
}
