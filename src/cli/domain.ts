import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { z } from 'zod';
import { domainNames, loadGenerator, type GeneratorModule } from '../dev/generators.js';
import { parsePicture, type DomainPage } from '../ops/pictures.js';
import { WalhouseError } from '../pipeline/errors.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const schema = z.strictObject({
  title: z.string().min(1),
  question: z.string().min(1),
  /** As under `tables` in walhouse.yaml. */
  tables: z.record(z.string(), z.unknown()),
});

/** A domain as its files say: what to follow, what to answer, and what the answers are held against. */
export interface Domain {
  readonly name: string;
  readonly title: string;
  readonly question: string;
  readonly tables: Readonly<Record<string, unknown>>;
  readonly generator: GeneratorModule;
  /** The question of each mart in SQL on Postgres. */
  readonly oracles: readonly { readonly mart: string; readonly sql: string }[];
}

/**
 * Reads the domains that a name stands for: one, or those of `all`.
 * @throws WalhouseError domain_unknown
 */
export async function readDomains(name: string): Promise<Domain[]> {
  const known = domainNames();
  if (name !== 'all' && !known.includes(name)) {
    throw new WalhouseError('domain_unknown', {
      what: `there is no domain "${name}".`,
      why: 'Nothing was started.',
      fix: `take one of ${known.join(', ')}, or all`,
    });
  }
  return Promise.all((name === 'all' ? known : [name]).map(readDomain));
}

/** The pages of those of these marts that are domains; a mart needs none. */
export function readPages(marts: readonly string[]): DomainPage[] {
  return marts.flatMap((name) => {
    if (!existsSync(join(ROOT, 'clickhouse', name, 'domain.yaml'))) return [];
    const { title, question } = readDescription(name);
    const pictures = sqlIn(name, 'pictures').map(({ file, sql }) => parsePicture(file, sql));
    return [{ name, title, question, pictures }];
  });
}

async function readDomain(name: string): Promise<Domain> {
  const oracles = sqlIn(name, 'oracle').map(({ file, sql }) => ({ mart: file.replace(/\.sql$/, ''), sql }));
  return { name, ...readDescription(name), generator: await loadGenerator(name), oracles };
}

function readDescription(name: string): z.output<typeof schema> {
  return schema.parse(parse(readFileSync(join(ROOT, 'clickhouse', name, 'domain.yaml'), 'utf8')));
}

/** In the order of their names. */
function sqlIn(name: string, folder: string): { readonly file: string; readonly sql: string }[] {
  const path = join(ROOT, 'clickhouse', name, folder);
  return (existsSync(path) ? readdirSync(path) : [])
    .filter((file) => file.endsWith('.sql'))
    .sort()
    .map((file) => ({ file, sql: readFileSync(join(path, file), 'utf8') }));
}
