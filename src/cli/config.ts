import { readFileSync } from 'node:fs';
import { parse as parseYaml, YAMLParseError } from 'yaml';
import type { z } from 'zod';
import { WalhouseError } from '../pipeline/errors.js';
import { isLoopback } from '../pipeline/loopback.js';
import { protectionOf as sinkProtectionOf } from '../sink/tls.js';
import { protectionOf as sourceProtectionOf } from '../source/connection.js';
import { withTls } from '../source/tls.js';
import { configSchema, LISTEN, type Config } from './config-schema.js';
import { substituteVariables } from './variables.js';

export type { Config };

/**
 * Reads walhouse.yaml whole: every mistake is told at once, each with its key, its value (unless that may be a secret) and the fix.
 * @throws WalhouseError config_invalid
 */
export function loadConfig(path: string, environment: NodeJS.ProcessEnv): Config {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new WalhouseError('config_invalid', {
      what: `${path} cannot be read.`,
      why: 'Without a configuration Walhouse does not know what to stream.',
      fix: 'name the file with --config FILE, or write one: walhouse init',
      cause,
    });
  }
  return parseConfig(text, path, environment);
}

/** As `loadConfig`, from the text. `path` is for messages. */
export function parseConfig(text: string, path: string, environment: NodeJS.ProcessEnv): Config {
  let raw: unknown;
  try {
    raw = parseYaml(text);
  } catch (cause) {
    const line = cause instanceof YAMLParseError ? cause.message.split('\n')[0] : String(cause);
    throw invalid(path, [`the file is not YAML: ${line}`], cause);
  }
  const { value, problems: unset } = substituteVariables(raw, environment);
  if (unset.length > 0) throw invalid(path, unset);
  const parsed = configSchema.safeParse(value, { reportInput: true });
  if (!parsed.success)
    throw invalid(
      path,
      parsed.error.issues.flatMap((issue) => describe(issue)),
    );
  const problems = contradictions(parsed.data);
  if (problems.length > 0) throw invalid(path, problems);
  const { source } = parsed.data;
  return deepFreeze({ ...parsed.data, source: { ...source, url: withTls(source.url, source.tls) } });
}

/** Where a connection is protected less than it should be, because the operator said so. */
export function unprotected({ source, sink }: Config): string[] {
  const warnings = [sourceProtectionOf(source.url).warning, sinkProtectionOf(sink).warning];
  return warnings.filter((warning) => warning !== null);
}

