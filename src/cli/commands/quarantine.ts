import type { Command } from 'commander';
import {
  configOf,
  configOption,
  examples,
  jsonOption,
  wholeNumber,
  type ConfigGiven,
  type JsonGiven,
} from './options.js';

export function addQuarantine(program: Command): void {
  const quarantine = program
    .command('quarantine')
    .description('rows that ClickHouse could not hold exactly: look at them, put them back');
  examples(quarantine, 'walhouse quarantine list', 'walhouse quarantine retry public.payments');

  const list = quarantine
    .command('list')
    .argument('[table]', 'one table, as schema.table')
    .description('key, position, column and reason of every row in quarantine')
    .addOption(configOption())
    .addOption(jsonOption())
    .option('--limit <n>', 'at most so many rows', wholeNumber, 100)
    .option('--show-values', 'the rows themselves too, which may be secret')
    .action(
      async (
        table: string | undefined,
        options: ConfigGiven & JsonGiven & { limit: number; showValues?: boolean },
      ) => {
        const { listRows } = await import('../quarantine.js');
        process.exitCode = await listRows(configOf(options), {
          table: table ?? null,
          limit: options.limit,
          showValues: options.showValues === true,
          json: options.json === true,
        });
      },
    );
  examples(list, 'walhouse quarantine list', 'walhouse quarantine list public.payments --limit 10 --json');

  const retry = quarantine
    .command('retry')
    .argument('<table>', 'as schema.table')
    .description('puts rows back after a fix, in the order of their versions; a later version still wins')
    .addOption(configOption())
    .addOption(jsonOption())
    .action(async (table: string, options: ConfigGiven & JsonGiven) => {
      const { retryRows } = await import('../quarantine.js');
      process.exitCode = await retryRows(configOf(options), table, { json: options.json === true });
    });
  examples(retry, 'walhouse quarantine retry public.payments');
}
