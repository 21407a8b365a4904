import { z } from '@hono/zod-openapi';
import { parseLsn, type Lsn } from '../pipeline/lsn.js';
import { REPAIR_KEYS_MAX } from '../pipeline/repairs.js';
import { STATES } from '../pipeline/state.js';
import { TABLE_STATES, VERIFY_VERDICTS, type StatusDocument } from '../ops/status.js';
import { parseInt64 } from './int64.js';
import { parseTimestamp, type Micros } from './timestamp.js';

export const MERCHANTS_MAX = 1000;
export const WAIT_MS_MAX = 30_000;

const ID_RULE = 'must be a 64-bit integer in decimal digits';
const ID_DOC = {
  type: 'string',
  pattern: '^(0|-?[1-9][0-9]{0,18})$',
  description: "The source's key, a 64-bit integer as text, since JSON numbers lose digits.",
  example: '42',
} as const;

/** Turns text into something, or says why it cannot. */
function parsed<T>(parse: (text: string) => T | null, rule: string) {
  return z.string().transform((text, context): T => {
    const value = parse(text);
    if (value !== null) return value;
    context.addIssue({ code: 'custom', message: rule });
    return z.NEVER;
  });
}

const whole =
  (max: number) =>
  (text: string): number | null =>
    /^\d{1,15}$/.test(text) && Number(text) <= max ? Number(text) : null;

const merchantId = parsed<bigint>(parseInt64, ID_RULE);

const at = parsed<Micros>(
  parseTimestamp,
  'must be an RFC 3339 timestamp with Z or an offset and at most microseconds, such as 2026-11-21T09:00:00.123456Z',
)
  .optional()
  .openapi({
    type: 'string',
    format: 'date-time',
    description:
      "The window's end, to the microsecond; now when left out. At most one window length ahead of now, and no further back than payments are kept.",
    example: '2026-11-21T09:00:00Z',
  });

const minLsn = parsed<Lsn>(parseLsn, 'must be a WAL position such as 0/16B3748').optional().openapi({
  type: 'string',
  pattern: '^[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}$',
  description:
    'Answer only once this WAL position is applied. A caller who wants to see its own commit asks Postgres for pg_current_wal_insert_lsn() after it.',
  example: '0/16B3748',
});

const waitMs = parsed<number>(whole(WAIT_MS_MAX), `must be a whole number from 0 to ${WAIT_MS_MAX}`)
  .optional()
  .openapi({
    type: 'integer',
    minimum: 0,
    maximum: WAIT_MS_MAX,
    description:
      'How long to wait for `min_lsn`, in milliseconds; 0 when left out. 503 when it is not reached in time.',
    example: 500,
  });

/** A whole number from 1 to `max`. */
export const upTo = (max: number, otherwise: number) =>
  parsed<number>((text) => whole(max)(text) || null, `must be a whole number from 1 to ${max}`)
    .optional()
    .openapi({ type: 'integer', minimum: 1, maximum: max, default: otherwise });

const maxLagMs = parsed<number>(whole(Number.MAX_SAFE_INTEGER), 'must be a whole number of milliseconds')
  .optional()
  .openapi({
    type: 'integer',
    minimum: 0,
    description: '503 rather than an answer from knowledge older than this.',
    example: 1000,
  });

const WINDOW = /^([1-9][0-9]{0,3})(h|d)$/;
const HOUR_US = 3_600_000_000n;

const windowLength = parsed<Micros>((text) => {
  const [, count, unit] = WINDOW.exec(text) ?? [];
  return count === undefined ? null : BigInt(count) * (unit === 'd' ? 24n : 1n) * HOUR_US;
}, 'must be a whole number and h or d, such as 24h or 7d')
  .optional()
  .openapi({
    type: 'string',
    pattern: WINDOW.source,
    description:
      'How long the window is, in hours or in days of 24 hours: one of those in the configuration (risk.windows); seven days when left out.',
    example: '7d',
  });

