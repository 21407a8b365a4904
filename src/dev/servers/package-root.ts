import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The folder of Walhouse's own package.json. Files that the compiler does not copy (SQL, package locks) are found
 * from there, be the caller in src/ or in dist/.
 */
export function packageRoot(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const manifest = join(directory, 'package.json');
    if (existsSync(manifest) && isWalhouse(manifest)) return directory;
    const parent = dirname(directory);
    if (parent === directory) throw new Error(`no package.json of walhouse above ${import.meta.url}`);
    directory = parent;
  }
}

function isWalhouse(manifest: string): boolean {
  const content: unknown = JSON.parse(readFileSync(manifest, 'utf8'));
  return typeof content === 'object' && content !== null && 'name' in content && content.name === 'walhouse';
}
