import { Command } from 'commander';
import { version } from '../version.js';
import { addCompletion } from './completion.js';
import { addConfiguration } from './configuration.js';
import { examples } from './options.js';
import { addQuarantine } from './quarantine.js';
import { addRemoval } from './removal.js';
import { addSandbox } from './sandbox.js';
import { addService } from './service.js';
import { addTables } from './tables.js';

/** The whole command line. What a command does is loaded when it is asked for, so that help and completion are quick. */
export function createProgram(): Command {
  const program = new Command('walhouse')
    .description('Postgres changes in ClickHouse, and exact answers from there at a stated WAL position.')
    .version(version())
    .exitOverride()
    .showHelpAfterError('(walhouse COMMAND --help explains)');
  program.commandsGroup('Try it:');
  addSandbox(program);
  program.commandsGroup('Set it up:');
  addConfiguration(program);
  program.commandsGroup('Run it:');
  addService(program);
  program.commandsGroup('Tables:');
  addTables(program);
  addQuarantine(program);
  program.commandsGroup('Remove what must not be kept:');
  addRemoval(program);
  program.commandsGroup('This program:');
  addCompletion(program);
  program.helpCommand('help [command]', 'explains a command');
  examples(program, 'walhouse demo', 'walhouse verify --help');
  return program;
}
