import { z } from 'zod';
import { LOAD_DEFAULT, LOAD_MAX, LOAD_MIN } from '../ops/verify/load.js';

/** How long rows are kept: `2 years`, `18 months`, `90 days`. */
export interface Keep {
  readonly count: number;
  readonly unit: 'day' | 'month' | 'year';
}

const KEEP = /^([1-9][0-9]{0,3}) (day|month|year)s?$/;
const EVERY = /^([1-9][0-9]{0,3})(s|m|h|d)$/;
const UNIT_MS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
/** A hash with a key that can be guessed is no mask. */
const MASK_KEY_MIN = 32;
const WINDOW = /^([1-9][0-9]{0,3})(h|d)$/;
/** Windows of a day are 24 hours long, whatever the calendar says. */
const DEFAULT_WINDOWS = ['1d', '7d', '30d'];
/** The host and the port of `api.listen`. */
export const LISTEN = /^(.+):([0-9]{1,5})$/;

const keep = z
  .string()
  .regex(KEEP, 'must be a whole number and days, months or years; write for example: 2 years')
  .meta({ examples: ['2 years', '18 months', '90 days'] })
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

/** A span of time, in milliseconds. */
const window = (...examples: string[]) =>
  z
    .string()
    .regex(WINDOW, 'must be a whole number and h or d; write for example: 7d')
    .meta({ examples })
    .transform((text): number => {
      const [, count, unit] = WINDOW.exec(text)!;
      return Number(count) * UNIT_MS[unit as 'h' | 'd'];
    });

const file = (path: string) =>
  z
    .string()
    .min(1, `must be the path of a PEM file; write for example: ${path}`)
    .meta({ examples: [path] });

/** How the connection to one of the databases is protected. */
const tls = (unsaid: string) =>
  z
    .union(
      [
        z
          .strictObject({
            ca: file('/etc/walhouse/ca.pem')
              .optional()
              .describe(
                "The authorities that may have signed the server's certificate; without it, those that Node trusts.",
              ),
            cert: file('/etc/walhouse/client.pem')
              .optional()
              .describe('Our own certificate, where the server asks for one; with `key`.'),
            key: file('/etc/walhouse/client.key').optional().describe('The key of `cert`.'),
            verify: z
              .enum(['full', 'ca', 'none'], 'must be full, ca or none')
              .default('full')
              .describe(
                "`full`: the server's certificate is verified, and bears the name in `url`. `ca`: any name will do. `none`: nothing is verified, and anybody in between can read along.",
              ),
          })
          .refine(
            ({ cert, key }) => (cert === undefined) === (key === undefined),
            'must have both cert and key, or neither',
          ),
        z.literal('off'),
      ],
      'must be off, or some of ca, cert, key and verify',
    )
    .optional()
    .describe(
      `How the connection is protected: keys of its own, or \`off\` for not at all ([SECURITY.md](SECURITY.md)). ${unsaid}`,
    );

const FOLLOW = /^([^.\s]+\.\S+) ?\(([^()]+)\)$/;

/** Tables whose rows go with an erased one: `public.transactions (consumer_id)`. */
const follow = z
  .string()
  .regex(
    FOLLOW,
    'must be schema.table (column, ...), the columns that hold the key of this table; write for example: public.transactions (consumer_id)',
  )
  .meta({ examples: ['public.transactions (consumer_id)'] })
  .transform((text) => {
    const [, id, columns] = FOLLOW.exec(text)!;
    return { table: id!, columns: columns!.split(',').map((column) => column.trim()) };
  });

