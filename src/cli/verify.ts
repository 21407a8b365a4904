import { WalhouseError } from '../pipeline/errors.js';
import { waitUntilApplied } from '../ops/verify/applied.js';
import { LOAD_MAX, LOAD_MIN, loadOf } from '../ops/verify/load.js';
import { reportText } from '../ops/verify/report.js';
import { verify as compare } from '../ops/verify/verify.js';
import type { VerifyProgress } from '../ops/verify/verify-table.js';
import { createSinkClient } from '../sink/client.js';
import { similarNames } from '../source/similar-names.js';
import type { Config } from './config.js';

export interface VerifyCommand {
  /** `public.payments`, or `payments` where only one table is called so. */
  readonly table: string | undefined;
  readonly json: boolean;
  readonly maxLoad: number;
  readonly key: string | undefined;
}

/**
 * `walhouse verify`: 0 when both sides are equal, 1 when they are not, or could not be compared.
 * @throws WalhouseError config_invalid for a table or a load that there is not
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
  const ids = command.table === undefined ? Object.keys(config.tables) : [tableId(config, command.table)];
  const clickhouse = createSinkClient(config.sink.url);
  const progress = new ProgressLine();
  try {
    const report = await compare({
      sourceUrl: config.source.url,
      clickhouse,
      database: config.sink.database,
      tables: new Map(ids.map((id) => [id, { retention: config.tables[id]!.retention }])),
      marts: command.table === undefined,
      load: loadOf(maxLoad),
      applied: (position) =>
        waitUntilApplied(
          {
            apiUrl: `http://${config.api.listen.replace(/^(0\.0\.0\.0|\[::\])/, '127.0.0.1')}`,
            apiKey: command.key,
            clickhouse,
            database: config.sink.database,
            slot: config.source.slot,
          },
          position,
        ),
      onProgress: (now) => progress.show(now),
    });
    progress.clear();
    process.stdout.write(command.json ? `${JSON.stringify(report)}\n` : reportText(report));
    return report.equal ? 0 : 1;
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
};
/** Where nobody watches, a line now and then says that it goes on. */
const PLAIN_LINE_MS = 5_000;

/** One line that is written over on a terminal; a plain line at times elsewhere. Always on standard error. */
class ProgressLine {
  #shown = false;
  #lastAt = performance.now();

  show({ table, step, done, secondsLeft }: VerifyProgress): void {
    const percent = step === 'waiting' ? '' : ` ${Math.floor(done * 100)} %`;
    const left = secondsLeft === null || done >= 1 ? '' : `, about ${Math.ceil(secondsLeft)} s left`;
    const line = `${table}: ${STEPS[step]}${percent}${left}`;
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
