import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';

/**
 * Texts to look for with `filesWith`: found nowhere else, and as they are in compressed files too. LZ4 replaces any four bytes that stand
 * shortly before, as a few digits of a random number may; a letter stands only once in all these texts together.
 */
export function markers<const Name extends string>(...names: Name[]): Record<Name, string> {
  const letters = [...LETTERS];
  const length = Math.floor(letters.length / names.length);
  const text = (): string =>
    Array.from({ length }, () => letters.splice(randomInt(letters.length), 1)[0]).join('');
  return Object.fromEntries(names.map((name) => [name, text()])) as Record<Name, string>;
}

/**
 * The files under a directory that hold a text, whatever they are: parts in use and replaced, logs, what was dropped. ClickHouse's
 * compression leaves the first occurrence of a text that is like no other as it is.
 */
export function filesWith(directory: string, text: string): Promise<string[]> {
  return new Promise((resolve, reject) => {
    execFile('grep', ['-rlaF', '--', text, directory], (error, stdout) => {
      // 1 says that nothing was found, 2 that a file went away meanwhile.
      if (error !== null && error.code !== 1 && error.code !== 2)
        reject(new Error('grep failed', { cause: error }));
      else resolve(stdout.split('\n').filter((line) => line !== ''));
    });
  });
}
