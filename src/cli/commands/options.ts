import { InvalidArgumentError, Option, type Command } from 'commander';
import { loadConfig, type Config } from '../config.js';
import { variable } from '../variables.js';

/** Options that several commands have, and how their values are read. */

export const configOption = (): Option =>
  new Option('--config <file>', 'the configuration').default('walhouse.yaml');

export const jsonOption = (): Option => new Option('--json', 'print one JSON document instead of text');

export const keyOption = (): Option =>
  new Option(
    '--key-env <name>',
    'the environment variable that holds the API key, or NAME_FILE the path of its file',
  ).default('WALHOUSE_KEY');

/** What an action gets of `configOption`, `jsonOption` and `keyOption`. */
export interface ConfigGiven {
  readonly config: string;
}
export interface JsonGiven {
  readonly json?: boolean;
}
export interface KeyGiven {
  readonly keyEnv: string;
}

/** @throws WalhouseError config_invalid */
export const configOf = ({ config }: ConfigGiven): Config => loadConfig(config, process.env);

export const keyOf = ({ keyEnv }: KeyGiven): string | undefined => variable(keyEnv, process.env);

export function wholeNumber(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

export function decimalNumber(text: string): number {
  if (!/^[0-9]{1,9}(\.[0-9]{1,9})?$/.test(text)) throw new InvalidArgumentError('It must be a number.');
  return Number(text);
}

/** At the end of a command's help, one command line each; a test runs them all through the parser. */
export function examples(command: Command, ...lines: string[]): void {
  const list = lines.map((line) => `\n  ${line}`).join('');
  command.addHelpText('after', `\nExamples:${list}`);
}
