import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';

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

const HERE = fileURLToPath(new URL('.', import.meta.url));
const EXTENSIONS = ['js', 'ts'];

/** The domains that have a generator: the folders beside this file with a `generator` in them. */
export function domainNames(): string[] {
  return readdirSync(HERE, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && generatorFile(entry.name) !== null)
    .map(({ name }) => name)
    .sort();
}

/** Null where there is no such domain. */
export async function loadGenerator(name: string): Promise<GeneratorModule | null> {
  const file = domainNames().includes(name) ? generatorFile(name) : null;
  return file === null ? null : ((await import(pathToFileURL(file).href)) as GeneratorModule);
}

/** Makes a domain's tables where they are missing, from `postgres/NAME.sql`. */
export async function createSchema(client: ClientBase, name: string): Promise<void> {
  // By way of the root, so that the compiled module, in dist/dev, finds it too.
  await client.query(await readFile(new URL(`../../postgres/${name}.sql`, import.meta.url), 'utf8'));
}

function generatorFile(name: string): string | null {
  return EXTENSIONS.map((end) => `${HERE}${name}/generator.${end}`).find((file) => existsSync(file)) ?? null;
}
