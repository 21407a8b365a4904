#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { pino } from 'pino';
import { WalhouseError } from '../pipeline/errors.js';
import { armFailpoint } from '../pipeline/failpoint.js';
import { loadConfig, type Config } from './config.js';

/** Exit codes, the same for every command. */
const EXIT = { ok: 0, notSo: 1, usage: 2 } as const;

const program = new Command('walhouse')
  .description('Postgres changes in ClickHouse, and exact answers from there at a stated WAL position.')
  .version(version())
  .exitOverride()
  .showHelpAfterError('(walhouse COMMAND --help explains)');

const configOption = new Option('--config <file>', 'the configuration').default('walhouse.yaml');
const jsonOption = new Option('--json', 'print one JSON document instead of text');

program
  .command('run')
  .description('the service: snapshot what is new, stream, serve the API')
  .addOption(configOption)
  .option('--api-only', 'serve the API from what another instance stores, and write nothing on either side')
  .addHelpText(
    'after',
    `
SIGTERM and SIGINT: stores and confirms what is on its way, then ends.
SIGHUP: reads the configuration again. Tables, marts, keys, risk and verify are taken up in flight: a table that was added is
copied while the others stream; one that was removed keeps its rows, which are not kept up to date any more. A mistake is
logged, and everything stays as it was. source, sink and api.listen need a restart.`,
  )
  .action(async (options: { config: string; apiOnly?: boolean }) => {
    const { run } = await import('./run.js');
    const spec = process.env['WALHOUSE_FAILPOINT'];
    if (spec !== undefined && spec !== '') armFailpoint(spec);
    const log = pino({ name: 'walhouse', level: process.env['WALHOUSE_LOG_LEVEL'] ?? 'info' });
    const reread = (): Config => loadConfig(options.config, process.env);
    process.exitCode = await run(reread(), log, { apiOnly: options.apiOnly === true, reread });
  });

program
  .command('status')
  .description('state, rows and lag of every table, and the last error with its fix')
  .addOption(configOption)
  .addOption(jsonOption)
  .option('--key-env <name>', 'the environment variable that holds the API key', 'WALHOUSE_KEY')
  .action(async (options: { config: string; json?: boolean; keyEnv: string }) => {
    const { status } = await import('./status.js');
    process.exitCode = await status(loadConfig(options.config, process.env), {
      json: options.json === true,
      key: process.env[options.keyEnv],
    });
  });

program
  .command('init')
  .description('writes a commented configuration from the catalog of a source')
  .addOption(configOption)
  .option('--url <url>', 'the source; safer in the environment variable SOURCE_URL')
  .option('--schema <schemas...>', 'these schemas only')
  .action(async (options: { config: string; url?: string; schema?: string[] }) => {
    const { init } = await import('./init.js');
    const { config, url, schema: schemas = null } = options;
    process.exitCode = await init({ config, url, schemas }, process.env);
  });

program
  .command('check')
  .description('every precondition of run on both sides, each with its fix; changes nothing')
  .addOption(configOption)
  .addOption(jsonOption)
  .action(async (options: { config: string; json?: boolean }) => {
    const { check } = await import('./check.js');
    process.exitCode = await check(loadConfig(options.config, process.env), { json: options.json === true });
  });

const quarantine = program
  .command('quarantine')
  .description('rows that ClickHouse could not hold exactly: look at them, put them back');

quarantine
  .command('list')
  .argument('[table]', 'one table, as schema.table')
  .description('key, position, column and reason of every row in quarantine')
  .addOption(configOption)
  .addOption(jsonOption)
  .option('--limit <n>', 'at most so many rows', wholeNumber, 100)
  .option('--show-values', 'the rows themselves too, which may be secret')
  .action(
    async (
      table: string | undefined,
      options: { config: string; json?: boolean; limit: number; showValues?: boolean },
    ) => {
      const { listRows } = await import('./quarantine.js');
      process.exitCode = await listRows(loadConfig(options.config, process.env), {
        table: table ?? null,
        limit: options.limit,
        showValues: options.showValues === true,
        json: options.json === true,
      });
    },
  );

