import { z } from 'zod';
import { configSchema } from '../../src/cli/config-schema.js';

/** The part of JSON Schema that comes out of `z.toJSONSchema` for the configuration. */
interface Schema {
  readonly type?: 'object' | 'array' | 'string' | 'boolean' | 'number' | 'null';
  readonly description?: string | undefined;
  readonly default?: unknown;
  readonly examples?: readonly unknown[];
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema | false;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
}

export interface ConfigurationKey {
  /** `columns.COLUMN.type`, from the section on. */
  readonly path: readonly string[];
  readonly schema: Schema;
  readonly required: boolean;
}

export interface Section {
  readonly name: string;
  readonly schema: Schema;
  readonly keys: readonly ConfigurationKey[];
}

/** What stands for the names that people choose. */
const CHOSEN: Readonly<Record<string, string>> = { tables: 'TABLE', columns: 'COLUMN' };

export function configurationSections(): Section[] {
  const { properties, required = [] } = z.toJSONSchema(configSchema, { io: 'input' }) as Schema;
  return Object.entries(properties!).map(([name, schema]) => ({
    name,
    schema,
    keys: keysOf(schema, [], name, required.includes(name)),
  }));
}

function keysOf(
  schema: Schema,
  path: readonly string[],
  name: string,
  required: boolean,
): ConfigurationKey[] {
  const [first = schema] = schema.anyOf ?? [];
  const inner = { ...first, description: first.description ?? schema.description };
  const own = path.length === 0 && inner.type === 'object' ? [] : [{ path, schema: inner, required }];
  if (inner.properties !== undefined) {
    const inside = Object.entries(inner.properties).flatMap(([key, value]) =>
      keysOf(value, [...path, key], key, inner.required?.includes(key) === true),
    );
    return [...own, ...inside];
  }
  if (typeof inner.additionalProperties === 'object') {
    const inside = keysOf(inner.additionalProperties, [...path, CHOSEN[name]!], name, false);
    return [...own, ...inside.filter((key) => key.path.length > path.length + 1)];
  }
  return own;
}

/** In YAML's short form, as code. */
const yaml = (value: unknown): string =>
  `\`${
    typeof value === 'string'
      ? value
      : JSON.stringify(value)
          .replace(/"([\w ]+)"/g, '$1')
          .replaceAll(',', ', ')
  }\``;

function takes({ type, enum: choices, examples = [], items, minimum, maximum }: Schema): string {
  if (choices !== undefined)
    return choices
      .map(yaml)
      .join(', ')
      .replace(/, ([^,]+)$/, ' or $1');
  const what = {
    array: 'a list of text',
    boolean: '`true` or `false`',
    null: '',
    number: `a number from ${minimum} to ${maximum}`,
    object: 'keys of its own',
    string: 'text',
  }[type!];
  const shown = [...examples, ...(items?.examples ?? [])].map(yaml).join(', ');
  return shown === '' ? what : `${what}, such as ${shown}`;
}

function withoutIt({ schema, required }: ConfigurationKey): string {
  if (required) return 'must be there';
  return schema.default === undefined || schema.type === 'object' ? '' : yaml(schema.default);
}

function row(key: ConfigurationKey): string {
  const cells = [`\`${key.path.join('.')}\``, takes(key.schema), withoutIt(key), key.schema.description!];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

export const EXAMPLE = `source:
  url: \${SOURCE_URL} # postgres://walhouse:...@db1:5432/shop
sink:
  url: \${CLICKHOUSE_URL} # https://walhouse:...@clickhouse1:8443
  database: shop
tables:
  public.merchants: {}
  public.payments:
    retention: { column: payment_date, keep: 2 years }
    history: true
  public.customers:
    exclude: [card_number]
    where: "country = 'DE'"
    erase: { follow: [public.payments (customer_id)] }
marts: [payments]
verify: { every: 1h }
api:
  listen: 127.0.0.1:8080
  keys: \${WALHOUSE_API_KEYS}
`;

/** docs/CONFIGURATION.md, before a formatter has seen it. */
export function configurationDocument(): string {
  const sections = configurationSections().map(({ name, schema, keys }) => {
    const [only] = keys;
    // A section that is one value and no keys.
    const shown = only?.path.length === 0 ? [{ ...only, path: [name] }] : keys;
    const needed = shown.some(({ required }) => required) ? '' : ' It may be left out.';
    return [
      `## ${name}`,
      `${only?.path.length === 0 ? '' : `${schema.description!}${needed}`}`,
      ['| key | takes | without it | what it is |', '| --- | --- | --- | --- |', ...shown.map(row)].join(
        '\n',
      ),
    ].join('\n\n');
  });
  return [
    '# Configuration',
    `What may stand in \`walhouse.yaml\`. \`walhouse init\` writes one from the catalog of a source, and \`walhouse check\` says whether both sides are
ready for it. This page is made from the schema that the file is read with (\`npx vitest run --project unit configuration-document -u\`).`,
    `The file is read as a whole before anything starts. Every mistake in it is told at once, with its key, its value unless that may be a secret, and
the fix; a key that is not here is a mistake. \`\${NAME}\` within any value takes an environment variable, or the content of
the file that the environment variable NAME_FILE names, as for a secret that is mounted; one of the two must be set. SIGHUP has a running
service read the file again: \`tables\`, \`marts\`, \`verify\`, \`risk\` and \`api.keys\` are taken up in flight, \`source\`, \`sink\`, \`tracing\` and \`api.listen\` need a restart.`,
    `\`\`\`yaml\n${EXAMPLE}\`\`\``,
    ...sections,
  ].join('\n\n');
}
