import type { ChaosResult } from './run.js';

/** The kinds of step that end the service, a server, or both. */
const KILLS = [
  'kill',
  'failpoint',
  'sleeper',
  'take_over',
  'kill_standby',
  'postgres_kill',
  'postgres_crash',
  'clickhouse_kill',
];

export interface ChaosSummary {
  readonly date: string;
  readonly seed: number;
  readonly minutes: number;
  readonly kills: number;
  readonly comparisons: number;
  readonly outcome: string;
}

/** What was done and compared, in plain words. */
export function reportText(result: ChaosResult, seed: number): string {
  const { findings } = result;
  const list = (prefix: string): string =>
    findings
      .countsOf(prefix)
      .map(([name, count]) => `${name.replaceAll('_', ' ')} ${count.toLocaleString('en')}`)
      .join(', ') || 'nothing';
  const lines = [
    '',
    `${result.rounds} rounds in ${result.seconds} s, seed ${seed}, ${result.decoder}, ${result.transactions.toLocaleString('en')} source transactions.`,
    `  to the service:   ${list('processes')}`,
    `    which died at:  ${list('died at')}; fell asleep, was replaced and woke up at: ${list('slept at')}; did not come to its failpoint ${findings.counted('failpoint not met')} times; was refused at its start and started again: ${list('refused')}`,
    `  to the servers:   ${list('servers')}`,
    `  in the source:    ${list('source')}`,
    `  by operators:     ${list('operator')}; not possible at its moment: ${list('not possible')}`,
    `  readers meanwhile: ${list('answer')}; views read ${findings.counted('view read') + findings.counted('mark read')} times`,
    `  compared with Postgres ${findings.counted('comparison')} times: ${list('compared')}`,
  ];
  if (findings.violations.length === 0) {
    lines.push('Nothing was ever otherwise than promised.');
  } else {
    lines.push(
      `${findings.violations.length} VIOLATIONS:`,
      ...findings.violations.map((violation) => `  ${violation}`),
      'The last steps:',
      ...findings.steps.slice(-40).map((step) => `  ${step}`),
      `All steps, the logs of the service and the data of both servers are in ${result.kept}.`,
      `The same steps again: npm run chaos -- --minutes ${Math.ceil(result.seconds / 60) + 1} --seed ${seed} --decoder ${result.decoder}`,
    );
  }
  return lines.join('\n');
}

/** One row for the table in docs/RELIABILITY.md. */
export function reportRow(result: ChaosResult, seed: number): string {
  const { findings } = result;
  const sum = (prefix: string, kinds?: readonly string[]): number =>
    findings
      .countsOf(prefix)
      .filter(([kind]) => kinds === undefined || kinds.includes(kind))
      .reduce((total, [, count]) => total + count, 0);
  const kills = sum('processes', KILLS) + sum('servers', KILLS);
  const other = sum('processes') + sum('servers') - kills;
  const outcome = findings.violations.length === 0 ? 'equal' : `**${findings.violations.length} violations**`;
  const cells = [
    new Date().toISOString().slice(0, 10),
    String(seed),
    result.decoder,
    (result.seconds / 60).toFixed(1),
    String(kills),
    String(other),
    String(sum('source')),
    String(sum('operator')),
    String(findings.counted('comparison')),
    sum('compared').toLocaleString('en'),
    (sum('answer') + findings.counted('view read') + findings.counted('mark read')).toLocaleString('en'),
    outcome,
  ];
  return `| ${cells.join(' | ')} |`;
}
