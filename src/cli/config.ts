import { readFileSync } from 'node:fs';
import { parse as parseYaml, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { LOAD_MAX, LOAD_MIN } from '../ops/verify/load.js';
import { WalhouseError } from '../pipeline/errors.js';
import { substituteVariables } from './variables.js';

/** How long rows are kept: `2 years`, `18 months`, `90 days`. */
export interface Keep {
  readonly count: number;
  readonly unit: 'day' | 'month' | 'year';
}

const KEEP = /^([1-9][0-9]{0,3}) (day|month|year)s?$/;
const EVERY = /^([1-9][0-9]{0,3})(s|m|h|d)$/;
const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const WINDOW = /^([1-9][0-9]{0,3})(h|d)$/;
/** Windows of a day are 24 hours long, whatever the calendar says. */
const DEFAULT_WINDOWS = [1, 7, 30].map((days) => days * UNIT_MS.d);
const LISTEN = /^(.+):([0-9]{1,5})$/;
const LOOPBACK_HOSTS = new Set(['127.0.0.1', 'localhost', '[::1]', '::1']);

const keep = z
  .string()
  .regex(KEEP, 'must be a whole number and days, months or years; write for example: 2 years')
  .transform((text): Keep => {
    const [, count, unit] = KEEP.exec(text)!;
    return { count: Number(count), unit: unit as Keep['unit'] };
  });

function urlOf(protocols: readonly string[], example: string) {
  return z.string().refine((text) => {
    const url = safeUrl(text);
    return url !== null && protocols.includes(url.protocol);
  }, `must be a URL; write for example: ${example}`);
}

const name = z
  .string()
  .regex(/^[a-z0-9_]{1,63}$/, 'must be 1 to 63 of a-z, 0-9 and _; write for example: walhouse');

/** In milliseconds. */
const window = z
  .string()
  .regex(WINDOW, 'must be a whole number and h or d; write for example: 7d')
  .transform((text): number => {
    const [, count, unit] = WINDOW.exec(text)!;
    return Number(count) * UNIT_MS[unit as 'h' | 'd'];
  });

const FOLLOW = /^([^.\s]+\.\S+) ?\(([^()]+)\)$/;

/** Tables whose rows go with an erased one: `public.transactions (consumer_id)`. */
const follow = z
  .string()
  .regex(
    FOLLOW,
    'must be schema.table (column, ...), the columns that hold the key of this table; write for example: public.transactions (consumer_id)',
  )
  .transform((text) => {
    const [, id, columns] = FOLLOW.exec(text)!;
    return { table: id!, columns: columns!.split(',').map((column) => column.trim()) };
  });

const table = z
  .strictObject({
    retention: z.strictObject({ column: z.string().min(1), keep }).optional(),
    history: z.boolean().default(false),
    columns: z
      .record(
        z.string().min(1),
        z.strictObject({ type: z.string('must be a ClickHouse type; write for example: Decimal(38, 10)') }),
      )
      .default({}),
    exclude: z
      .array(z.string().min(1), 'must be a list of columns; write for example: [card_number]')
      .optional(),
    only: z
      .array(z.string().min(1), 'must be a list of columns; write for example: [id, amount]')
      .min(1, 'must name at least the key')
      .optional(),
    where: z
      .string(`must be a condition in SQL; write for example: "country = 'DE'"`)
      .trim()
      .min(1, 'must be a condition in SQL, or left out')
      .optional(),
    mask: z.array(z.string()).default([]),
    erase: z.strictObject({ follow: z.array(follow) }).optional(),
  })
  .nullable()
  .transform((value) => value ?? { history: false, columns: {}, mask: [] });

const schema = z.strictObject({
  source: z.strictObject({
    url: urlOf(['postgres:', 'postgresql:'], 'postgres://walhouse:secret@db1:5432/shop'),
    slot: name.default('walhouse'),
    publication: name.default('walhouse'),
    decoder: z.enum(['auto', 'wal2json', 'pgoutput'], 'must be auto, wal2json or pgoutput').default('auto'),
  }),
  sink: z.strictObject({
    url: urlOf(['http:', 'https:'], 'http://walhouse:secret@clickhouse1:8123'),
    database: z
      .string()
      .regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/, 'must be a plain name; write for example: shop'),
  }),
  tables: z
    .record(
      z.string().regex(/^[^.]+\..+$/, 'must be schema.table; write for example: public.payments'),
      table,
    )
    .refine((tables) => Object.keys(tables).length > 0, 'must name at least one table, as schema.table'),
  marts: z
    .array(z.string().regex(/^[a-z0-9_]+$/, 'must be the name of a folder under clickhouse/'))
    .default([]),
  verify: z
    .strictObject({
      every: z
        .string()
        .regex(EVERY, 'must be a whole number and s, m, h or d; write for example: 1h')
        .transform((text): number => {
          const [, count, unit] = EVERY.exec(text)!;
          return Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
        }),
      max_load: z.number().min(LOAD_MIN).max(LOAD_MAX).default(0.25),
    })
    .optional(),
  risk: z
    .strictObject({
      windows: z.array(window).min(1, 'must name at least one window, such as 7d').default(DEFAULT_WINDOWS),
      horizon: window.optional(),
    })
    .default({ windows: DEFAULT_WINDOWS }),
  api: z
    .strictObject({
      listen: z
        .string()
        .regex(LISTEN, 'must be host:port; write for example: 127.0.0.1:8080')
        .refine((text) => Number(LISTEN.exec(text)?.[2] ?? 0) <= 65535, 'the port must be at most 65535')
        .default('127.0.0.1:8080'),
      keys: z.string().optional(),
    })
    .default({ listen: '127.0.0.1:8080' }),
});

