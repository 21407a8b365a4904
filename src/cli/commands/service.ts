import type { Command } from 'commander';
import { pino } from 'pino';
import { armFailpoint } from '../../pipeline/failpoint.js';
import type { Config } from '../config.js';
import {
  configOf,
  configOption,
  examples,
  jsonOption,
  keyOf,
  keyOption,
  type ConfigGiven,
  type JsonGiven,
  type KeyGiven,
} from './options.js';

/** The service itself: `run`, and what is asked of it and told to it while it runs. */
export function addService(program: Command): void {
  addRun(program);
  addStatus(program);
  addPauseAndResume(program);
}

function addRun(program: Command): void {
  const command = program
    .command('run')
    .description('the service: snapshot what is new, stream, serve the API')
    .addOption(configOption())
    .option('--api-only', 'serve the API from what another instance stores, and write nothing on either side')
    .addHelpText(
      'after',
      `
SIGTERM and SIGINT: stores and confirms what is on its way, then ends.
SIGHUP: reads the configuration again. Tables, marts, keys, risk and verify are taken up in flight: a table that was added is
copied while the others stream; one that was removed keeps its rows, which are not kept up to date any more. A mistake is
logged, and everything stays as it was. source, sink and api.listen need a restart.`,
    )
    .action(async (options: ConfigGiven & { apiOnly?: boolean }) => {
      const { run } = await import('../run.js');
      const spec = process.env['WALHOUSE_FAILPOINT'];
      if (spec !== undefined && spec !== '') armFailpoint(spec);
      const log = pino({ name: 'walhouse', level: process.env['WALHOUSE_LOG_LEVEL'] ?? 'info' });
      const reread = (): Config => configOf(options);
      process.exitCode = await run(reread(), log, { apiOnly: options.apiOnly === true, reread });
    });
  examples(
    command,
    'walhouse run',
    'walhouse run --config /etc/walhouse/walhouse.yaml',
    'WALHOUSE_LOG_LEVEL=debug walhouse run --api-only',
  );
}

function addStatus(program: Command): void {
  const command = program
    .command('status')
    .description('state, rows and lag of every table, and the last error with its fix')
    .addOption(configOption())
    .addOption(jsonOption())
    .addOption(keyOption())
    .action(async (options: ConfigGiven & JsonGiven & KeyGiven) => {
      const { status } = await import('../status.js');
      process.exitCode = await status(configOf(options), {
        json: options.json === true,
        key: keyOf(options),
      });
    });
  examples(command, 'walhouse status', 'walhouse status --json | jq .lag_ms');
}

function addPauseAndResume(program: Command): void {
  for (const verb of ['pause', 'resume'] as const) {
    const command = program
      .command(verb)
      .description(verb === 'pause' ? 'stops reading; the slot is kept' : 'goes on after a pause')
      .addOption(configOption())
      .addOption(keyOption())
      .action(async (options: ConfigGiven & KeyGiven) => {
        const { pauseOrResume } = await import('../control.js');
        process.exitCode = await pauseOrResume(verb, configOf(options), keyOf(options));
      });
    examples(command, `walhouse ${verb}`, `OPERATOR_KEY=... walhouse ${verb} --key-env OPERATOR_KEY`);
  }
}