const table = z
  .strictObject({
    retention: z
      .strictObject({
        column: z
          .string()
          .min(1)
          .meta({ description: 'The column whose time a row ages by.', examples: ['payment_date'] }),
        keep: keep.describe('For how long.'),
      })
      .optional()
      .describe(
        'Rows past it are invisible at once, deleted soon after, and not copied by a snapshot. Wants `replica identity full`.',
      ),
    history: z
      .boolean()
      .default(false)
      .describe('Every change also goes to the audit trail. Wants `replica identity full`.'),
    columns: z
      .record(
        z.string().min(1),
        z.strictObject({
          type: z.string('must be a ClickHouse type; write for example: Decimal(38, 10)').meta({
            description:
              'What the column is in ClickHouse, instead of what it would be ([TYPES.md](TYPES.md)).',
            examples: ['Decimal(38, 10)'],
          }),
        }),
      )
      .default({})
      .describe('Columns that are told apart, by their names in the source.'),
    exclude: z
      .array(z.string().min(1), 'must be a list of columns; write for example: [card_number]')
      .optional()
      .meta({
        description: 'Columns that are not copied, and are in nothing that Walhouse stores or logs.',
        examples: [['card_number', 'note']],
      }),
    only: z
      .array(z.string().min(1), 'must be a list of columns; write for example: [id, amount]')
      .min(1, 'must name at least the key')
      .optional()
      .meta({
        description: 'The columns that are copied, the key among them; instead of `exclude`.',
        examples: [['id', 'amount']],
      }),
    where: z
      .string(`must be a condition in SQL; write for example: "country = 'DE'"`)
      .trim()
      .min(1, 'must be a condition in SQL, or left out')
      .optional()
      .meta({
        description:
          'The rows that are copied; a row that an update moves in or out comes or goes. Wants `replica identity full` where it reads more than the key.',
        examples: [`country = 'DE' and amount > 0`],
      }),
    mask: z
      .array(z.string().min(1), 'must be a list of columns; write for example: [email]')
      .default([])
      .meta({
        description:
          'Columns of which ClickHouse gets a keyed hash instead of the value, the same one for the same value in every table. Not for columns of the key or of retention. Wants `masking.key`.',
        examples: [['email', 'phone']],
      }),
    erase: z
      .strictObject({
        follow: z
          .array(follow)
          .describe('Tables whose rows go with an erased one, each with the columns that hold its key.'),
      })
      .optional()
      .describe('What `walhouse erase` removes besides a row of this table.'),
  })
  .nullable()
  .transform((value) => value ?? { history: false, columns: {}, mask: [] });

