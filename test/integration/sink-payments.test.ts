import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Relation } from '../../src/pipeline/relation.js';
import type { Sink } from '../../src/pipeline/sink.js';
import { versionBound } from '../../src/pipeline/version.js';
import { loadMarts } from '../../src/sink/marts.js';
import {
  apply,
  ANY_MOMENT,
  sinkFixture,
  snapshot,
  type Change,
  type Row,
  type SinkFixture,
  type TestTransaction,
} from '../support/sink-fixture.js';
import { relationOf } from '../support/tuples.js';

const CLICKHOUSE = fileURLToPath(new URL('../../clickhouse', import.meta.url));
const query = (name: string): string => readFileSync(`${CLICKHOUSE}/payments/queries/${name}.sql`, 'utf8');
const RISK = query('rows_mart') + query('risk');
const RISK_LANDING = query('rows_landing') + query('risk');

const PAYMENTS = relationOf('public.payments', {
  payment_id: 'int8 not null',
  merchant_id: 'int8 not null',
  customer_id: 'int8',
  amount: 'numeric(12,2)',
  method: 'text',
  status: 'text not null',
  payment_date: 'timestamptz',
  ingestion_date: 'timestamptz',
});
const MERCHANTS = relationOf(
  'public.merchants',
  { merchant_id: 'int8 not null', name: 'text' },
  { replicaIdentity: 'default' },
);
const TABLES = new Map([
  [PAYMENTS.id, { history: false, retention: { column: 'payment_date', keep: { count: 2, unit: 'year' } } }],
  [MERCHANTS.id, { history: false }],
] as const);

const NOW = Date.now();
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

function at(ms: number, micros = 0): string {
  const text = new Date(ms).toISOString();
  return `${text.slice(0, 10)} ${text.slice(11, 23)}${String(micros).padStart(3, '0')}+00`;
}

/** mulberry32: small, seeded, good enough to choose changes. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

interface Numbers {
  merchant_id: string;
  rejected_count: number;
  rejected_amount: string;
  total_count: number;
  total_amount: string;
}

/** The source as it was after each transaction. */
interface Moment {
  readonly lsn: bigint;
  readonly payments: ReadonlyMap<string, Row>;
  readonly merchants: ReadonlySet<string>;
}

function expected(moment: Moment, from: string, to: string): Numbers[] {
  return [...moment.merchants].sort().map((merchant) => {
    let [rejected, rejectedCents, total, cents] = [0, 0n, 0, 0n];
    for (const row of moment.payments.values()) {
      const date = row['payment_date'];
      if (row['merchant_id'] !== merchant || date == null || date <= from || date > to) continue;
      const amount = BigInt((row['amount'] ?? '0.00').replace('.', ''));
      total += 1;
      cents += amount;
      if (row['status'] === 'Rejected') {
        rejected += 1;
        rejectedCents += amount;
      }
    }
    return {
      merchant_id: merchant,
      rejected_count: rejected,
      rejected_amount: money(rejectedCents),
      total_count: total,
      total_amount: money(cents),
    };
  });
}

function money(cents: bigint): string {
  const text = cents.toString().padStart(3, '0');
  return `${text.slice(0, -2)}.${text.slice(-2)}`;
}

let fixture: SinkFixture;
beforeAll(async () => {
  fixture = await sinkFixture('sink_payments');
});
afterAll(() => fixture.close());

function openPayments(): Promise<Sink> {
  return fixture.open({ tables: TABLES, marts: loadMarts(CLICKHOUSE, ['payments'], { horizon_days: '8' }) });
}

