import { formatLsn, type Lsn } from '../pipeline/lsn.js';
import { waitingSignal, type ApiContext } from './context.js';
import type { AppliedPosition, Positions } from './positions.js';
import { Problem } from './problem.js';
import { unavailable } from './risk-clickhouse.js';

const NOT_YET = 'The answer is not as fresh as was asked for.';

/** Waits for the position the caller named, or throws a 503 once the time it gave is over. */
export async function waitUntilApplied(
  context: ApiContext,
  positions: Positions,
  minLsn: Lsn | undefined,
  waitMs: number,
): Promise<void> {
  if (minLsn === undefined) return;
  if (hasReached(positions.applied(), minLsn)) return;
  if (waitMs > 0) {
    const signal = waitingSignal(context);
    const span = context
      .get('span')
      ?.child('wait for position', { facts: { 'walhouse.min_lsn': formatLsn(minLsn) } });
    const reached = await until(positions.waitFor(minLsn, waitMs, signal), signal).finally(() => span?.end());
    if (reached) return;
  }
  const applied = positions.applied();
  if (applied === null) throw unavailable(positions);
  throw behind(minLsn, applied, waitMs);
}

/** The 503 for a position that is not applied yet. */
export function behind(minLsn: Lsn, applied: AppliedPosition, waitedMs: number): Problem {
  return new Problem({
    status: 503,
    kind: 'position_not_applied',
    title: NOT_YET,
    detail: `${formatLsn(applied.lsn)} is applied; ${formatLsn(minLsn)} was not reached within ${waitedMs} ms.`,
    fix: 'ask again, or with a longer wait_ms; GET /v1/replication says how far behind replication is',
    retryAfterMs: 1000,
    extra: { applied_lsn: formatLsn(applied.lsn) },
  });
}

/** Throws a 503 when what is known is older than the caller accepts. */
export function refuseOlder(lagMs: number | null, maxLagMs: number | undefined): void {
  if (maxLagMs === undefined || (lagMs !== null && lagMs <= maxLagMs)) return;
  throw new Problem({
    status: 503,
    kind: 'lag_too_high',
    title: NOT_YET,
    detail: `${
      lagMs === null
        ? 'How old what is known is, is not known.'
        : `What is known is ${Math.round(lagMs)} ms old.`
    } At most ${maxLagMs} ms were asked for.`,
    fix: 'ask again, or with a larger max_lag_ms; GET /v1/replication says how far behind replication is',
    retryAfterMs: 1000,
    extra: { lag_ms: lagMs === null ? null : Math.round(lagMs) },
  });
}

export function hasReached(applied: AppliedPosition | null, lsn: Lsn): boolean {
  return applied !== null && applied.lsn >= lsn;
}

/** The promise's outcome, or false as soon as the signal aborts. */
async function until(promise: Promise<boolean>, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  let onAbort = (): void => {};
  const aborted = new Promise<boolean>((resolve) => {
    onAbort = () => resolve(false);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
