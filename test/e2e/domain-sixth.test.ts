import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const copy = mkdtempSync(join(tmpdir(), 'walhouse-sixth-'));
afterAll(() => rmSync(copy, { recursive: true, force: true }));

/** The blocks of code in docs/DOMAINS.md with the file that the sentence before each names. */
function filesOfTheDocument(): Map<string, string> {
  const text = readFileSync(join(ROOT, 'docs/DOMAINS.md'), 'utf8');
  const blocks = text.matchAll(/`([a-z]+\/[^`]*parcels[^`]*\.(?:sql|yaml|ts))`:\n\n```[a-z]+\n([^]*?)```/g);
  return new Map([...blocks].map(([, file, content]) => [file!, content!]));
}

it('a domain that is added as docs/DOMAINS.md says is played, followed, and equal to its questions on Postgres', async () => {
  for (const part of ['src', 'clickhouse', 'postgres', 'package.json', 'tsconfig.json'])
    cpSync(join(ROOT, part), join(copy, part), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'));
  const files = filesOfTheDocument();
  expect([...files.keys()].sort()).toEqual([
    'clickhouse/parcels/1_depots.sql',
    'clickhouse/parcels/domain.yaml',
    'clickhouse/parcels/oracle/depots.sql',
    'clickhouse/parcels/pictures/1_hours.sql',
    'clickhouse/parcels/pictures/2_depots.sql',
    'postgres/parcels.sql',
    'src/dev/parcels/generator.ts',
  ]);
  for (const [file, content] of files) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    writeFileSync(join(copy, file), content);
  }
  const demo = ['demo', '--domain', 'parcels', '--seconds', '4', '--port', '0'];
  const output = await new Promise<string>((resolve) => {
    execFile(
      process.execPath,
      ['--import', 'tsx', 'src/cli/main.ts', ...demo],
      { cwd: copy, timeout: 100_000 },
      (error, stdout, stderr) =>
        resolve(`${stdout}${stderr}\n${error === null ? 'exit code 0' : error.message}`),
    );
  });
  expect(output).toMatch(/depots +3 rows +equal, value for value/);
  expect(output).toMatch(/parcels\.parcels +\d+ rows +equal, value for value/);
  expect(output).toContain('All equal.');
  expect(output).toContain('exit code 0');
});
