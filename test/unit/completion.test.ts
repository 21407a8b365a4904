import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { afterAll, describe, expect, test } from 'vitest';
import { createProgram } from '../../src/cli/commands/program.js';
import { completionScript, SHELLS } from '../../src/cli/completion.js';

const DOMAINS = ['banking', 'payments'];
const program = createProgram();

const folder = mkdtempSync(join(tmpdir(), 'walhouse-completion-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const scripts = Object.fromEntries(
  SHELLS.map((shell) => {
    const path = join(folder, `completion.${shell}`);
    writeFileSync(path, completionScript(shell, program, DOMAINS));
    return [shell, path];
  }),
);
mkdirSync(join(folder, 'etc etc'));
writeFileSync(join(folder, 'etc.yaml'), '');
const configuration = (...tables: string[]): string =>
  stringify({
    source: { url: 'x' },
    tables: Object.fromEntries(tables.map((table) => [table, { history: true }])),
    api: { listen: 'x' },
  });
writeFileSync(
  join(folder, 'walhouse.yaml'),
  configuration('public.payments', 'public.merchants', 'billing.notes'),
);
writeFileSync(join(folder, 'other.yaml'), configuration('public.customers'));

/** What bash offers for the last word, when the others stand before it as bash takes them apart. */
function offered(...words: string[]): string[] {
  const text = execFileSync(
    'bash',
    [
      '--norc',
      '-euc',
      `source "$1"; shift
       complete -p walhouse > /dev/null
       COMP_WORDS=(walhouse "$@") COMP_CWORD=$#
       set +eu; _walhouse
       printf '%s\\n' "\${COMPREPLY[@]}"`,
      'bash',
      scripts['bash']!,
      ...words,
    ],
    { cwd: folder, encoding: 'utf8' },
  );
  return text.split('\n').filter((word) => word !== '');
}

function everyCommand(command: Command, path: readonly string[] = []): (readonly [Command, string[]])[] {
  return [
    [command, [...path]] as const,
    ...command.commands.flatMap((inner) => everyCommand(inner, [...path, inner.name()])),
  ];
}

describe('completion in bash', () => {
  test('every option of every command is offered where it is begun', () => {
    for (const [command, path] of everyCommand(program)) {
      const long = command
        .createHelp()
        .visibleOptions(command)
        .map((option) => option.long!);
      expect(offered(...path, '--').sort(), path.join(' ')).toEqual(long.sort());
    }
  });

  test('commands come before options, and those within a command after it', () => {
    expect(offered('')).toEqual([...program.commands.map((command) => command.name()), 'help']);
    expect(offered('re').sort()).toEqual(['reports', 'resume', 'resync', 'retention']);
    expect(offered('quarantine', '')).toEqual(['list', 'retry', 'help']);
    expect(offered('help', 'qu')).toEqual(['quarantine']);
    expect(offered('pause', '')).toEqual(['--config', '--key-env', '--help']);
  });

  test.each([
    [
      ['completion', ''],
      ['bash', 'zsh'],
    ],
    [['load', ''], DOMAINS],
    [
      ['demo', '--domain', ''],
      [...DOMAINS, 'all'],
    ],
    [['demo', '--domain', 'p'], ['payments']],
    // As bash has --domain=p
    [['demo', '--domain', '=', 'p'], ['payments']],
    [
      ['demo', '--domain', '='],
      [...DOMAINS, 'all'],
    ],
    [
      ['run', '--config', 'et'],
      ['etc etc', 'etc.yaml'],
    ],
    [['servers', '--dir', 'et'], ['etc etc']],
    [['demo', '--rate', ''], []],
    [
      ['resync', ''],
      ['billing.notes', 'public.merchants', 'public.payments'],
    ],
    [
      ['quarantine', 'list', 'pub'],
      ['public.merchants', 'public.payments'],
    ],
    [['verify', '--config', 'other.yaml', ''], ['public.customers']],
    [['verify', '--config', '=', 'other.yaml', ''], ['public.customers']],
    [['verify', '--config', 'nowhere.yaml', ''], []],
    [['resync', 'public.payments', '--a'], ['--all']],
    [['erase', '--key', '-'], []],
  ])('walhouse %j gives %j', (words, expected) => {
    expect(offered(...words).sort()).toEqual([...expected].sort());
  });

  test('the value of an option is no command, and after the argument come options alone', () => {
    expect(offered('run', '--config', 'status', '--a')).toEqual(['--api-only']);
    expect(offered('--config', 'x', 'qu')).toEqual([]);
    expect(offered('load', 'banking', '')).not.toContain('banking');
    expect(offered('load', 'banking', '--fr')).toEqual(['--from']);
    expect(offered('status', '--key-env', 'run', '')).toEqual(['--config', '--json', '--key-env', '--help']);
  });
});

const zsh = ((): boolean => {
  try {
    execFileSync('zsh', ['--version'], { stdio: 'pipe' });
    return true;
  } catch {
    return false;
  }
})();

describe('completion in zsh', () => {
  test('has the same places as bash, with what each word means', () => {
    const text = completionScript('zsh', program, DOMAINS);
    const places = (script: string): string[] =>
      [...script.matchAll(/^ +('walhouse[^)]*'\)) names=/gm)].map(([, place]) => place!);
    expect(places(text)).toEqual(places(completionScript('bash', program, DOMAINS)));
    expect(places(text).length).toBeGreaterThan(40);
    expect(text).toContain(`'resume:goes on after a pause'`);
    // A description with a quote of its own.
    expect(text).toContain(`the source'\\''s processes`);
  });

  test.skipIf(!zsh)('is taken by zsh', () => {
    execFileSync('zsh', ['-fn', scripts['zsh']!], { stdio: 'pipe' });
  });
});