const flag = parsed<boolean>(
  (text) => (text === 'true' ? true : text === 'false' ? false : null),
  'must be true or false',
).optional();

const baseline = flag.openapi({
  type: 'boolean',
  description:
    'Also what the numbers may be set beside: the same merchant in the four windows before, and all other merchants of similar volume.',
});

const by = z
  .enum(['method'], { error: 'must be method' })
  .optional()
  .openapi({ description: 'Also the numbers apart by payment method.' });

export const MerchantParams = z.object({
  id: merchantId.openapi({ ...ID_DOC, param: { name: 'id', in: 'path' } }),
});

export const RiskQuery = z.strictObject({
  at,
  window: windowLength,
  by,
  baseline,
  min_lsn: minLsn,
  wait_ms: waitMs,
  max_lag_ms: maxLagMs,
});

export const ReplicationQuery = z.strictObject({ min_lsn: minLsn, wait_ms: waitMs });

export const MerchantList = z
  .strictObject({
    merchant_ids: z
      .array(
        z
          .union([z.string(), z.number()], { error: ID_RULE })
          .transform((value, context): bigint => {
            // A number beyond 2^53 has lost digits before we see it.
            const id =
              typeof value === 'string'
                ? parseInt64(value)
                : Number.isSafeInteger(value)
                  ? BigInt(value)
                  : null;
            if (id !== null) return id;
            context.addIssue({
              code: 'custom',
              message: typeof value === 'number' ? `${ID_RULE}, and as text when it is beyond 2^53` : ID_RULE,
            });
            return z.NEVER;
          })
          .openapi({ ...ID_DOC, type: ['string', 'integer'] }),
        { error: 'must be a list of merchant ids' },
      )
      .min(1, 'must name at least one merchant')
      .max(MERCHANTS_MAX, `must name at most ${MERCHANTS_MAX} merchants`),
  })
  .openapi('MerchantList', { example: { merchant_ids: ['42', '43'] } });

const timestamp = z.string().openapi({ format: 'date-time', example: '2026-11-21T09:00:00.000Z' });
const lsn = z.string().openapi({ example: '0/16B3748' });
const moneyText = z.string().openapi({ pattern: '^-?[0-9]+\\.[0-9]+$', example: '120.50' });

const Numbers = z.object({ count: z.number().int(), amount: moneyText }).openapi('CountAndAmount');

export const Window = z
  .object({ from: timestamp, to: timestamp })
  .openapi('Window', { description: '`from < payment_date <= to`; 168 hours unless another was asked for.' });

export const AsOf = z
  .object({
    lsn,
    committed_at: timestamp.nullable(),
    lag_ms: z.number().int().nullable(),
  })
  .openapi('AsOf', {
    description:
      'The answer is what SQL on Postgres would have given at `lsn`. `committed_at` is when the newest transaction before it was committed, and `lag_ms` how long ago, when the answer left, it was known to be all there was; null where that was never known.',
  });

const shareText = z.string().nullable().openapi({ pattern: '^-?[0-9]+\\.[0-9]{6}$', example: '0.073171' });

const Share = z.object({ count: shareText, amount: shareText }).openapi('RejectedShare', {
  description:
    'rejected.count / total.count and rejected.amount / total.amount, worked out exactly and then rounded to six places, half away from zero; null where the total is zero.',
});

const MethodNumbers = z
  .object({
    method: z.string().nullable().openapi({ example: 'Visa', description: 'null: payments without one.' }),
    rejected: Numbers,
    total: Numbers,
  })
  .openapi('MethodNumbers');

const Baseline = z
  .object({
    share: Share,
    previous: z.array(z.object({ window: Window, rejected: Numbers, total: Numbers, share: Share })).openapi({
      description: 'The four windows before this one, the latest first, each as long as this one.',
    }),
    peers: z
      .object({ merchants: z.number().int(), rejected: Numbers, total: Numbers, share: Share })
      .openapi({
        description:
          'The other merchants with at least half and at most twice as many payments in the window, added up.',
      }),
  })
  .openapi('Baseline');

