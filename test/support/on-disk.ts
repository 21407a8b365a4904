import { execFile } from 'node:child_process';

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
