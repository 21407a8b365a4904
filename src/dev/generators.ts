import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { ClientBase } from 'pg';

import type { Generator } from './traffic.js';

export interface GeneratorOptions {
  /** Repeats a run. */
  readonly seed: number;
  /** The end of the initial data's time; now, if left out. */
  readonly startAt?: Date | undefined;
}

/** What `src/dev/NAME/generator.ts` of a domain exports. */
export interface GeneratorModule {
  createGenerator(options: GeneratorOptions): Generator;
}

/** By way of the root, so that what was compiled or bundled, two folders deep like this file, finds them too. */
const DESCRIPTIONS = fileURLToPath(new URL('../../clickhouse', import.meta.url));
const SCHEMAS = new URL('../../postgres/', import.meta.url);

/** The domains there are: the folders under clickhouse/ that have a `domain.yaml`. */
export function domainNames(): string[] {
  return readdirSync(DESCRIPTIONS)
    .filter((name) => existsSync(join(DESCRIPTIONS, name, 'domain.yaml')))
    .sort();
}

/** Rejects where the domain has no `src/dev/NAME/generator.ts`. A template and no variable, so that a bundler sees which there are. */
export async function loadGenerator(name: string): Promise<GeneratorModule> {
  return (await import(/* @vite-ignore */ `./${name}/generator.js`)) as GeneratorModule;
}

/** Makes a domain's tables where they are missing, from `postgres/NAME.sql`. */
export async function createSchema(client: ClientBase, name: string): Promise<void> {
  await client.query(await readFile(new URL(`${name}.sql`, SCHEMAS), 'utf8'));
}