export const MerchantRisk = z
  .object({
    merchant_id: z.string().openapi({ example: '42' }),
    window: Window,
    rejected: Numbers,
    total: Numbers,
    by_method: z.array(MethodNumbers).optional(),
    baseline: Baseline.optional(),
    as_of: AsOf,
  })
  .openapi('MerchantRisk');

export const UnknownMerchant = z
  .object({ merchant_id: z.string().openapi({ example: '43' }), found: z.literal(false) })
  .openapi('UnknownMerchant');

export const MerchantsRisk = z
  .object({
    window: Window,
    as_of: AsOf,
    merchants: z
      .array(z.union([MerchantRisk.extend({ found: z.literal(true) }), UnknownMerchant]))
      .openapi({ description: 'In the order asked. One position and one window for all of them.' }),
  })
  .openapi('MerchantsRisk');

const ErrorParts = z
  .object({ kind: z.string(), what: z.string(), why: z.string(), fix: z.string() })
  .openapi('StatusError');

const TableStatus = z
  .object({
    state: z.enum(TABLE_STATES),
    rows_applied: z.number().int(),
    quarantined: z.number().int(),
    error: ErrorParts.nullable(),
    snapshot: z
      .object({
        rows: z.number().int(),
        percent: z.number().nullable(),
        seconds_left: z.number().nullable(),
      })
      .nullable(),
    verify: z
      .object({
        at: timestamp.nullable(),
        position: lsn.nullable(),
        verdict: z.enum(VERIFY_VERDICTS),
        differences: z.number().int().nullable(),
        complete: z.boolean(),
        pending: z.boolean(),
        error: ErrorParts.nullable(),
      })
      .nullable()
      .openapi({
        description:
          'What the comparison in the background found last of the table and the marts that it feeds; null before the first one. `pending`: one was asked for, or goes on.',
      }),
  })
  .openapi('TableStatus');

const SlotStatus = z
  .object({
    held_bytes: z.number().int(),
    headroom_bytes: z.number().int().nullable(),
    wal_status: z.string(),
    seconds_left: z.number().int().nullable(),
    warning: ErrorParts.nullable(),
  })
  .openapi('SlotStatus', {
    description:
      'WAL that Postgres keeps for the replication slot, and how much more there may be before it is in danger (null: no limit); `seconds_left` until then, if it goes on growing as in the last ten minutes.',
  });

const InstanceState = z.enum([...STATES, 'api_only']);

export const Status = z
  .object({
    state: InstanceState,
    since: timestamp.openapi({ description: 'When that state began, as far as this process has seen.' }),
    writer: z.string().nullable().openapi({
      example: 'db1:4711 http://127.0.0.1:8080',
      description: 'The instance that writes, or did so last: host, process and address of its API.',
    }),
    applied_lsn: lsn.nullable(),
    confirmed_lsn: lsn.nullable(),
    source_lsn: lsn.nullable(),
    lag_bytes: z.number().int().nullable(),
    lag_ms: z.number().int().nullable(),
    slot: SlotStatus.nullable(),
    tables: z.record(z.string(), TableStatus),
    error: ErrorParts.nullable(),
    retry_at: timestamp.nullable(),
  })
  .openapi('Status') satisfies z.ZodType<StatusDocument>;

export const StandingHistory = z
  .object({
    every_ms: z.number().int(),
    samples: z
      .array(
        z.object({
          at: timestamp,
          lag_ms: z.number().int().nullable(),
          lag_bytes: z.number().int().nullable(),
          rows_applied: z.number().int(),
          slot_held_bytes: z.number().int().nullable(),
        }),
      )
      .openapi({ description: 'The oldest first; those of the last hour, or since the process began.' }),
  })
  .openapi('StandingHistory');

