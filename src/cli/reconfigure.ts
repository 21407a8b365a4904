import { isDeepStrictEqual } from 'node:util';
import { WalhouseError } from '../pipeline/errors.js';
import type { Relation } from '../pipeline/relation.js';
import type { Sink } from '../pipeline/sink.js';
import type { Source } from '../pipeline/source.js';
import type { Config } from './config.js';

/** What a running service cannot change: where things are, and under which names. Secrets among it are named, never shown. */
function fixedOf({ source, sink, api, tracing }: Config): Record<string, unknown> {
  const fixed: Record<string, unknown> = { 'api.listen': api.listen, tracing };
  for (const [key, value] of Object.entries(source)) fixed[`source.${key}`] = value;
  for (const [key, value] of Object.entries(sink)) fixed[`sink.${key}`] = value;
  return fixed;
}

/** All but who may ask. */
export function withoutKeys(config: Config): Config {
  return { ...config, api: { ...config.api, keys: undefined } };
}

/** Throws `config_invalid` with every key whose change takes a restart. */
export function refuseFixed(current: Config, next: Config): void {
  const before = fixedOf(current);
  const after = fixedOf(next);
  const changed = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (key) => !isDeepStrictEqual(before[key], after[key]),
  );
  if (changed.length === 0) return;
  throw new WalhouseError('config_invalid', {
    what: `${changed.join(', ')} ${changed.length === 1 ? 'is' : 'are'} not what this process was started with.`,
    why: 'That cannot be changed in flight.',
    fix: 'restart walhouse',
  });
}

/**
 * Asks the source whether tables that are new, or configured otherwise than now, can be followed, and throws why not. Others may be
 * unfit; those have stopped already, and are none of this change's business.
 */
export async function examine(
  current: { readonly config: Config; readonly sink: Sink },
  next: { readonly config: Config; readonly sink: Sink },
  openSource: () => Promise<Source>,
): Promise<void> {
  const source = await openSource();
  try {
    const { relations, problems } = await source.survey();
    for (const [id, options] of Object.entries(next.config.tables)) {
      const same = isDeepStrictEqual(current.config.tables[id], options);
      const problem = same ? undefined : problems.get(id);
      if (problem !== undefined) throw problem;
      const relation = relations.filter((candidate) => candidate.id === id);
      // What is said of other tables' marts may concern it, too.
      if (!same || accepts(current.sink, relation)) next.sink.check(relation);
    }
  } finally {
    await source.close();
  }
}

function accepts(sink: Sink, relations: readonly Relation[]): boolean {
  try {
    sink.check(relations);
    return true;
  } catch (error) {
    if (error instanceof WalhouseError) return false;
    throw error;
  }
}
