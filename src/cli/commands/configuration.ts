import type { Command } from 'commander';
import { configOf, configOption, examples, jsonOption, type ConfigGiven, type JsonGiven } from './options.js';

/** What comes before the first `run`: a configuration, and whether both sides are ready for it. */
export function addConfiguration(program: Command): void {
  const init = program
    .command('init')
    .description('writes a commented configuration from the catalog of a source')
    .addOption(configOption())
    .option('--url <url>', 'the source; safer in the environment variable SOURCE_URL')
    .option('--schema <schemas...>', 'these schemas only')
    .action(async (options: ConfigGiven & { url?: string; schema?: string[] }) => {
      const { init } = await import('../init.js');
      const { config, url, schema: schemas = null } = options;
      process.exitCode = await init({ config, url, schemas }, process.env);
    });
  examples(
    init,
    'SOURCE_URL=postgres://walhouse@db1/shop walhouse init',
    'walhouse init --schema public billing --config shop.yaml',
  );

  const check = program
    .command('check')
    .description('every precondition of run on both sides, each with its fix; changes nothing')
    .addOption(configOption())
    .addOption(jsonOption())
    .action(async (options: ConfigGiven & JsonGiven) => {
      const { check } = await import('../check.js');
      process.exitCode = await check(configOf(options), { json: options.json === true });
    });
  examples(check, 'walhouse check', 'walhouse check --json');
}
