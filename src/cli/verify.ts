import { WalhouseError } from '../pipeline/errors.js';
import { waitUntilApplied } from '../ops/verify/applied.js';
import { LOAD_MAX, LOAD_MIN, loadOf } from '../ops/verify/load.js';
import { repair } from '../ops/verify/repair.js';
import { repairText, reportText } from '../ops/verify/report.js';
import { RepairService, type ServiceAddress } from '../ops/verify/service.js';
import { type Verified, verify as compare } from '../ops/verify/verify.js';
import type { VerifyProgress } from '../ops/verify/verify-table.js';
import { createSinkClient } from '../sink/client.js';
import { similarNames } from '../source/similar-names.js';
import { serviceUrl, type Config } from './config.js';
import { maskerOf } from './masking.js';

export interface VerifyCommand {
  /** `public.payments`, or `payments` where only one table is called so. */
  readonly table: string | undefined;
  readonly repair: boolean;
  readonly json: boolean;
  readonly maxLoad: number;
  readonly key: string | undefined;
}

/**
 * `walhouse verify`: 0 when both sides are equal, or are so after a repair; 1 when they are not, or could not be compared.
 * @throws WalhouseError config_invalid for a table, a load or a key that there is not
 */
export async function verify(config: Config, command: VerifyCommand): Promise<number> {
  const { maxLoad } = command;
  if (!(maxLoad >= LOAD_MIN && maxLoad <= LOAD_MAX)) {
    throw new WalhouseError('config_invalid', {
      what: `--max-load is ${maxLoad}.`,
      why: 'It is how many of the source’s processes may work for the comparison at once, on average.',
      fix: `give a number from ${LOAD_MIN} to ${LOAD_MAX}, e.g. --max-load 0.5`,
    });
  }
  const all = Object.keys(config.tables);
  const only = command.table === undefined ? all : [tableId(config, command.table)];
  const clickhouse = createSinkClient(config.sink, { readOnly: true });
  const progress = new ProgressLine(only, command.json);
  const service: ServiceAddress = {
    apiUrl: serviceUrl(config),
    apiKey: command.key,
  };
  const compareOnly = (tables: readonly string[]): Promise<Verified> =>
    compare({
      sourceUrl: config.source.url,
      clickhouse,
      database: config.sink.database,
      tables: new Map(Object.entries(config.tables)),
      masker: maskerOf(config),
      selections: config.tables,
      only: tables,
      load: loadOf(maxLoad),
      applied: (position) =>
        waitUntilApplied(
          { ...service, clickhouse, database: config.sink.database, slot: config.source.slot },
          position,
        ),
      onProgress: (now) => progress.show(now),
    });
  try {
    if (command.repair) await new RepairService(service).status();
    const found = await compareOnly(only);
    if (!command.repair || found.report.equal) {
      progress.clear();
      const report = command.repair ? { ...found.report, repairs: [], before: found.report } : found.report;
      process.stdout.write(command.json ? `${JSON.stringify(report)}\n` : reportText(found.report));
      return found.report.equal ? 0 : 1;
    }
    progress.clear();
    if (!command.json) process.stdout.write(reportText(found.report));
    const { repairs, after } = await repair({
      found,
      service: new RepairService(service),
      verify: compareOnly,
      onProgress: (now) => progress.show(now),
    });
    progress.clear();
    process.stdout.write(
      command.json
        ? `${JSON.stringify({ ...after.report, repairs, before: found.report })}\n`
        : repairText(repairs, after.report),
    );
    return after.report.equal ? 0 : 1;
  } catch (error) {
    progress.clear();
    if (!(error instanceof WalhouseError) || error.kind === 'config_invalid') throw error;
    process.stderr.write(`${error.message}\n`);
    return 1;
  } finally {
    progress.clear();
    await clickhouse.close();
  }
}

function tableId(config: Config, wanted: string): string {
  const ids = Object.keys(config.tables);
  if (ids.includes(wanted)) return wanted;
  const bare = ids.filter((id) => id.slice(id.indexOf('.') + 1) === wanted);
  if (bare.length === 1) return bare[0]!;
  const similar = bare.length > 1 ? bare : similarNames(wanted, ids);
  throw new WalhouseError('config_invalid', {
    what: `${wanted} is not among tables.`,
    why: 'Only what Walhouse replicates can be compared.',
    fix: similar.length > 0 ? `write ${similar.join(' or ')}` : `write one of: ${ids.join(', ')}`,
  });
}

const STEPS: Readonly<Record<VerifyProgress['step'], string>> = {
  waiting: 'waiting for one position',
  reading: 'comparing',
  descending: 'looking into what differs',
  following: 'following what changed meanwhile',
  repairing: 'storing rows anew',
  copying: 'copying the table anew',
};
/** Where nobody watches, a line now and then says that it goes on. */
const PLAIN_LINE_MS = 5_000;

/** One line that is written over on a terminal; a plain line at times elsewhere, none beside JSON. Always on standard error. */
class ProgressLine {
  readonly #tables: readonly string[];
  readonly #quiet: boolean;
  #shown = false;
  #lastAt = performance.now();

  constructor(tables: readonly string[], json: boolean) {
    this.#tables = tables;
    this.#quiet = json && !process.stderr.isTTY;
  }

  show({ table, step, done, secondsLeft }: VerifyProgress): void {
    if (this.#quiet) return;
    const place = this.#tables.indexOf(table) + 1;
    const which = place > 0 && this.#tables.length > 1 ? `${place}/${this.#tables.length} ` : '';
    const percent = done === 0 ? '' : ` ${Math.floor(done * 100)} %`;
    const left = secondsLeft === null || done >= 1 ? '' : `, about ${timeText(secondsLeft)} left`;
    const line = `${which}${table}: ${STEPS[step]}${percent}${left}`;
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\u001b[K${line}`);
      this.#shown = true;
      return;
    }
    const now = performance.now();
    if (now - this.#lastAt < PLAIN_LINE_MS) return;
    this.#lastAt = now;
    process.stderr.write(`${line}\n`);
  }

  clear(): void {
    if (this.#shown) process.stderr.write('\r\u001b[K');
    this.#shown = false;
  }
}

function timeText(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 120) return `${whole} s`;
  return whole < 7_200 ? `${Math.ceil(whole / 60)} min` : `${(whole / 3_600).toFixed(1)} h`;
}