async function risk(
  lsn: bigint | null,
  ids: readonly string[],
  from: string,
  to: string,
): Promise<Numbers[]> {
  const result = await fixture.client.query({
    query: lsn === null ? RISK_LANDING : RISK,
    format: 'JSONEachRow',
    query_params: {
      ids: ids.map(BigInt),
      every: false,
      from: from.slice(0, 26),
      to: to.slice(0, 26),
      ...(lsn === null
        ? { landing: fixture.landing }
        : { database: fixture.database, version_bound: versionBound(lsn).toString() }),
    },
    clickhouse_settings: {
      output_format_json_quote_decimals: 1,
      output_format_decimal_trailing_zeros: 1,
    },
  });
  const rows = await result.json<Numbers>();
  return rows
    .map((row) => ({
      ...row,
      merchant_id: String(row.merchant_id),
      rejected_count: Number(row.rejected_count),
      total_count: Number(row.total_count),
    }))
    .sort((a, b) => (a.merchant_id < b.merchant_id ? -1 : 1));
}

const IDS = ['1', '2', '3', '4', '404'];
const FROM = at(NOW - 7 * DAY);
const TO = at(NOW);

/** Dates at, just beside and far from both edges. */
function someDate(pick: (below: number) => number): string | null {
  const edges = [NOW, NOW - 7 * DAY];
  const kind = pick(12);
  if (kind === 0) return null;
  if (kind === 1) return at(edges[pick(2)]!);
  if (kind === 2) return at(edges[pick(2)]!, 1);
  if (kind === 3) return at(edges[pick(2)]! - 1, 999);
  if (kind === 4) return at(NOW - (8 + pick(700)) * DAY);
  if (kind === 5) return at(NOW - (8 * DAY - 5 * MINUTE));
  if (kind === 6) return at(NOW + pick(5) * DAY + 1);
  return at(NOW - pick(7 * 24 * 60) * MINUTE, pick(1000));
}

class Model {
  readonly payments = new Map<string, Row>();
  readonly merchants = new Set(['1', '2', '3']);
  readonly #pick: (below: number) => number;
  #nextId = 1;

  constructor(pick: (below: number) => number) {
    this.#pick = pick;
  }

