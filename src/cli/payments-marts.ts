import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { keptFrom } from '../api/kept-from.js';
import type { Positions } from '../api/positions.js';
import { ClickHouseRisk } from '../api/risk-clickhouse.js';
import { BASELINE_WINDOWS, WINDOW_US } from '../api/risk.js';
import type { createSinkClient } from '../sink/client.js';
import { loadMarts, type MartFiles } from '../sink/marts.js';
import type { Config } from './config.js';

const SQL = fileURLToPath(new URL('../../clickhouse', import.meta.url));
/** Where the risk question's tables are, whatever else is configured. */
const PAYMENTS = 'public.payments';
/** What its answers are made from; they do not depend on how other tables stand. */
export const RISK_TABLES = ['public.merchants', PAYMENTS];

const DAY_MS = 86_400_000;
/** The usual window with its baseline is answered from the mart unless told otherwise. */
const HORIZON_MS_MIN = (Number(WINDOW_US) / 1000) * (1 + BASELINE_WINDOWS);

/** The mart files that the configuration asks for. */
export function configuredMarts(config: Config): MartFiles[] {
  return loadMarts(SQL, config.marts, { horizon_days: String(horizonDays(config)) });
}

/** The risk question as configured. */
export function riskReader(
  config: Config,
  client: ReturnType<typeof createSinkClient>,
  positions: Positions,
): ClickHouseRisk {
  const { database } = config.sink;
  const keep = config.tables[PAYMENTS]?.retention?.keep;
  const query = (name: string): string => readFileSync(`${SQL}/payments/queries/${name}.sql`, 'utf8');
  return new ClickHouseRisk({
    client,
    positions,
    queries: {
      rows: { mart: query('rows_mart'), landing: query('rows_landing') },
      numbers: query('risk'),
      byMethod: query('risk_by_method'),
      peers: query('risk_peers'),
      last: query('last_payments'),
    },
    parameters: { database, landing: `${database}_landing` },
    horizonMs: horizonDays(config) * DAY_MS,
    ...(keep === undefined ? {} : { keptFromMs: (nowMs: number) => keptFrom(nowMs, keep) }),
  });
}

/** A day more than is asked for, since what is about to leave a window must still be there. */
function horizonDays({ risk }: Config): number {
  const wanted = risk.horizon ?? Math.max(...risk.windows, HORIZON_MS_MIN);
  return Math.ceil(wanted / DAY_MS) + 1;
}
