import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { parseConfig } from '../../src/cli/config.js';
import { variable } from '../../src/cli/variables.js';

const directory = mkdtempSync(join(tmpdir(), 'walhouse-variables-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(name: string, content: string): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

const yaml = `source: { url: '\${SOURCE_URL}' }
sink: { url: 'https://\${CLICKHOUSE_USER}@clickhouse1', database: shop }
tables: { public.t: {} }`;

describe('a variable', () => {
  test.each([
    ['planted', 'planted'],
    ['planted\n', 'planted'],
    ['planted\r\n', 'planted'],
    [' planted \n\n', ' planted \n'],
    ['\n', undefined],
  ])('comes from a file that holds %j as %j', (content, expected) => {
    expect(variable('KEY', { KEY_FILE: file('key', content) })).toBe(expected);
  });

  test('comes from the environment where no file is named', () => {
    expect(variable('KEY', { KEY: 'planted', KEY_FILE: '' })).toBe('planted');
    expect(variable('KEY', { KEY: '' })).toBeUndefined();
  });

  test('is within values of the configuration, whichever way it comes', () => {
    const { source, sink } = parseConfig(yaml, 'walhouse.yaml', {
      SOURCE_URL_FILE: file('url', 'postgres://somebody:planted@db1/shop\n'),
      CLICKHOUSE_USER: 'walhouse',
    });
    expect(source.url).toBe('postgres://somebody:planted@db1/shop');
    expect(sink.url).toBe('https://walhouse@clickhouse1');
  });

  test('that is missing, there twice or in a file that is not there is told by its name, with all others', () => {
    const environment = {
      SOURCE_URL: 'planted',
      SOURCE_URL_FILE: '/nowhere/url',
      CLICKHOUSE_USER_FILE: '/nowhere/user',
    };
    expect(() => parseConfig(yaml, 'walhouse.yaml', environment)).toThrowError(
      /2 mistakes:\n.*source\.url: SOURCE_URL and SOURCE_URL_FILE are both set; keep one.*\n.*sink\.url: CLICKHOUSE_USER_FILE: \/nowhere\/user cannot be read \(ENOENT\)/,
    );
    expect(() => parseConfig(yaml, 'walhouse.yaml', {})).toThrowError(
      /set SOURCE_URL in the environment, or SOURCE_URL_FILE/,
    );
    expect(() => parseConfig(yaml, 'walhouse.yaml', environment)).not.toThrowError(/planted/);
  });
});
