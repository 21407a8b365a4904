import { WalhouseError } from '../pipeline/errors.js';
import { appendReport } from '../ops/reports/chain.js';
import { erase as eraseSubject } from '../ops/reports/erase.js';
import { reportText } from '../ops/reports/text.js';
import { waitUntilApplied } from '../ops/verify/applied.js';
import { createSinkClient } from '../sink/client.js';
import type { Follow } from '../sink/erase.js';
import { ReportStore } from '../sink/report-store.js';
import { serviceUrl, type Config } from './config.js';

export interface EraseCommand {
  readonly table: string;
  readonly key: string;
  readonly althoughInSource: boolean;
  readonly json: boolean;
  readonly version: string;
  readonly apiKey: string | undefined;
}

/**
 * `walhouse erase`: 0 when nothing is left of the subject, 1 when that is not so, cannot be said, or was refused because it would come back.
 * @throws WalhouseError config_invalid for a table or a key that there is not
 */
export async function erase(config: Config, command: EraseCommand): Promise<number> {
  const { table, json } = command;
  if (!Object.hasOwn(config.tables, table)) {
    throw new WalhouseError('config_invalid', {
      what: `${table} is not among tables.`,
      why: 'Only what Walhouse replicates can be erased by it.',
      fix: `write one of: ${Object.keys(config.tables).join(', ')}`,
    });
  }
  const { database } = config.sink;
  const clickhouse = createSinkClient(config.sink);
  const follow = Object.entries(config.tables).flatMap(([of, options]) =>
    (options.erase?.follow ?? []).map((next): Follow => ({ of, ...next })),
  );
  try {
    const { report, reference } = await eraseSubject({
      sourceUrl: config.source.url,
      slot: config.source.slot,
      clickhouse,
      database,
      table,
      key: (columns) => keyOf(command.key, columns, table),
      follow,
      althoughInSource: command.althoughInSource,
      version: command.version,
      applied: (position) =>
        waitUntilApplied(
          {
            apiUrl: serviceUrl(config),
            apiKey: command.apiKey,
            clickhouse,
            database,
            slot: config.source.slot,
          },
          position,
        ),
    });
    const chained = await appendReport(new ReportStore(clickhouse, database), report);
    process.stdout.write(
      json
        ? `${JSON.stringify({ reference, ...chained })}\n`
        : `${reportText(chained)}reference ${reference} (in no report; with it and the key anybody can tell whom the report is about)\n`,
    );
    return report.proven ? 0 : 1;
  } catch (error) {
    if (!(error instanceof WalhouseError) || error.kind === 'config_invalid') throw error;
    process.stderr.write(`${error.message}\n`);
    return 1;
  } finally {
    await clickhouse.close();
  }
}

/** The key's values in the order of its columns. */
function keyOf(text: string, columns: readonly string[], table: string): string[] {
  const [only] = columns;
  if (columns.length === 1 && only !== undefined && !text.startsWith('{')) return [text];
  const values = text.startsWith('{') ? fromJson(text) : fromPairs(text);
  const found = columns.map((column) => values?.get(column));
  if (values?.size === columns.length && found.every((value) => value !== undefined)) return found;
  throw new WalhouseError('config_invalid', {
    what: `--key does not name each of ${columns.join(', ')} once.`,
    why: `They are the key of ${table}.`,
    fix: `write ${columns.map((column) => `${column}=...`).join(',')}, or a JSON object where a value holds a comma`,
  });
}

function fromPairs(text: string): Map<string, string> {
  return new Map(
    text.split(',').map((pair): [string, string] => {
      const at = pair.indexOf('=');
      return at < 0 ? ['', pair] : [pair.slice(0, at).trim(), pair.slice(at + 1)];
    }),
  );
}

function fromJson(text: string): Map<string, string> | null {
  try {
    const value = JSON.parse(text) as Record<string, unknown>;
    const entries = Object.entries(value).filter((entry): entry is [string, string | number | boolean] =>
      ['string', 'number', 'boolean'].includes(typeof entry[1]),
    );
    return new Map(entries.map(([name, each]) => [name, String(each)]));
  } catch {
    return null;
  }
}