export function listenAddress(listen: string): { host: string; port: number } {
  const [, host, port] = LISTEN.exec(listen)!;
  return { host: host!.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
}

/** Where a command on the same machine finds the service: one that listens on every address does so on loopback too. */
export function serviceUrl({ api }: Pick<Config, 'api'>): string {
  return `http://${api.listen.replace(/^(0\.0\.0\.0|\[::\])(?=:)/, '127.0.0.1')}`;
}

function contradictions(config: Config): string[] {
  const problems: string[] = [];
  const [, host] = LISTEN.exec(config.api.listen)!;
  if (!isLoopback(host!) && (config.api.keys ?? '') === '') {
    problems.push(
      `api.keys: missing, though api.listen is ${config.api.listen}; without keys anybody who reaches it reads everything: set api.keys, or listen on 127.0.0.1`,
    );
  }
  problems.push(
    ...refusal(() => sourceProtectionOf(withTls(config.source.url, config.source.tls))),
    ...refusal(() => sinkProtectionOf(config.sink)),
  );
  const { windows, horizon } = config.risk;
  if (horizon !== undefined && horizon < Math.max(...windows))
    problems.push('risk.horizon: shorter than the longest of risk.windows; make it as long at least');
  for (const [id, options] of Object.entries(config.tables)) {
    for (const { table: other } of options.erase?.follow ?? []) {
      if (!Object.hasOwn(config.tables, other))
        problems.push(
          `tables.${id}.erase.follow names ${other}, which is not among tables; add it to tables`,
        );
    }
    problems.push(...maskContradictions(id, config), ...selectionContradictions(`tables.${id}`, options));
  }
  return problems;
}

/** What needs a column's value does not go with a mask over it. */
function maskContradictions(id: string, { tables, masking }: Config): string[] {
  const { mask, retention, columns, exclude = [], only, erase } = tables[id]!;
  const key = `tables.${id}`;
  const problems: string[] = [];
  if (mask.length > 0 && masking === undefined)
    problems.push(
      `${key}.mask: masking.key is missing; make one (openssl rand -hex 32), keep it, and write masking: { key: \${WALHOUSE_MASK_KEY} }`,
    );
  for (const name of mask) {
    const clash = (what: string): number => problems.push(`${key}.mask: column ${name} ${what}`);
    if (retention?.column === name)
      clash('is what rows age by (retention.column), which a hash does not tell; remove it from mask');
    if (Object.hasOwn(columns, name))
      clash(`is text once it is masked; remove it from mask, or remove columns.${name}`);
    if (exclude.includes(name)) clash('is in exclude, so it is not copied at all; remove it from mask');
    if (only !== undefined && !only.includes(name))
      clash('is not in only, so it is not copied at all; remove it from mask');
  }
  for (const { table: other, columns: following } of erase?.follow ?? []) {
    const masked = following.filter((name) => tables[other]?.mask.includes(name));
    if (masked.length > 0)
      problems.push(
        `${key}.erase.follow: ${masked.join(', ')} of ${other} ${masked.length === 1 ? 'is' : 'are'} masked, so the rows that follow could not be found; remove from tables.${other}.mask`,
      );
  }
  return problems;
}

/** What is refused when a connection is made is known when the file is read. */
function refusal(examined: () => unknown): string[] {
  try {
    examined();
    return [];
  } catch (error) {
    if (error instanceof WalhouseError) return [`${error.what.replace(/\.$/, '')}; ${error.fix}`];
    throw error;
  }
}

/** What is left out cannot be asked for elsewhere. */
function selectionContradictions(key: string, options: Config['tables'][string]): string[] {
  const { exclude = [], only, retention, columns } = options;
  const problems: string[] = [];
  if (only !== undefined && exclude.length > 0)
    problems.push(`${key}.exclude: only says already what is copied; keep one of both`);
  const mend = (name: string): string | null => {
    if (only !== undefined) return only.includes(name) ? null : `add ${name} to only`;
    return exclude.includes(name) ? `remove ${name} from exclude` : null;
  };
  const wanted = [
    ...(retention === undefined ? [] : [[`${key}.retention.column`, retention.column] as const]),
    ...Object.keys(columns).map((name) => [`${key}.columns.${name}`, name] as const),
  ];
  for (const [where, name] of wanted) {
    const fix = mend(name);
    if (fix !== null) problems.push(`${where}: column ${name} is left out; ${fix}`);
  }
  return problems;
}

function describe(issue: z.core.$ZodIssue): string[] {
  const key = issue.path.join('.');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(
      (unknown) => `${key === '' ? '' : `${key}.`}${unknown}: unknown key; remove it or correct its spelling`,
    );
  }
  const messages =
    issue.code === 'invalid_key' ? issue.issues.map((inner) => inner.message) : [issue.message];
  return messages.map((message) => `${key === '' ? 'the file' : key}${shown(issue.input, key)}: ${message}`);
}

/** The value as the message shows it; URLs and keys may hold secrets and are left out. */
function shown(input: unknown, key: string): string {
  if (input === undefined) return ' is missing';
  if (/(^|\.)(url|endpoint|keys?)$/.test(key) || typeof input === 'object') return '';
  return ` is ${JSON.stringify(input)}`;
}

function invalid(path: string, problems: readonly string[], cause?: unknown): WalhouseError {
  const list = problems.map((problem) => `\n  - ${problem}`).join('');
  return new WalhouseError('config_invalid', {
    what: `${path} has ${problems.length === 1 ? 'a mistake' : `${problems.length} mistakes`}:${list}\n`,
    why: 'Nothing was started.',
    fix: 'correct what is listed and start again',
    cause,
  });
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