quarantine
  .command('retry')
  .argument('<table>', 'as schema.table')
  .description('puts rows back after a fix, in the order of their versions; a later version still wins')
  .addOption(configOption)
  .addOption(jsonOption)
  .action(async (table: string, options: { config: string; json?: boolean }) => {
    const { retryRows } = await import('./quarantine.js');
    process.exitCode = await retryRows(loadConfig(options.config, process.env), table, {
      json: options.json === true,
    });
  });

program
  .command('verify')
  .description(
    'compares Postgres and ClickHouse at one WAL position while both are written to, and says which keys differ',
  )
  .argument('[table]', 'one table alone, e.g. public.payments')
  .option(
    '--repair',
    'has the running service store anew what differs, row by row or as a new copy of the table, and compares again',
  )
  .addOption(configOption)
  .addOption(jsonOption)
  .option(
    '--max-load <n>',
    "how many of the source's processes may work for it at once, on average: 2 is two connections that query all the time, 0.25 one that does a quarter of the time",
    decimalNumber,
    1,
  )
  .option('--key-env <name>', 'the environment variable that holds the API key', 'WALHOUSE_KEY')
  .action(
    async (
      table: string | undefined,
      options: { repair?: boolean; config: string; json?: boolean; maxLoad: number; keyEnv: string },
    ) => {
      const { verify } = await import('./verify.js');
      process.exitCode = await verify(loadConfig(options.config, process.env), {
        table,
        repair: options.repair === true,
        json: options.json === true,
        maxLoad: options.maxLoad,
        key: process.env[options.keyEnv],
      });
    },
  );

const keyOption = new Option('--key-env <name>', 'the environment variable that holds the API key').default(
  'WALHOUSE_KEY',
);

program
  .command('resync')
  .description('snapshots a table again while the others stream; readers never see a half-full table')
  .argument('[table]', 'schema.table, as in walhouse.yaml')
  .option('--all', 'every table; accepts a lost or new slot, or another cluster')
  .addOption(configOption)
  .addOption(keyOption)
  .action(async (table: string | undefined, options: { all?: boolean; config: string; keyEnv: string }) => {
    if ((table === undefined) === (options.all !== true))
      throw new InvalidArgumentError('Name one table, or --all.');
    const { resync } = await import('./control.js');
    const target = table === undefined ? { all: true as const } : { table };
    process.exitCode = await resync(
      loadConfig(options.config, process.env),
      target,
      process.env[options.keyEnv],
    );
  });

for (const verb of ['pause', 'resume'] as const) {
  program
    .command(verb)
    .description(verb === 'pause' ? 'stops reading; the slot is kept' : 'goes on after a pause')
    .addOption(configOption)
    .addOption(keyOption)
    .action(async (options: { config: string; keyEnv: string }) => {
      const { pauseOrResume } = await import('./control.js');
      process.exitCode = await pauseOrResume(
        verb,
        loadConfig(options.config, process.env),
        process.env[options.keyEnv],
      );
    });
}

program
  .command('retention')
  .description('removes what is past its retention now from everything that holds it, and proves it')
  .addOption(configOption)
  .addOption(jsonOption)
  .option('--report', 'the whole report instead of one line')
  .action(async (options: { config: string; json?: boolean; report?: boolean }) => {
    const { retention } = await import('./retention.js');
    process.exitCode = await retention(loadConfig(options.config, process.env), {
      json: options.json === true,
      report: options.report === true,
      version: version(),
    });
  });

