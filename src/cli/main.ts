#!/usr/bin/env node
import { CommanderError } from 'commander';
import { WalhouseError } from '../pipeline/errors.js';
import { createProgram } from './commands/program.js';

/** Exit codes, the same for every command. */
const EXIT = { ok: 0, notSo: 1, usage: 2 } as const;

try {
  await createProgram().parseAsync();
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
