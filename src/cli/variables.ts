import { readFileSync } from 'node:fs';
import { WalhouseError } from '../pipeline/errors.js';

const VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g;

/**
 * An environment variable, or the content of the file that NAME_FILE names, as container platforms hand out secrets; the line break at
 * its end is not part of it. What is empty counts as not set: undefined.
 * @throws WalhouseError config_invalid where both are set, or the file cannot be read
 */
export function variable(name: string, environment: NodeJS.ProcessEnv): string | undefined {
  const value = environment[name] ?? '';
  const path = environment[`${name}_FILE`] ?? '';
  if (path === '') return value === '' ? undefined : value;
  if (value !== '') throw unclear(`${name} and ${name}_FILE are both set.`, 'keep one of the two');
  let content: string;
  try {
    content = readFileSync(path, 'utf8').replace(/\r?\n$/, '');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw unclear(`${name}_FILE: ${path} cannot be read (${code}).`, 'correct the path or its rights', cause);
  }
  return content === '' ? undefined : content;
}

function unclear(what: string, fix: string, cause?: unknown): WalhouseError {
  return new WalhouseError('config_invalid', { what, why: `What it should be is not known.`, fix, cause });
}

/** Puts variables in the place of `${NAME}` in every string of a tree; `problems` are about those that have no value. */
export function substituteVariables(
  raw: unknown,
  environment: NodeJS.ProcessEnv,
): { value: unknown; problems: string[] } {
  const problems: string[] = [];
  const valueOf = (name: string, key: string): string => {
    try {
      const found = variable(name, environment);
      if (found === undefined)
        problems.push(
          `${key}: \${${name}} is not set; set ${name} in the environment, or ${name}_FILE to the path of a file that holds it`,
        );
      return found ?? '';
    } catch (error) {
      if (!(error instanceof WalhouseError)) throw error;
      problems.push(`${key}: ${error.what.replace(/\.$/, '')}; ${error.fix}`);
      return '';
    }
  };
  const walk = (value: unknown, key: string): unknown => {
    if (typeof value === 'string') return value.replace(VARIABLE, (_, name: string) => valueOf(name, key));
    const inside = (name: string): string => (key === '' ? name : `${key}.${name}`);
    if (Array.isArray(value)) return value.map((item, index) => walk(item, inside(String(index))));
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(
        Object.entries(value).map(([name, item]) => [name, walk(item, inside(name))]),
      );
    }
    return value;
  };
  return { value: walk(raw, ''), problems };
}
