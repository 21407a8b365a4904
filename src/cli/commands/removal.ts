import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { version } from '../version.js';
import {
  configOf,
  configOption,
  examples,
  jsonOption,
  keyOf,
  keyOption,
  wholeNumber,
  type ConfigGiven,
  type JsonGiven,
  type KeyGiven,
} from './options.js';

/** What removes rows for good, and the reports that prove it. */
export function addRemoval(program: Command): void {
  addRetention(program);
  addErase(program);
  addReports(program);
}

function addRetention(program: Command): void {
  const command = program
    .command('retention')
    .description('removes what is past its retention now from everything that holds it, and proves it')
    .addOption(configOption())
    .addOption(jsonOption())
    .option('--report', 'the whole report instead of one line')
    .action(async (options: ConfigGiven & JsonGiven & { report?: boolean }) => {
      const { retention } = await import('../retention.js');
      process.exitCode = await retention(configOf(options), {
        json: options.json === true,
        report: options.report === true,
        version: version(),
      });
    });
  examples(command, 'walhouse retention', 'walhouse retention --report');
}

function addErase(program: Command): void {
  const command = program
    .command('erase')
    .argument('<table>', 'as schema.table')
    .description(
      'removes one row, what follows it (tables.NAME.erase.follow) and every older version of them from everything that holds any, and proves it; the source must have deleted them',
    )
    .addOption(configOption())
    .addOption(jsonOption())
    .addOption(keyOption())
    .requiredOption(
      '--key <key>',
      'the key, as column=value,... or a JSON object where it has several columns; - reads it from standard input',
    )
    .option('--although-in-source', 'erases it here even if the source still has it')
    .action(
      async (
        table: string,
        options: ConfigGiven & JsonGiven & KeyGiven & { key: string; althoughInSource?: boolean },
      ) => {
        const { erase } = await import('../erase.js');
        process.exitCode = await erase(configOf(options), {
          table,
          key: options.key === '-' ? readFileSync(0, 'utf8').replace(/\r?\n$/, '') : options.key,
          althoughInSource: options.althoughInSource === true,
          json: options.json === true,
          version: version(),
          apiKey: keyOf(options),
        });
      },
    );
  examples(
    command,
    'walhouse erase public.customers --key id=4711',
    'walhouse erase public.customers --key - < key.txt',
  );
}

function addReports(program: Command): void {
  const reports = program
    .command('reports')
    .description('what retention and erase have removed, each report chained to the one before by its hash');
  examples(reports, 'walhouse reports list', 'walhouse reports verify');

  const list = reports
    .command('list')
    .description('one line a report, the oldest first')
    .addOption(configOption())
    .addOption(jsonOption())
    .action(async (options: ConfigGiven & JsonGiven) => {
      const { listReports } = await import('../reports.js');
      process.exitCode = await listReports(configOf(options), { json: options.json === true });
    });
  examples(list, 'walhouse reports list', 'walhouse reports list --json');

  const show = reports
    .command('show')
    .argument('<number>', 'as in the list', wholeNumber)
    .description('one report whole')
    .addOption(configOption())
    .addOption(jsonOption())
    .action(async (number: number, options: ConfigGiven & JsonGiven) => {
      const { showReport } = await import('../reports.js');
      process.exitCode = await showReport(configOf(options), number, { json: options.json === true });
    });
  examples(show, 'walhouse reports show 3');

  const verify = reports
    .command('verify')
    .description('looks whether every report is there as it was stored; 1 when not')
    .addOption(configOption())
    .addOption(jsonOption())
    .option('--last <hash>', 'a hash noted earlier, which must still be there')
    .action(async (options: ConfigGiven & JsonGiven & { last?: string }) => {
      const { verifyReports } = await import('../reports.js');
      process.exitCode = await verifyReports(configOf(options), {
        json: options.json === true,
        last: options.last,
      });
    });
  examples(verify, 'walhouse reports verify', 'walhouse reports verify --last "$NOTED"');
}
