import { Argument, type Command } from 'commander';
import { SHELLS, type Shell } from '../completion.js';
import { examples } from './options.js';

export function addCompletion(program: Command): void {
  const command = program
    .command('completion')
    .addArgument(new Argument('<shell>', 'whose').choices(SHELLS))
    .description('prints what makes a shell complete the commands and options')
    .action(async (shell: Shell) => {
      const { completionScript } = await import('../completion.js');
      const { domainNames } = await import('../../dev/generators.js');
      process.stdout.write(completionScript(shell, program, domainNames()));
    });
  examples(
    command,
    'source <(walhouse completion bash)',
    'walhouse completion bash > ~/.local/share/bash-completion/completions/walhouse',
    'walhouse completion zsh > ~/.zfunc/_walhouse',
  );
}
