import { checkChain, chained } from '../ops/reports/chain.js';
import { reportLine, reportText } from '../ops/reports/text.js';
import { createSinkClient } from '../sink/client.js';
import { ReportStore, type StoredReport } from '../sink/report-store.js';
import type { Config } from './config.js';

/** `walhouse reports list`: one line each, the oldest first. Resolves to the exit code, 0. */
export async function listReports(config: Config, options: { json: boolean }): Promise<number> {
  const reports = (await stored(config)).map(chained);
  if (options.json) process.stdout.write(`${JSON.stringify(reports)}\n`);
  else if (reports.length === 0) process.stdout.write('Nothing has been reported yet.\n');
  else process.stdout.write(reports.map((report) => `${reportLine(report)}\n`).join(''));
  return 0;
}

/** `walhouse reports show N`: 1 when there is none of that number. */
export async function showReport(
  config: Config,
  number: number,
  options: { json: boolean },
): Promise<number> {
  const found = (await stored(config)).find((report) => report.number === number);
  if (found === undefined) {
    process.stderr.write(`there is no report ${number}. Fix: walhouse reports list\n`);
    return 1;
  }
  const report = chained(found);
  process.stdout.write(options.json ? `${JSON.stringify(report)}\n` : reportText(report));
  return 0;
}

/** `walhouse reports verify`: 0 when every report is there as it was stored, 1 when not. */
export async function verifyReports(
  config: Config,
  options: { json: boolean; last: string | undefined },
): Promise<number> {
  const check = checkChain(await stored(config), options.last);
  if (options.json) process.stdout.write(`${JSON.stringify(check)}\n`);
  else if (check.problem !== null) process.stdout.write(`broken: ${check.problem}\n`);
  else if (check.reports === 0) process.stdout.write('Nothing has been reported yet.\n');
  else {
    process.stdout.write(
      `${check.reports} reports, each as it was stored and behind the one before; the last is ${check.hash}\n`,
    );
  }
  return check.problem === null ? 0 : 1;
}

async function stored(config: Config): Promise<StoredReport[]> {
  const client = createSinkClient(config.sink);
  try {
    return await new ReportStore(client, config.sink.database).list();
  } finally {
    await client.close();
  }
}
