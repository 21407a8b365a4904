import type { Argument, Command, Option } from 'commander';

export const SHELLS = ['bash', 'zsh'] as const;
export type Shell = (typeof SHELLS)[number];

/** What can stand at a place; a word with what it means. */
type Word = readonly [word: string, meaning: string];
interface Candidates {
  /** Commands, or the values of an argument or of an option. */
  readonly words: readonly Word[];
  readonly options: readonly Word[];
  /** What is looked for when it is wanted: the shell's own, or the tables of the configuration. */
  readonly found: 'nothing' | 'files' | 'folders' | 'tables';
}

/** `walhouse quarantine`, or `walhouse run --config` for what follows the option. */
interface Place {
  readonly key: string;
  readonly candidates: Candidates;
}

interface Places {
  readonly commands: readonly Place[];
  readonly values: readonly Place[];
}

/**
 * The completion script of a shell, from the commands and options that the program has. Completing then starts no process, so it
 * is instant. `domains` stand where the usage of a command says `<domain>`.
 */
export function completionScript(shell: Shell, program: Command, domains: readonly string[]): string {
  const script = { bash: bashScript, zsh: zshScript }[shell];
  return script(program.name(), placesOf(program, domains));
}

function placesOf(program: Command, domains: readonly string[]): Places {
  const commands: Place[] = [];
  const values: Place[] = [];
  const visit = (command: Command, key: string): void => {
    const help = command.createHelp();
    const inner = help.visibleCommands(command).map((inner): Word => [inner.name(), inner.description()]);
    const options = help.visibleOptions(command);
    const argument = valuesOf(command.registeredArguments[0], domains);
    commands.push({
      key,
      candidates: {
        words: [...inner, ...argument.words],
        options: options.map((option): Word => [option.long!, option.description]),
        found: argument.found,
      },
    });
    for (const option of options.filter(({ required, optional }) => required || optional))
      values.push({ key: `${key} ${option.long!}`, candidates: valuesOf(option, domains) });
    for (const next of command.commands) visit(next, `${key} ${next.name()}`);
    // commander's own, which is among no command's commands.
    if (inner.some(([word]) => word === 'help'))
      commands.push({ key: `${key} help`, candidates: { words: inner, options: [], found: 'nothing' } });
  };
  visit(program, program.name());
  return { commands, values };
}

/** By its choices, or by what the usage calls it: `<file>`, `<dir>`, `<domain|all>`. */
function valuesOf(value: Option | Argument | undefined, domains: readonly string[]): Candidates {
  const of = (words: readonly string[], found: Candidates['found'] = 'nothing'): Candidates => ({
    words: words.map((word): Word => [word, '']),
    options: [],
    found,
  });
  if (value === undefined) return of([]);
  if (value.argChoices !== undefined) return of(value.argChoices);
  const name = 'flags' in value ? (/[<[](.+)[>\]]/.exec(value.flags)?.[1] ?? '') : value.name();
  if (name === 'file') return of([], 'files');
  if (name === 'dir') return of([], 'folders');
  if (name === 'table') return of([], 'tables');
  const [first, ...others] = name.split('|');
  return first === 'domain' ? of([...domains, ...others]) : of([]);
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

const pattern = (places: readonly Place[]): string => places.map(({ key }) => quoted(key)).join('|');

/** Goes through the words before the cursor, the same in both shells: which command it is, and whether a value or an argument is due. */
function walk({ commands, values }: Places, word: string): string {
  return `if [[ -n $value ]]; then
      [[ $value == *' --config' ]] && config=${word}
      value=''
      continue
    fi
    case "$place ${word}" in
      ${pattern(values)}) value="$place ${word}" ;;
      ${pattern(commands.slice(1))}) place="$place ${word}" ;;
      *' -'*) ;;
      *) given=yes ;;
    esac`;
}

function candidatesOf({ commands, values }: Places, assign: (candidates: Candidates) => string): string {
  const cases = [...commands, ...values].map(({ key, candidates }) => {
    const found = candidates.found === 'nothing' ? '' : ` found=${candidates.found}`;
    return `    ${quoted(key)}) ${assign(candidates)}${found} ;;`;
  });
  return `case "\${value:-$place}" in
${cases.join('\n')}
  esac
  # One argument is all that a command has.
  [[ -n $given && -z $value ]] && names=() found=''`;
}

/** The keys of `tables:` as `walhouse init` writes them, one a line: plain names, two spaces in. */
const TABLES = `sed -n '/^tables:/,/^[^ #]/s/^  \\([A-Za-z_][A-Za-z0-9_.]*\\):.*/\\1/p' "$config" 2> /dev/null`;

function bashScript(name: string, places: Places): string {
  const list = (words: readonly Word[]): string => `(${words.map(([word]) => quoted(word)).join(' ')})`;
  const assign = ({ words, options }: Candidates): string => `names=${list(words)} options=${list(options)}`;
  return `# ${name} in bash: source <(${name} completion bash)
_${name}() {
  local place=${name} value='' given='' found='' config=walhouse.yaml current=\${COMP_WORDS[COMP_CWORD]} index
  local -a names=() options=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    # bash makes three words of --option=value.
    [[ \${COMP_WORDS[index]} == = ]] && continue
    ${walk(places, '${COMP_WORDS[index]}')}
  done
  [[ $current == = ]] && current=''
  ${candidatesOf(places, assign)}
  [[ $current == -* || -z "\${names[*]}$found" ]] && names=("\${options[@]}") found=''
  local IFS=$'\\n'
  [[ $found == tables ]] && names=($(${TABLES}))
  case "$found" in
    files) compopt -o filenames 2> /dev/null; COMPREPLY=($(compgen -f -- "$current")) ;;
    folders) compopt -o filenames 2> /dev/null; COMPREPLY=($(compgen -d -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "\${names[*]}" -- "$current")) ;;
  esac
}
complete -F _${name} ${name}
`;
}

function zshScript(name: string, places: Places): string {
  const entry = ([word, meaning]: Word): string =>
    quoted(`${word.replaceAll(':', '\\:')}${meaning === '' ? '' : `:${meaning}`}`);
  const list = (words: readonly Word[]): string => `(${words.map(entry).join(' ')})`;
  const assign = ({ words, options }: Candidates): string => `names=${list(words)} options=${list(options)}`;
  return `#compdef ${name}
# ${name} in zsh: source <(${name} completion zsh), after compinit; or a file _${name} in a folder of $fpath
_${name}() {
  local place=${name} value='' given='' found='' config=walhouse.yaml current=\${words[CURRENT]} index
  local -a names options
  for ((index = 2; index < CURRENT; index++)); do
    ${walk(places, '${words[index]}')}
  done
  if [[ $current == --*=* ]]; then
    value="$place \${current%%=*}"
    compset -P '*='
  fi
  ${candidatesOf(places, assign)}
  [[ -z $value && ( $current == -* || -z "\${names[*]}$found" ) ]] && names=($options) found=''
  [[ $found == tables ]] && names=(\${(f)"$(${TABLES})"})
  case "$found" in
    files) _files ;;
    folders) _files -/ ;;
    *) _describe ${name} names ;;
  esac
}
if [[ \${funcstack[1]} == _${name} ]]; then _${name} "$@"; else compdef _${name} ${name}; fi
`;
}
