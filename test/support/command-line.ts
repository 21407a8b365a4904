import type { Command } from 'commander';
import { createProgram } from '../../src/cli/commands/program.js';

/**
 * Parses what somebody types after `walhouse` and does nothing of it. Rejects where there is no such command, or it does not take
 * these options and arguments.
 */
export async function parseCommand(words: readonly string[]): Promise<void> {
  const program = createProgram();
  let called = 0;
  const silence = (command: Command): void => {
    command.exitOverride().configureOutput({ writeOut: () => {}, writeErr: () => {} });
    if (command.commands.length === 0) command.action(() => void (called += 1));
    command.commands.forEach(silence);
  };
  silence(program);
  await program.parseAsync([...words], { from: 'user' });
  if (called !== 1) throw new Error(`walhouse ${words.join(' ')} does nothing`);
}

/** Whether these words are a command's name and nothing more. */
export function isCommandName(words: readonly string[]): boolean {
  let at: Command | undefined = createProgram();
  for (const word of words) at = at?.commands.find((command) => command.name() === word);
  return at !== undefined;
}
