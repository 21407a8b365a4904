import { Option, type Command } from 'commander';
import { examples, jsonOption, wholeNumber, type JsonGiven } from './options.js';

/** What needs no server of one's own, and data for the domains. */
export function addSandbox(program: Command): void {
  addDemo(program);
  addServers(program);
  addLoad(program);
}

function addDemo(program: Command): void {
  const command = program
    .command('demo')
    .description('a local Postgres with live traffic, streamed into a local ClickHouse, with the API')
    .option('--domain <domain|all>', 'which domain is played, or all of them', 'payments')
    .option('--seconds <n>', 'stop after so long, then check that everything is equal', wholeNumber)
    .option('--rate <n>', 'changes to the source per second', wholeNumber, 200)
    .option('--seed <n>', 'repeats a run', wholeNumber, 1)
    .option(
      '--port <n>',
      'where the API listens; 0 takes a free port (default: 8080 where it is free)',
      wholeNumber,
    )
    .action(
      async (options: { domain: string; seconds?: number; rate: number; seed: number; port?: number }) => {
        const { demo } = await import('../demo.js');
        process.exitCode = await demo(options);
      },
    );
  examples(command, 'walhouse demo', 'walhouse demo --domain all --seconds 20 --port 0');
}

function addServers(program: Command): void {
  const command = program
    .command('servers')
    .description('starts the local Postgres and ClickHouse alone; they stop with the terminal')
    .option('--dir <dir>', 'where the data stays; without it, it is gone at the end')
    .addOption(jsonOption())
    .action(async (options: JsonGiven & { dir?: string }) => {
      const { servers } = await import('../servers.js');
      process.exitCode = await servers({
        json: options.json === true,
        ...(options.dir === undefined ? {} : { dir: options.dir }),
      });
    });
  examples(command, 'walhouse servers', 'walhouse servers --dir ./data --json');
}

function addLoad(program: Command): void {
  const command = program
    .command('load')
    .argument('<domain>', 'payments, receivables, banking, claims, ...')
    .description('loads CSV files into the tables of a domain in the source')
    .requiredOption('--from <dir>', 'the folder with TABLE.csv or TABLE.csv.gz, each with a header')
    .option(
      '--url <url>',
      'the source, of a role that owns the tables; safer in the environment variable SOURCE_URL',
    )
    .addOption(new Option('--append', 'also into tables that have rows').conflicts('replace'))
    .option('--replace', 'removes the rows of all tables of the domain first')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `
All files are one transaction. A line that Postgres does not take is reported with its number and left out; the others go
on, and the exit code is then 1.`,
    )
    .action(
      async (
        domain: string,
        options: JsonGiven & { from: string; url?: string; append?: boolean; replace?: boolean },
      ) => {
        const { load } = await import('../load.js');
        const { from, url, append, replace, json } = options;
        process.exitCode = await load(
          {
            domain,
            from,
            url,
            existing: replace === true ? 'replace' : append === true ? 'append' : 'refuse',
            json: json === true,
          },
          process.env,
        );
      },
    );
  examples(
    command,
    'SOURCE_URL=postgres://owner@localhost/shop walhouse load receivables --from ./export',
    'walhouse load claims --from ./export --replace',
  );
}