export const Retention = z
  .object({
    tables: z.record(z.string(), z.object({ column: z.string(), keep: z.string() })).openapi({
      description: 'Those that have a retention.',
      example: { 'public.payments': { column: 'payment_date', keep: '2 years' } },
    }),
    last_purge: z
      .object({
        report: z.number().int(),
        at: timestamp,
        proven: z.boolean(),
        versions: z.number().int(),
      })
      .nullable()
      .openapi({
        description:
          'What `walhouse retention` did last; null where it never ran. What is past its retention is invisible at once, and ClickHouse removes it by itself within a day.',
      }),
  })
  .openapi('Retention');

export const MerchantPayments = z
  .object({
    merchant_id: z.string().openapi({ example: '42' }),
    window: Window,
    payments: z.array(
      z.object({
        payment_id: z.string().openapi({ example: '977' }),
        payment_date: timestamp,
        amount: moneyText,
        method: z.string().nullable(),
        rejected: z.boolean(),
      }),
    ),
    as_of: AsOf,
  })
  .openapi('MerchantPayments');

export const Accepted = z.object({ accepted: z.literal(true) }).openapi('Accepted');

/** The longest text of a key's column that is read. */
const KEY_TEXT_MAX = 8_192;

export const RepairKeys = z
  .strictObject({
    keys: z
      .array(z.array(z.string().max(KEY_TEXT_MAX)).min(1).max(32), { error: 'must be a list of keys' })
      .min(1, 'must name at least one key')
      .max(REPAIR_KEYS_MAX, `must name at most ${REPAIR_KEYS_MAX} keys`),
  })
  .openapi('RepairKeys', {
    description: "Each key is the list of its columns' texts, in the order of the key.",
    example: { keys: [['42'], ['43']] },
  });

export const RepairedRows = z
  .object({
    position: lsn,
    rows: z.number().int().openapi({ description: 'Rows that the source has, stored anew.' }),
    hidden: z.number().int().openapi({ description: 'Rows of ClickHouse that do not count any more.' }),
    beyond: z.number().int().openapi({
      description:
        'Keys under which something stands with a version above every commit: only a new copy of the table helps.',
    }),
  })
  .openapi('RepairedRows');

const DomainName = z.object({
  name: z.string().openapi({ example: 'receivables' }),
  title: z.string(),
  question: z.string(),
});

export const DomainList = z.object({ domains: z.array(DomainName) }).openapi('Domains');

export const DomainAnswer = DomainName.extend({
  at_least: z.object({ lsn }).nullable().openapi({
    description: 'The answers are of this position or a later one; null while none can be stated.',
  }),
  pictures: z.array(
    z.object({
      id: z.string(),
      title: z.string(),
      shows: z.enum(['bar', 'line', 'table']),
      x: z.string().nullable().openapi({ description: 'The column that names each row.' }),
      y: z.array(z.string()).openapi({ description: 'The columns that are drawn.' }),
      unit: z.string().nullable(),
      columns: z.array(z.object({ name: z.string(), type: z.string() })),
      rows: z.array(z.array(z.unknown())).openapi({ description: 'Numbers are text.' }),
    }),
  ),
}).openapi('Domain');

export const Health = z
  .object({ status: z.enum(['ok', 'failing']), state: InstanceState, kind: z.string().optional() })
  .openapi('Health');

export const ProblemDocument = z
  .object({
    type: z.string().openapi({ example: 'urn:walhouse:problem:merchant_unknown' }),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    kind: z.string().openapi({ example: 'merchant_unknown', description: 'For programs; stable.' }),
    fix: z.string().openapi({ description: 'What to do about it.' }),
    invalid: z.array(z.object({ at: z.string(), detail: z.string() })).optional(),
    retry_after_ms: z.number().int().optional(),
    request_id: z.string().optional(),
  })
  .openapi('Problem', { description: 'RFC 9457.' });