export type Config = z.output<typeof schema>;

/**
 * Reads walhouse.yaml whole: every mistake is told at once, each with its key, its value (unless that may be a secret) and the fix.
 * @throws WalhouseError config_invalid
 */
export function loadConfig(path: string, environment: NodeJS.ProcessEnv): Config {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new WalhouseError('config_invalid', {
      what: `${path} cannot be read.`,
      why: 'Without a configuration Walhouse does not know what to stream.',
      fix: 'name the file with --config FILE, or write one: walhouse init',
      cause,
    });
  }
  return parseConfig(text, path, environment);
}

/** As `loadConfig`, from the text. `path` is for messages. */
export function parseConfig(text: string, path: string, environment: NodeJS.ProcessEnv): Config {
  let raw: unknown;
  try {
    raw = parseYaml(text);
  } catch (cause) {
    const line = cause instanceof YAMLParseError ? cause.message.split('\n')[0] : String(cause);
    throw invalid(path, [`the file is not YAML: ${line}`], cause);
  }
  const { value, missing } = substituteVariables(raw, environment);
  if (missing.length > 0) {
    throw invalid(
      path,
      missing.map(
        ({ key, variable }) => `${key}: \${${variable}} is not set; set ${variable} in the environment`,
      ),
    );
  }
  const parsed = schema.safeParse(value, { reportInput: true });
  if (!parsed.success)
    throw invalid(
      path,
      parsed.error.issues.flatMap((issue) => describe(issue)),
    );
  const problems = contradictions(parsed.data);
  if (problems.length > 0) throw invalid(path, problems);
  return deepFreeze(parsed.data);
}

export function listenAddress(listen: string): { host: string; port: number } {
  const [, host, port] = LISTEN.exec(listen)!;
  return { host: host!.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
}

function contradictions(config: Config): string[] {
  const problems: string[] = [];
  const [, host] = LISTEN.exec(config.api.listen)!;
  if (!LOOPBACK_HOSTS.has(host!) && (config.api.keys ?? '') === '') {
    problems.push(
      `api.keys: missing, though api.listen is ${config.api.listen}; without keys anybody who reaches it reads everything: set api.keys, or listen on 127.0.0.1`,
    );
  }
  const { windows, horizon } = config.risk;
  if (horizon !== undefined && horizon < Math.max(...windows))
    problems.push('risk.horizon: shorter than the longest of risk.windows; make it as long at least');
  for (const [id, options] of Object.entries(config.tables)) {
    for (const { table: other } of options.erase?.follow ?? []) {
      if (!Object.hasOwn(config.tables, other))
        problems.push(
          `tables.${id}.erase.follow names ${other}, which is not among tables; add it to tables`,
        );
    }
    if (options.mask.length > 0) {
      problems.push(
        `tables.${id}.mask: masking of columns is not supported by this version; remove the list`,
      );
    }
    problems.push(...selectionContradictions(`tables.${id}`, options));
  }
  return problems;
}

/** What is left out cannot be asked for elsewhere. */
function selectionContradictions(key: string, options: Config['tables'][string]): string[] {
  const { exclude = [], only, retention, columns } = options;
  const problems: string[] = [];
  if (only !== undefined && exclude.length > 0)
    problems.push(`${key}.exclude: only says already what is copied; keep one of both`);
  const mend = (name: string): string | null => {
    if (only !== undefined) return only.includes(name) ? null : `add ${name} to only`;
    return exclude.includes(name) ? `remove ${name} from exclude` : null;
  };
  const wanted = [
    ...(retention === undefined ? [] : [[`${key}.retention.column`, retention.column] as const]),
    ...Object.keys(columns).map((name) => [`${key}.columns.${name}`, name] as const),
  ];
  for (const [where, name] of wanted) {
    const fix = mend(name);
    if (fix !== null) problems.push(`${where}: column ${name} is left out; ${fix}`);
  }
  return problems;
}

function describe(issue: z.core.$ZodIssue): string[] {
  const key = issue.path.join('.');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(
      (unknown) => `${key === '' ? '' : `${key}.`}${unknown}: unknown key; remove it or correct its spelling`,
    );
  }
  const messages =
    issue.code === 'invalid_key' ? issue.issues.map((inner) => inner.message) : [issue.message];
  return messages.map((message) => `${key === '' ? 'the file' : key}${shown(issue.input, key)}: ${message}`);
}

/** The value as the message shows it; URLs and keys may hold secrets and are left out. */
function shown(input: unknown, key: string): string {
  if (input === undefined) return ' is missing';
  if (/(^|\.)(url|keys)$/.test(key) || typeof input === 'object') return '';
  return ` is ${JSON.stringify(input)}`;
}

function invalid(path: string, problems: readonly string[], cause?: unknown): WalhouseError {
  const list = problems.map((problem) => `\n  - ${problem}`).join('');
  return new WalhouseError('config_invalid', {
    what: `${path} has ${problems.length === 1 ? 'a mistake' : `${problems.length} mistakes`}:${list}\n`,
    why: 'Nothing was started.',
    fix: 'correct what is listed and start again',
    cause,
  });
}

function safeUrl(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
