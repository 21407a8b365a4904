import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { parseConfig } from '../../src/cli/config.js';
import {
  configurationDocument,
  configurationSections,
  EXAMPLE,
  type ConfigurationKey,
} from '../support/configuration-document.js';

const DOCUMENT = fileURLToPath(new URL('../../docs/CONFIGURATION.md', import.meta.url));
const VARIABLES = {
  SOURCE_URL: 'postgres://walhouse@db1/shop',
  CLICKHOUSE_URL: 'https://walhouse@clickhouse1:8443',
  WALHOUSE_MASK_KEY: '0'.repeat(64),
  WALHOUSE_API_KEYS: `fraud:risk:read:${'0'.repeat(64)}`,
};

const sections = configurationSections();
const keys = sections.flatMap(({ name, keys }) =>
  keys.map((key): ConfigurationKey & { section: string } => ({ ...key, section: name })),
);
const exampleOf = ({ schema }: ConfigurationKey): unknown =>
  schema.examples?.[0] ?? (schema.items?.examples === undefined ? undefined : [schema.items.examples[0]]);

/** A configuration with one value at one key, and what has to be beside it. */
function withValue({ section, path }: (typeof keys)[number], value: unknown): string {
  const root: Record<string, unknown> = {
    source: { url: '${SOURCE_URL}' },
    sink: { url: '${CLICKHOUSE_URL}', database: 'shop' },
    tables: { TABLE: {}, 'public.transactions': {} },
    masking: { key: '${WALHOUSE_MASK_KEY}' },
    api: { keys: '${WALHOUSE_API_KEYS}' },
  };
  const put = (at: readonly string[], what: unknown): void => {
    let node = root;
    for (const name of at.slice(0, -1)) node = (node[name] ??= {}) as Record<string, unknown>;
    node[at.at(-1)!] = what;
  };
  for (const sibling of keys) {
    const same = sibling.section === section && sibling.path.slice(0, -1).join() === path.slice(0, -1).join();
    if (same && sibling.required) put([section, ...sibling.path], exampleOf(sibling));
  }
  // A certificate and its key are given together.
  if (path[0] === 'tls') put([section, 'tls'], { cert: 'client.pem', key: 'client.key' });
  put([section, ...path], value);
  return stringify(root).replaceAll('TABLE:', 'public.payments:');
}

describe('docs/CONFIGURATION.md', () => {
  test('is what the schema says', async () => {
    const options = await resolveConfig(DOCUMENT);
    const text = await format(configurationDocument(), { ...options, parser: 'markdown' });
    await expect(text).toMatchFileSnapshot(DOCUMENT);
  });

  test('describes every key', () => {
    expect(keys.length).toBeGreaterThan(20);
    for (const { section, path, schema } of keys)
      expect(schema.description, `${section}.${path.join('.')}`).toMatch(/\.$/);
    for (const { name, schema } of sections) expect(schema.description, name).toMatch(/\.$/);
  });

  test('begins with a configuration that is taken', () => {
    expect(Object.keys(parseConfig(EXAMPLE, 'the example', VARIABLES).tables)).toHaveLength(3);
  });

  const shown = keys.flatMap((key) =>
    [...(key.schema.examples ?? []), ...(key.schema.items?.examples ?? []).map((item) => [item])].map(
      (value) => [[key.section, ...key.path].join('.'), JSON.stringify(value), key, value] as const,
    ),
  );
  test.each(shown)('shows for %s a value that is taken: %s', (_path, _text, key, value) => {
    expect(() => parseConfig(withValue(key, value), 'the example', VARIABLES)).not.toThrow();
  });
});
