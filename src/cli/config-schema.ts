import { z } from 'zod';
import { LOAD_MAX, LOAD_MIN } from '../ops/verify/load.js';

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
/** The host and the port of `api.listen`. */
export const LISTEN = /^(.+):([0-9]{1,5})$/;

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

/** walhouse.yaml, once its variables are in. What it says of each key is docs/CONFIGURATION.md. */
export const configSchema = z.strictObject({
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

export type Config = z.output<typeof configSchema>;

function safeUrl(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}
