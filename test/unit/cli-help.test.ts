import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { createProgram } from '../../src/cli/commands/program.js';

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

const pathOf = (command: Command): string =>
  command.parent === null ? command.name() : `${pathOf(command.parent)} ${command.name()}`;

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

const examplesIn = (help: string): string[] =>
  (help.split('\nExamples:\n')[1] ?? '').split('\n').flatMap((line) => line.trim() || []);

/** The command line within a line for a shell: without the variables before it, pipes and substitutions. */
function wordsOf(example: string): string[] {
  const [, inner = ''] = /(?:^|[ (])walhouse ([^|<>)]*)/.exec(example) ?? [];
  return (inner.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ''));
}

/** A program whose commands do nothing but tell who was called. */
function listening(): { program: Command; called: string[] } {
  const program = createProgram();
  const called: string[] = [];
  for (const command of everyCommand(program)) {
    command.exitOverride().configureOutput({ writeOut: () => {}, writeErr: () => {} });
    if (command.commands.length === 0) command.action(() => void called.push(pathOf(command)));
  }
  return { program, called };
}

const commands = everyCommand(createProgram()).map((command) => [pathOf(command), command] as const);

describe('the help', () => {
  test.each(commands)(
    'of %s has examples, and each is a command line that is taken',
    async (path, command) => {
      const examples = examplesIn(helpOf(command));
      expect(examples).not.toEqual([]);
      for (const example of examples) {
        const { program, called } = listening();
        const words = wordsOf(example);
        if (words.includes('--help')) {
          await expect(program.parseAsync(words, { from: 'user' })).rejects.toMatchObject({ exitCode: 0 });
        } else {
          await program.parseAsync(words, { from: 'user' });
          expect(called).toEqual([expect.stringMatching(`^${path}( |$)`)]);
        }
      }
    },
  );

  test('says what every command, argument and option is for', () => {
    for (const [path, command] of commands) {
      expect(command.description(), path).not.toBe('');
      for (const option of command.options)
        expect(option.description, `${path} ${option.flags}`).not.toBe('');
      for (const argument of command.registeredArguments)
        expect(argument.description, `${path} ${argument.name()}`).not.toBe('');
    }
  });

  test('of the program shows every command in a group', () => {
    const help = helpOf(createProgram());
    expect(help).not.toMatch(/^Commands:$/m);
    for (const command of createProgram().commands)
      expect(help).toMatch(new RegExp(`^  ${command.name()} `, 'm'));
  });
});