/** walhouse.yaml, once its variables are in. docs/CONFIGURATION.md is made from it, descriptions and examples and all. */
export const configSchema = z.strictObject({
  source: z
    .strictObject({
      url: urlOf(['postgres:', 'postgresql:'], 'postgres://walhouse:secret@db1:5432/shop').meta({
        description: 'Where it is, and as whom. Best from the environment, for its password.',
        examples: ['${SOURCE_URL}', 'postgres://walhouse:secret@db1:5432/shop'],
      }),
      tls: tls('Without it, TLS is verified in full, and loopback is reached without TLS.'),
      slot: name
        .default('walhouse')
        .describe(
          'The replication slot. The first run makes it, and it holds WAL back while nothing reads it.',
        ),
      publication: name
        .default('walhouse')
        .describe(
          'The publication that pgoutput reads; kept to the tables below where the role may do that.',
        ),
      decoder: z
        .enum(['auto', 'wal2json', 'pgoutput'], 'must be auto, wal2json or pgoutput')
        .default('auto')
        .describe(
          '`auto` is wal2json where the server has it and nothing is lost by it, otherwise pgoutput.',
        ),
    })
    .describe('The Postgres that is read.'),
  sink: z
    .strictObject({
      url: urlOf(['http:', 'https:'], 'https://walhouse:secret@clickhouse1:8443').meta({
        description: 'Where it is, and as whom.',
        examples: ['${CLICKHOUSE_URL}', 'https://walhouse:secret@clickhouse1:8443'],
      }),
      tls: tls('Without it, https is verified in full, and http is for loopback alone.'),
      database: z
        .string()
        .regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/, 'must be a plain name; write for example: shop')
        .meta({
          description: 'The database that people query; NAME_landing and NAME_audit stand behind it.',
          examples: ['shop'],
        }),
    })
    .describe('The ClickHouse that is written to.'),
  tables: z
    .record(
      z.string().regex(/^[^.]+\..+$/, 'must be schema.table; write for example: public.payments'),
      table,
    )
    .refine((tables) => Object.keys(tables).length > 0, 'must name at least one table, as schema.table')
    .describe('What is followed: each table by its schema and name, with what is special about it or `{}`.'),
  masking: z
    .strictObject({
      key: z
        .string()
        .min(MASK_KEY_MIN, `must have ${MASK_KEY_MIN} characters at least; make one: openssl rand -hex 32`)
        .meta({
          description: `The key of the hashes, ${MASK_KEY_MIN} characters at least. Best from the environment; it is never stored, logged or sent anywhere. With another key, tables with masked columns are copied anew.`,
          examples: ['${WALHOUSE_MASK_KEY}'],
        }),
    })
    .optional()
    .describe('What masks the columns that tables name under `mask`.'),
  marts: z
    .array(z.string().regex(/^[a-z0-9_]+$/, 'must be the name of a folder under clickhouse/'))
    .default([])
    .meta({
      description: 'Folders under clickhouse/ to keep over these tables ([DOMAINS.md](DOMAINS.md)).',
      examples: [['payments']],
    }),
  verify: z
    .strictObject({
      every: z
        .string()
        .regex(EVERY, 'must be a whole number and s, m, h or d; write for example: 1h')
        .meta({ examples: ['1h', '30m', '1d'] })
        .transform((text): number => {
          const [, count, unit] = EVERY.exec(text)!;
          return Number(count) * UNIT_MS[unit as keyof typeof UNIT_MS];
        })
        .describe('How long from one comparison to the next.'),
      max_load: z
        .number()
        .min(LOAD_MIN)
        .max(LOAD_MAX)
        .default(LOAD_DEFAULT)
        .describe(
          "How many of the source's processes may work for it at once, on average: 0.25 is one that does a quarter of the time.",
        ),
    })
    .optional()
    .describe(
      'Compares both sides in the background, and says in status and metrics what differs; without it only what is asked for on the dashboard is.',
    ),
  risk: z
    .strictObject({
      windows: z
        .array(window('7d', '36h'))
        .min(1, 'must name at least one window, such as 7d')
        .prefault(DEFAULT_WINDOWS)
        .describe('The windows that `?window=` may ask for. A day is 24 hours.'),
      horizon: window('90d')
        .optional()
        .describe(
          'How far back the mart reaches, as long as the longest window at least; without it the longest window, five times seven days at least, and a day. Questions from before it are read from landing, which is slower.',
        ),
    })
    .prefault({})
    .describe('The question about merchants, where `marts` has `payments`.'),
  api: z
    .strictObject({
      listen: z
        .string()
        .regex(LISTEN, 'must be host:port; write for example: 127.0.0.1:8080')
        .refine((text) => Number(LISTEN.exec(text)?.[2] ?? 0) <= 65535, 'the port must be at most 65535')
        .default('127.0.0.1:8080')
        .meta({
          description: 'Host and port; port 0 takes a free one.',
          examples: ['0.0.0.0:8080', '[::1]:8080'],
        }),
      keys: z
        .string()
        .optional()
        .meta({
          description:
            'Who may ask: NAME:SCOPE:HASH, comma-separated, several scopes joined by +. A scope is `risk:read`, `ops:read` or `ops:write`, the hash is the SHA-256 of the key. Without keys anybody may ask everything, which is refused unless `listen` is on loopback.',
          examples: ['${WALHOUSE_API_KEYS}'],
        }),
    })
    .prefault({})
    .describe('What Walhouse answers over HTTP.'),
  tracing: z
    .strictObject({
      endpoint: urlOf(['http:', 'https:'], 'http://127.0.0.1:4318/v1/traces').meta({
        description:
          'Where a collector takes OTLP over HTTP. What it wants of headers, compression and certificates is taken from `OTEL_EXPORTER_OTLP_HEADERS` and the like.',
        examples: ['http://127.0.0.1:4318/v1/traces'],
      }),
      sample: z
        .number()
        .min(0, 'must be from 0 to 1; write for example: 0.01')
        .max(1, 'must be from 0 to 1; write for example: 0.01')
        .default(0.01)
        .describe(
          'Of how many batches, and of how many requests whose caller does not say, there is a trace: 0.01 is one in a hundred.',
        ),
    })
    .optional()
    .describe(
      'Sends OpenTelemetry traces, from commit to visible row and of requests to the API ([OPERATIONS.md](OPERATIONS.md#tracing)); without it there are none.',
    ),
});

export type Config = z.output<typeof configSchema>;

function safeUrl(text: string): URL | null {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}