program
  .command('erase')
  .argument('<table>', 'as schema.table')
  .description(
    'removes one row, what follows it (tables.NAME.erase.follow) and every older version of them from everything that holds any, and proves it; the source must have deleted them',
  )
  .addOption(configOption)
  .addOption(jsonOption)
  .addOption(keyOption)
  .requiredOption(
    '--key <key>',
    'the key, as column=value,... or a JSON object where it has several columns; - reads it from standard input',
  )
  .option('--although-in-source', 'erases it here even if the source still has it')
  .action(
    async (
      table: string,
      options: {
        config: string;
        json?: boolean;
        key: string;
        keyEnv: string;
        althoughInSource?: boolean;
      },
    ) => {
      const { erase } = await import('./erase.js');
      process.exitCode = await erase(loadConfig(options.config, process.env), {
        table,
        key: options.key === '-' ? readFileSync(0, 'utf8').replace(/\r?\n$/, '') : options.key,
        althoughInSource: options.althoughInSource === true,
        json: options.json === true,
        version: version(),
        apiKey: process.env[options.keyEnv],
      });
    },
  );

const reports = program
  .command('reports')
  .description('what retention and erase have removed, each report chained to the one before by its hash');

reports
  .command('list')
  .description('one line a report, the oldest first')
  .addOption(configOption)
  .addOption(jsonOption)
  .action(async (options: { config: string; json?: boolean }) => {
    const { listReports } = await import('./reports.js');
    process.exitCode = await listReports(loadConfig(options.config, process.env), {
      json: options.json === true,
    });
  });

reports
  .command('show')
  .argument('<number>', 'as in the list', wholeNumber)
  .description('one report whole')
  .addOption(configOption)
  .addOption(jsonOption)
  .action(async (number: number, options: { config: string; json?: boolean }) => {
    const { showReport } = await import('./reports.js');
    process.exitCode = await showReport(loadConfig(options.config, process.env), number, {
      json: options.json === true,
    });
  });

reports
  .command('verify')
  .description('looks whether every report is there as it was stored; 1 when not')
  .addOption(configOption)
  .addOption(jsonOption)
  .option('--last <hash>', 'a hash noted earlier, which must still be there')
  .action(async (options: { config: string; json?: boolean; last?: string }) => {
    const { verifyReports } = await import('./reports.js');
    process.exitCode = await verifyReports(loadConfig(options.config, process.env), {
      json: options.json === true,
      last: options.last,
    });
  });

program
  .command('servers')
  .description('starts the local Postgres and ClickHouse alone; they stop with the terminal')
  .option('--dir <dir>', 'where the data stays; without it, it is gone at the end')
  .addOption(jsonOption)
  .action(async (options: { dir?: string; json?: boolean }) => {
    const { servers } = await import('./servers.js');
    process.exitCode = await servers({
      json: options.json === true,
      ...(options.dir === undefined ? {} : { dir: options.dir }),
    });
  });

program
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
  .addOption(jsonOption)
  .addHelpText(
    'after',
    `
All files are one transaction. A line that Postgres does not take is reported with its number and left out; the others go
on, and the exit code is then 1.

  SOURCE_URL=postgres://owner@localhost/shop walhouse load receivables --from ./export`,
  )
  .action(
    async (
      domain: string,
      options: { from: string; url?: string; append?: boolean; replace?: boolean; json?: boolean },
    ) => {
      const { load } = await import('./load.js');
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

program
  .command('demo')
  .description('a local Postgres with live traffic, streamed into a local ClickHouse, with the API')
  .option('--domain <name>', 'which domain is played, or all of them', 'payments')
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
      const { demo } = await import('./demo.js');
      process.exitCode = await demo(options);
    },
  );

function wholeNumber(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

function decimalNumber(text: string): number {
  if (!/^[0-9]{1,9}(\.[0-9]{1,9})?$/.test(text)) throw new InvalidArgumentError('It must be a number.');
  return Number(text);
}

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    // Commander has printed it; asking for help is no failure.
    process.exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  } else if (error instanceof WalhouseError) {
    process.stderr.write(`${error.message}\n`);
    process.exitCode = EXIT.usage;
  } else {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = EXIT.notSo;
  }
}
