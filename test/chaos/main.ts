import { appendFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { reportRow, reportText } from './report.js';
import { runChaos } from './run.js';

const USAGE = `npm run chaos -- [--minutes M] [--seed S] [--decoder wal2json|pgoutput] [--report FILE] [--verbose]

Breaks everything about Walhouse for M minutes (2), by a plan that the seed S decides, and compares everything with Postgres again and
again. Exit code 0 when nothing was ever otherwise than promised, 1 with all that one needs to replay it, 2 for bad usage.
--report adds the run's row for the table in docs/RELIABILITY.md to FILE; --verbose prints every step.
`;

process.exitCode = await main();

async function main(): Promise<number> {
  const options = read();
  if (options === null) {
    process.stderr.write(USAGE);
    return 2;
  }
  const { seed, minutes, decoder, report, verbose } = options;
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      process.stderr.write(stopping.signal.aborted ? '' : 'ending after this round\n');
      stopping.abort();
    });
  }
  const tell = (line: string): void => void process.stdout.write(`${line}\n`);
  const result = await runChaos({ seed, minutes, decoder, verbose, tell, signal: stopping.signal });
  tell(reportText(result, seed));
  const row = reportRow(result, seed);
  tell(row);
  if (report !== undefined) appendFileSync(report, `${row}\n`);
  return result.findings.violations.length === 0 ? 0 : 1;
}

function read() {
  try {
    const { values } = parseArgs({
      options: {
        minutes: { type: 'string', default: '2' },
        seed: { type: 'string', default: String(1 + Math.floor(Math.random() * 999_999)) },
        decoder: { type: 'string', default: 'auto' },
        report: { type: 'string' },
        verbose: { type: 'boolean', default: false },
      },
    });
    const { decoder, report, verbose } = values;
    const [seed, minutes] = [Number(values.seed), Number(values.minutes)];
    if (!Number.isSafeInteger(seed) || seed < 0 || !(minutes > 0)) return null;
    if (decoder !== 'auto' && decoder !== 'wal2json' && decoder !== 'pgoutput') return null;
    return { seed, minutes, decoder, report, verbose } as const;
  } catch {
    return null;
  }
}