  payment(id = String(this.#nextId++)): Row {
    const pick = this.#pick;
    return {
      payment_id: id,
      merchant_id: IDS[pick(3)]!,
      customer_id: '9007199254740993',
      amount: pick(10) === 0 ? null : `${pick(1000)}.${String(pick(100)).padStart(2, '0')}`,
      method: 'Visa',
      status: ['Pending', 'Paid', 'Rejected'][pick(3)]!,
      payment_date: someDate(pick),
      ingestion_date: at(NOW),
    };
  }

  transaction(commitLsn: bigint): TestTransaction {
    const changes: Change[] = [];
    for (let i = this.#pick(8); i >= 0; i -= 1) changes.push(...this.#changes());
    return { commitLsn, changes };
  }

  moment(lsn: bigint): Moment {
    return { lsn, payments: new Map(this.payments), merchants: new Set(this.merchants) };
  }

  #changes(): Change[] {
    const pick = this.#pick;
    const kind = pick(14);
    const [id, old] = [...this.payments][pick(this.payments.size)] ?? [];
    if (kind === 0) return this.#merchantChange();
    if (kind < 5 || id === undefined || old === undefined) {
      const row = this.payment();
      this.payments.set(row['payment_id']!, row);
      return [{ op: 'insert', relation: PAYMENTS, row }];
    }
    if (kind === 5) {
      this.payments.delete(id);
      return [{ op: 'delete', relation: PAYMENTS, old }];
    }
    const fresh = this.payment(id);
    const fields = [
      ['status'],
      ['amount'],
      ['payment_date'],
      ['merchant_id'],
      Object.keys(fresh),
      ['payment_id'],
    ];
    const row: Record<string, string | null | undefined> = { ...old };
    for (const field of fields[pick(fields.length)]!) {
      row[field] = field === 'payment_id' ? String(this.#nextId++) : fresh[field];
    }
    this.payments.delete(id);
    this.payments.set(row['payment_id']!, row);
    return [{ op: 'update', relation: PAYMENTS, old, row }];
  }

  #merchantChange(): Change[] {
    const id = IDS[this.#pick(4)]!;
    const row = { merchant_id: id, name: `m${this.#pick(100)}` };
    if (!this.merchants.has(id)) {
      this.merchants.add(id);
      return [{ op: 'insert', relation: MERCHANTS, row }];
    }
    if (this.#pick(2) === 0) return [{ op: 'update', relation: MERCHANTS, old: null, row }];
    this.merchants.delete(id);
    return [{ op: 'delete', relation: MERCHANTS, old: { merchant_id: id } }];
  }
}

async function start(sink: Sink, model: Model, consistentPoint: bigint): Promise<void> {
  for (let i = 0; i < 20; i += 1) {
    const row = model.payment();
    model.payments.set(row['payment_id']!, row);
  }
  await snapshot(sink, PAYMENTS, consistentPoint, [...model.payments.values()]);
  await snapshot(
    sink,
    MERCHANTS,
    consistentPoint,
    [...model.merchants].map((merchant_id) => ({ merchant_id, name: 'm' })),
  );
}

async function settle(table: string): Promise<void> {
  await fixture.query(`optimize table ${fixture.database}.${table} final`);
}

describe('the payments marts', () => {
  it.each([1, 2, 3])(
    'equal a model at every position, before and after replay and merges (seed %i)',
    async (seed) => {
      const pick = random(seed);
      const model = new Model(pick);
      const sink = await openPayments();
      await start(sink, model, 0x1000n);
      const moments: Moment[] = [model.moment(0x1000n)];
      const transactions: TestTransaction[] = [];
      for (let i = 0; i < 30; i += 1) {
        const transaction = model.transaction(0x2000n + BigInt(i) * 64n);
        transactions.push(transaction);
        moments.push(model.moment(transaction.commitLsn + 1n));
      }
      for (let i = 0; i < transactions.length;) {
        const count = 1 + pick(4);
        await apply(sink, ...transactions.slice(i, i + count));
        i += count;
      }
      const check = async (when: string): Promise<void> => {
        for (const moment of moments)
          expect(await risk(moment.lsn, IDS, FROM, TO), `seed ${seed}, ${when}, ${moment.lsn}`).toEqual(
            expected(moment, FROM, TO),
          );
      };
      await check('stored');
      await apply(sink, ...transactions.slice(pick(15), 15 + pick(15)));
      await check('delivered again in part');
      await settle('payments_7d');
      await settle('merchants_known');
      await check('merged');
      await apply(sink, ...transactions);
      await check('delivered again as one batch');
      const last = moments.at(-1)!;
      expect(await risk(null, IDS, FROM, TO), 'from landing').toEqual(expected(last, FROM, TO));
      const older = at(NOW - 30 * DAY);
      expect(await risk(null, IDS, older, TO), 'from landing, 30 days').toEqual(expected(last, older, TO));
    },
  );

  it('a truncate empties every window from its position on and not before', async () => {
    const model = new Model(random(77));
    const sink = await openPayments();
    await start(sink, model, 0x1000n);
    const before = model.moment(0x2000n);
    const truncation: TestTransaction = {
      commitLsn: 0x2000n,
      changes: [{ op: 'truncate', relation: PAYMENTS }],
    };
    for (const pass of ['first', 'again']) {
      await apply(sink, truncation);
      expect(await risk(0x2000n, IDS, FROM, TO), pass).toEqual(expected(before, FROM, TO));
      const after = { ...before, payments: new Map() };
      expect(await risk(0x2001n, IDS, FROM, TO), pass).toEqual(expected(after, FROM, TO));
    }
  });

  describe('a payment that the stream brought to a new copy', () => {
    const brought: Row = {
      payment_id: '900',
      merchant_id: '1',
      customer_id: '1',
      amount: '77.00',
      method: 'Visa',
      status: 'Paid',
      payment_date: at(NOW - MINUTE),
      ingestion_date: at(NOW),
    };

    /** What became of it at 0x2100 is below the snapshot's position, and so it is passed over. */
    async function expectAt3000(
      read: readonly Row[],
      payments: readonly [merchant: string, amount: string][],
    ) {
      const sink = await openPayments();
      const model = new Model(random(9));
      await start(sink, model, 0x1000n);
      await sink.openStage(PAYMENTS, false);
      await apply(sink, {
        commitLsn: 0x2000n,
        changes: [{ op: 'insert', relation: PAYMENTS, row: brought }],
      });
      await snapshot(sink, PAYMENTS, 0x3000n, read);
      const none = { ...model.moment(0x3000n), payments: new Map() };
      const numbers = expected(none, FROM, TO).map((row) => {
        const amount = payments.find(([merchant]) => merchant === row.merchant_id)?.[1];
        return amount === undefined ? row : { ...row, total_count: 1, total_amount: amount };
      });
      expect(await risk(0x3000n, IDS, FROM, TO)).toEqual(numbers);
      expect(await risk(null, IDS, FROM, TO)).toEqual(numbers);
      expect(
        await fixture.query(`select toString(merchant_id) as merchant from ${fixture.database}.payments`),
      ).toEqual(payments.map(([merchant]) => ({ merchant })));
    }

    it('and that was gone before its snapshot, is in no window and in no view', async () => {
      await expectAt3000([], []);
    });

    it('and that had another merchant by its snapshot, is in that merchant’s window alone', async () => {
      await expectAt3000([{ ...brought, merchant_id: '2' }], [['2', '77.00']]);
    });
  });

  it('are made again when their SQL changes, and stay when it does not', async () => {
    const model = new Model(random(5));
    const sink = await openPayments();
    await start(sink, model, 0x1000n);
    const uuid = async (): Promise<unknown> => {
      const [row] = await fixture.query<{ uuid: string }>(
        `select uuid from system.tables where database = '${fixture.database}' and name = 'payments_7d'`,
      );
      return row?.uuid;
    };
    const first = await uuid();
    const again = async (change: (sql: string) => string): Promise<void> => {
      const marts = loadMarts(CLICKHOUSE, ['payments'], { horizon_days: '8' }).map((mart) => ({
        ...mart,
        files: mart.files.map((file) => ({ ...file, sql: change(file.sql) })),
      }));
      const next = await fixture.open({ tables: TABLES, marts });
      await next.attach(PAYMENTS, ANY_MOMENT);
      await next.attach(MERCHANTS, ANY_MOMENT);
    };
    await again((sql) => sql);
    expect(await uuid()).toBe(first);
    await again((sql) => `${sql}\n-- another thought`);
    expect(await uuid()).not.toBe(first);
    expect(await risk(0x1000n, IDS, FROM, TO)).toEqual(expected(model.moment(0x1000n), FROM, TO));
  });

  it('a mart whose object was dropped by hand is made again', async () => {
    const model = new Model(random(6));
    await start(await openPayments(), model, 0x1000n);
    await fixture.query(`drop table ${fixture.database}.payments_7d_feed sync`);
    const sink = await openPayments();
    await sink.attach(PAYMENTS, ANY_MOMENT);
    await sink.attach(MERCHANTS, ANY_MOMENT);
    await apply(sink, { commitLsn: 0x2000n, changes: [{ op: 'truncate', relation: PAYMENTS }] });
    const after = { ...model.moment(0x2001n), payments: new Map() };
    expect(await risk(0x2001n, IDS, FROM, TO)).toEqual(expected(after, FROM, TO));
  });

  it('a mart that is not configured any more is dropped, since nothing would keep it right', async () => {
    await start(await openPayments(), new Model(random(7)), 0x1000n);
    await fixture.open({ tables: TABLES });
    const left = await fixture.query(
      `select name from system.tables where database = '${fixture.database}' order by name`,
    );
    expect(left).toEqual([{ name: 'merchants' }, { name: 'payments' }]);
  });

  it.each<[string, Relation, RegExp]>([
    [
      'DEFAULT replica identity',
      { ...PAYMENTS, replicaIdentity: 'default' },
      /table_no_identity.*ALTER TABLE public\.payments REPLICA IDENTITY FULL;/,
    ],
    [
      'an amount without precision',
      relationOf('public.payments', {
        payment_id: 'int8 not null',
        merchant_id: 'int8',
        amount: 'numeric',
        method: 'text',
        status: 'text',
        payment_date: 'timestamptz',
      }),
      /mart_invalid.*public\.payments\.amount as Decimal, and it is String/,
    ],
    [
      'no merchant',
      relationOf('public.payments', { payment_id: 'int8 not null', payment_date: 'timestamptz' }),
      /mart_invalid.*public\.payments\.merchant_id, and public\.payments has no such column/,
    ],
  ])('a payments table with %s is refused with its reason', async (_, relation, message) => {
    const sink = await openPayments();
    await expect(sink.beginSnapshot(relation, 0x1000n)).rejects.toThrow(message);
  });

  it.each<[string, string, RegExp]>([
    [
      'a syntax error',
      '-- tracks: public.merchants (merchant_id)\ncreate table {database}.bad (x',
      /bad\.sql: /,
    ],
    ['no tracks line', 'create table {database}.bad (x Int8) engine = Memory', /no "-- tracks:" line/],
    [
      'a source that is not among tables',
      '-- tracks: public.other (x)\ncreate table {database}.bad (x Int8) engine = Memory',
      /public\.other, which is not among tables/,
    ],
  ])('a mart with %s is invalid', async (_, sql, message) => {
    const attempt = async (): Promise<void> => {
      const sink = await fixture.open({
        tables: new Map([[MERCHANTS.id, { history: false }]]),
        marts: [{ name: 'bad', files: [{ name: 'bad.sql', sql }] }],
      });
      await snapshot(sink, MERCHANTS, 0x1000n, []);
    };
    await expect(attempt()).rejects.toThrow(/^mart_invalid: /);
    await expect(attempt()).rejects.toThrow(message);
  });

  it('a merchant with a null date or merchant in its payments is no obstacle', async () => {
    const loose = relationOf('public.payments', {
      payment_id: 'int4 not null',
      merchant_id: 'int4',
      amount: 'numeric(20,4)',
      method: 'text',
      status: 'enum:Pending|Paid|Rejected',
      payment_date: 'timestamp',
    });
    const sink = await openPayments();
    await snapshot(sink, loose, 0x1000n, [
      {
        payment_id: '1',
        merchant_id: null,
        amount: '1',
        method: null,
        status: 'Paid',
        payment_date: at(NOW - DAY).slice(0, 26),
      },
      {
        payment_id: '2',
        merchant_id: '1',
        amount: null,
        method: null,
        status: null,
        payment_date: at(NOW - DAY).slice(0, 26),
      },
      {
        payment_id: '3',
        merchant_id: '1',
        amount: '0.0001',
        method: null,
        status: 'Rejected',
        payment_date: at(NOW - DAY).slice(0, 26),
      },
      {
        payment_id: '4',
        merchant_id: '1',
        amount: '5',
        method: null,
        status: 'Rejected',
        payment_date: null,
      },
    ]);
    await snapshot(sink, MERCHANTS, 0x1000n, [{ merchant_id: '1', name: null }]);
    expect(await risk(0x1000n, ['1'], FROM, TO)).toEqual([
      {
        merchant_id: '1',
        rejected_count: 1,
        rejected_amount: '0.0001',
        total_count: 2,
        total_amount: '0.0001',
      },
    ]);
    // What is nobody's is not a merchant 0's.
    const merchants = await fixture.query(
      `select distinct toString(merchant_id) as id from ${fixture.database}.payments_7d`,
    );
    expect(merchants).toEqual([{ id: '1' }]);
  });
});
