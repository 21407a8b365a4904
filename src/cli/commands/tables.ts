import type { Command } from 'commander';
import {
  configOf,
  configOption,
  decimalNumber,
  examples,
  jsonOption,
  keyOf,
  keyOption,
  type ConfigGiven,
  type JsonGiven,
  type KeyGiven,
} from './options.js';

/** Whether tables are equal on both sides, and copying them anew. */
export function addTables(program: Command): void {
  addVerify(program);
  addResync(program);
}

function addVerify(program: Command): void {
  const command = program
    .command('verify')
    .description(
      'compares Postgres and ClickHouse at one WAL position while both are written to, and says which keys differ',
    )
    .argument('[table]', 'one table alone, e.g. public.payments')
    .option(
      '--repair',
      'has the running service store anew what differs, row by row or as a new copy of the table, and compares again',
    )
    .addOption(configOption())
    .addOption(jsonOption())
    .option(
      '--max-load <n>',
      "how many of the source's processes may work for it at once, on average: 2 is two connections that query all the time, 0.25 one that does a quarter of the time",
      decimalNumber,
      1,
    )
    .addOption(keyOption())
    .action(
      async (
        table: string | undefined,
        options: ConfigGiven & JsonGiven & KeyGiven & { repair?: boolean; maxLoad: number },
      ) => {
        const { verify } = await import('../verify.js');
        process.exitCode = await verify(configOf(options), {
          table,
          repair: options.repair === true,
          json: options.json === true,
          maxLoad: options.maxLoad,
          key: keyOf(options),
        });
      },
    );
  examples(
    command,
    'walhouse verify',
    'walhouse verify public.payments --max-load 0.25',
    'walhouse verify public.payments --repair',
  );
}

function addResync(program: Command): void {
  const command = program
    .command('resync')
    .description('snapshots a table again while the others stream; readers never see a half-full table')
    .argument('[table]', 'schema.table, as in walhouse.yaml')
    .option('--all', 'every table; accepts a lost or new slot, or another cluster')
    .addOption(configOption())
    .addOption(keyOption())
    .action(async (table: string | undefined, options: ConfigGiven & KeyGiven & { all?: boolean }) => {
      if ((table === undefined) === (options.all !== true)) command.error('error: name one table, or --all');
      const { resync } = await import('../control.js');
      const target = table === undefined ? { all: true as const } : { table };
      process.exitCode = await resync(configOf(options), target, keyOf(options));
    });
  examples(command, 'walhouse resync public.payments', 'walhouse resync --all');
}
