import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { parseKeys, SCOPES } from '../../src/api/keys.js';
import { parseConfig } from '../../src/cli/config.js';
import { Certificates } from '../support/certificates.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const text = readFileSync(join(ROOT, 'docs/SECURITY.md'), 'utf8');
const blocks = (language: string): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map(
    ([, block]) => block!,
  );
const directory = mkdtempSync(join(tmpdir(), 'walhouse-security-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const run = (script: string): string =>
  execFileSync('bash', ['-euo', 'pipefail', '-c', script], {
    cwd: directory,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });

describe('docs/SECURITY.md', () => {
  test('names tests and files that there are', () => {
    const tests = [...text.matchAll(/`(test\/[^`]+)`/g)].map(([, path]) => path!);
    const files = [...text.matchAll(/\]\(([^)#]+)\)/g)].map(([, path]) => join('docs', path!));
    expect(tests.length).toBeGreaterThan(10);
    expect([...tests, ...files].filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });

  test('shows a configuration that is taken', () => {
    const [yaml] = blocks('yaml');
    const { source } = parseConfig(yaml!, 'the example', {
      SOURCE_URL: 'postgres://walhouse@db1/shop',
      CLICKHOUSE_URL: 'https://walhouse@clickhouse1:8443',
    });
    expect(source.url).toContain('sslmode=verify-full');
  });

  test('has every scope', () => {
    for (const scope of SCOPES) expect(text).toContain(`| \`${scope}\``);
  });

  test.skipIf(!Certificates.available())(
    'makes certificates for the names that it connects to, and a key that is taken',
    () => {
      const [certificates, key] = blocks('sh');
      run(certificates!);
      const read = (name: string) => new X509Certificate(readFileSync(join(directory, `${name}.pem`)));
      for (const name of ['db1', 'clickhouse1', 'walhouse']) {
        expect(read(name).checkHost(name)).toBe(name);
        expect(read(name).verify(read('ca').publicKey)).toBe(true);
      }
      expect(parseKeys(run(key!))).toMatchObject([{ name: 'fraud-2026' }]);
    },
  );
});
