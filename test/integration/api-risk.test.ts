import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ClickHouseLogLevel, createClient, type ClickHouseClient } from '@clickhouse/client';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { Problem } from '../../src/api/problem.js';
import { ClickHouseRisk, HORIZON_MS, type ClickHouseRiskOptions } from '../../src/api/risk-clickhouse.js';
import {
  riskQuestion,
  WINDOW_US,
  type Baseline,
  type MerchantNumbers,
  type MethodNumbers,
  type RiskQuestion,
  type RiskResult,
} from '../../src/api/risk.js';
import { clickHouseTimestamp, microsFromMs, type Micros } from '../../src/api/timestamp.js';
import type { AppliedPosition, Positions } from '../../src/api/positions.js';
import { versionBound } from '../../src/pipeline/version.js';

const query = (name: string): string =>
  readFileSync(new URL(`../../clickhouse/payments/queries/${name}.sql`, import.meta.url), 'utf8');
const QUERIES = {
  rows: { mart: query('rows_mart'), landing: query('rows_landing') },
  numbers: query('risk'),
  byMethod: query('risk_by_method'),
  peers: query('risk_peers'),
  last: query('last_payments'),
};
/** Asks that and nothing else, whatever is asked for. */
const asking = (numbers: string) => ({ ...QUERIES, rows: { mart: '', landing: '' }, numbers });

const DATABASE = `risk_${process.pid}`;
const LANDING = `${DATABASE}_landing`;
// A fixed clock within reach of the tables, which here have no TTL.
const NOW_MS = Date.UTC(2026, 10, 21, 9);
const NOW: Micros = microsFromMs(NOW_MS);
const HOUR: Micros = 3_600_000_000n;
const QUIET = { level: ClickHouseLogLevel.OFF };
const never = new AbortController().signal;

interface Version {
  readonly merchant: bigint;
  readonly payment: bigint;
  readonly at: Micros;
  readonly method: string | null;
  readonly status: string;
  readonly cents: bigint;
  readonly version: bigint;
  readonly deleted: boolean;
}

class FixedPositions implements Positions {
  current: AppliedPosition | null = null;
  held = 0;

  applied(): AppliedPosition | null {
    return this.current;
  }
  unavailable() {
    return { kind: 'starting', what: 'starting.', why: 'Nothing is known.', fix: 'wait', retryAfterMs: 1000 };
  }
  waitFor(): Promise<boolean> {
    return Promise.resolve(false);
  }
  hold<T>(fn: (applied: AppliedPosition | null) => Promise<T>): Promise<T> {
    this.held += 1;
    return fn(this.current);
  }
}

let client: ClickHouseClient;
const positions = new FixedPositions();

function reader(options: Partial<ClickHouseRiskOptions> = {}): ClickHouseRisk {
  return new ClickHouseRisk({
    client,
    positions,
    queries: QUERIES,
    parameters: { database: DATABASE, landing: LANDING },
    now: () => NOW_MS,
    ...options,
  });
}

const at = (lsn: bigint, committedAtMs: number | null = null): AppliedPosition => ({
  lsn,
  committedAtMs,
  lagMs: 0,
});
const run = (sql: string) => client.command({ query: sql });

beforeAll(async () => {
  client = createClient({ url: inject('servers').clickhouse, max_open_connections: 8, log: QUIET });
  for (const database of [DATABASE, LANDING]) await run(`create database ${database}`);
  await run(`create table ${DATABASE}.payments_7d (merchant_id Int64, payment_date DateTime64(6, 'UTC'), payment_id Int64,
    _version UInt128, _is_deleted UInt8, method LowCardinality(Nullable(String)), is_rejected UInt8, amount Decimal(38, 2))
    engine = ReplacingMergeTree order by (merchant_id, payment_date, payment_id, _version)`);
  await run(`create table ${DATABASE}.merchants_known (merchant_id Int64, _version UInt128, _is_deleted UInt8)
    engine = ReplacingMergeTree order by (merchant_id, _version)`);
  await run(`create table ${LANDING}.payments (merchant_id Int64, payment_id Int64,
    payment_date DateTime64(6, 'UTC'), method Nullable(String), status String, amount Decimal(12, 2), _version UInt128, _is_deleted UInt8)
    engine = ReplacingMergeTree(_version, _is_deleted) order by (payment_id, payment_date)`);
  await run(`create table ${LANDING}.merchants (merchant_id Int64, name String, _version UInt128, _is_deleted UInt8)
    engine = ReplacingMergeTree(_version, _is_deleted) order by merchant_id`);
});

afterAll(async () => {
  for (const database of [DATABASE, LANDING]) await run(`drop database if exists ${database} sync`);
  await client.close();
});

async function clear(): Promise<void> {
  for (const table of [`${DATABASE}.payments_7d`, `${DATABASE}.merchants_known`])
    await run(`truncate table ${table}`);
  for (const table of [`${LANDING}.payments`, `${LANDING}.merchants`]) await run(`truncate table ${table}`);
}

const money = (cents: bigint): string => {
  const digits = (cents < 0n ? -cents : cents).toString().padStart(3, '0');
  return `${cents < 0n ? '-' : ''}${digits.slice(0, -2)}.${digits.slice(-2)}`;
};
const MART_PAYMENTS = `${DATABASE}.payments_7d`;
const LANDING_PAYMENTS = `${LANDING}.payments`;

async function insertPayments(table: string, versions: readonly Version[]): Promise<void> {
  if (versions.length === 0) return;
  const rejected = table === MART_PAYMENTS;
  const rows = versions.map((v) => {
    const shared = `${v.merchant},${v.payment},'${clickHouseTimestamp(v.at)}',${money(v.cents)},${v.version}`;
    const status = rejected ? Number(v.status === 'Rejected') : `'${v.status}'`;
    const method = v.method === null ? 'null' : `'${v.method}'`;
    return `(${shared},${v.deleted ? 1 : 0},${method},${status})`;
  });
  const columns = 'merchant_id, payment_id, payment_date, amount, _version, _is_deleted, method';
  await run(
    `insert into ${table} (${columns}, ${rejected ? 'is_rejected' : 'status'}) values ${rows.join(',')}`,
  );
}

async function insertMerchants(
  table: string,
  rows: readonly { id: bigint; version: bigint; deleted: boolean }[],
) {
  const named = table.endsWith('.merchants') ? ",'x'" : '';
  if (rows.length === 0) return;
  await run(
    `insert into ${table} values ${rows.map((r) => `(${r.id}${named},${r.version},${r.deleted ? 1 : 0})`).join(',')}`,
  );
}

/** A generator with a printed seed, so that a failure can be repeated. */
function randomFrom(seed: number): (below: number) => number {
  let state = BigInt(seed) * 2n + 1n;
  return (below) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & ((1n << 64n) - 1n);
    return Number((state >> 33n) % BigInt(below));
  };
}

function summed(rows: readonly { readonly status: string; readonly cents: bigint }[]): MerchantNumbers {
  const rejected = rows.filter(({ status }) => status === 'Rejected');
  const sum = (some: typeof rows): string => money(some.reduce((cents, row) => cents + row.cents, 0n));
  return {
    rejectedCount: rejected.length,
    rejectedAmount: sum(rejected),
    totalCount: rows.length,
    totalAmount: sum(rows),
  };
}

/** A source table of payments, and what the sink writes when it changes: old image and new row, as ARCHITECTURE.md says. */
class Model {
  readonly payments = new Map<bigint, Omit<Version, 'version' | 'deleted'>>();
  readonly merchants = new Set<bigint>();
  readonly versions: Version[] = [];
  readonly known: { id: bigint; version: bigint; deleted: boolean }[] = [];

  put(row: Omit<Version, 'version' | 'deleted'>, lsn: bigint, ordinal: number): void {
    const old = this.payments.get(row.payment);
    const step = BigInt(ordinal) * 2n;
    if (old !== undefined && (old.merchant !== row.merchant || old.at !== row.at)) {
      this.versions.push({ ...old, version: versionBound(lsn) + step, deleted: true });
    }
    this.versions.push({ ...row, version: versionBound(lsn) + step + 1n, deleted: false });
    this.payments.set(row.payment, row);
  }

  remove(payment: bigint, lsn: bigint, ordinal: number): void {
    const old = this.payments.get(payment);
    if (old === undefined) return;
    this.versions.push({ ...old, version: versionBound(lsn) + BigInt(ordinal) * 2n + 1n, deleted: true });
    this.payments.delete(payment);
  }

  merchant(id: bigint, exists: boolean, lsn: bigint, ordinal: number): void {
    if (this.merchants.has(id) === exists) return;
    this.known.push({ id, version: versionBound(lsn) + BigInt(ordinal) * 2n + 1n, deleted: !exists });
    if (exists) this.merchants.add(id);
    else this.merchants.delete(id);
  }

  answer(ids: readonly bigint[], to: Micros, windowUs = WINDOW_US): Map<bigint, MerchantNumbers> {
    const known = ids.filter((id) => this.merchants.has(id));
    return new Map(known.map((id) => [id, summed(this.#within(id, to, windowUs))]));
  }

  byMethod(ids: readonly bigint[], to: Micros, windowUs: Micros): Map<bigint, MethodNumbers[]> {
    const answers = new Map<bigint, MethodNumbers[]>();
    for (const id of ids.filter((one) => this.merchants.has(one))) {
      const rows = this.#within(id, to, windowUs);
      const methods = ['Check', 'Visa', null].filter((method) => rows.some((row) => row.method === method));
      if (methods.length === 0) continue;
      answers.set(
        id,
        methods.map((method) => ({ method, ...summed(rows.filter((row) => row.method === method)) })),
      );
    }
    return answers;
  }

  baseline(ids: readonly bigint[], to: Micros, windowUs: Micros): Map<bigint, Baseline> {
    const known = ids.filter((id) => this.merchants.has(id));
    return new Map(
      known.map((id) => {
        const previous = [1n, 2n, 3n, 4n].map((back) => {
          const end = to - back * windowUs;
          const window = { fromUs: end - windowUs, toUs: end };
          return { window, numbers: summed(this.#within(id, end, windowUs)) };
        });
        const own = this.#within(id, to, windowUs).length;
        const peers = [...this.merchants]
          .filter((other) => other !== id)
          .map((other) => this.#within(other, to, windowUs))
          .filter((rows) => rows.length > 0 && 2 * rows.length >= own && rows.length <= 2 * own);
        return [id, { previous, peers: { merchants: peers.length, ...summed(peers.flat()) } }];
      }),
    );
  }

  /** The latest payments of one merchant; null where there is none such. */
  last(id: bigint, last: number): string[] | null {
    if (!this.merchants.has(id)) return null;
    return this.#within(id, NOW, WINDOW_US)
      .sort((a, b) => Number(b.at - a.at) || Number(b.payment - a.payment))
      .slice(0, last)
      .map((row) => [row.payment, row.method, money(row.cents), row.status === 'Rejected'].join(' '));
  }

  #within(merchant: bigint, to: Micros, windowUs: Micros) {
    return [...this.payments.values()].filter(
      (row) => row.merchant === merchant && row.at > to - windowUs && row.at <= to,
    );
  }
}

const IDS = [1n, 2n, 3n, 9_007_199_254_740_993n, -(2n ** 63n), 2n ** 63n - 1n, 404n];

describe('the mart', () => {
  test.each([11, 22, 33, 44, 55, 66])(
    'gives what a model of the source gives, at every position, over random histories (seed %i)',
    async (seed) => {
      await clear();
      const random = randomFrom(seed);
      const pick = <T>(values: readonly T[]): T => values[random(values.length)]!;
      const model = new Model();
      const ends: Micros[] = [NOW, NOW + 1n, NOW - 1n, NOW - 3n * HOUR, NOW + 30n * HOUR];
      // On the edges to the microsecond, and anywhere.
      const dates = (): Micros =>
        random(2) === 0
          ? pick(ends) - pick([0n, WINDOW_US]) + BigInt(random(5) - 2)
          : NOW - BigInt(random(8 * 24)) * HOUR - BigInt(random(1_000_000));
      const row = (payment: bigint) => ({
        merchant: pick(IDS.slice(0, 6)),
        payment,
        at: dates(),
        method: pick(['Visa', 'Check', null]),
        status: pick(['Pending', 'Paid', 'Rejected', 'Rejected', 'rejected']),
        cents: pick([0n, 1n, 10n, 12050n, 999_999_999_999n, -999_999_999_999n, BigInt(random(1_000_000))]),
      });

      const expected: { lsn: bigint; to: Micros; answer: Map<bigint, MerchantNumbers> }[] = [];
      /** The latest payments of one. */
      const latest: { lsn: bigint; id: bigint; rows: string[] | null }[] = [];
      /** Other windows, apart by method, and what they may be set beside; less often, since each is several queries. */
      const more: { lsn: bigint; question: RiskQuestion; answer: Partial<RiskResult> }[] = [];
      let lsn = 0x16b3748n;
      for (let transaction = 0; transaction < 40; transaction += 1) {
        // Often the very next record: the bound must fall between the two.
        lsn += BigInt(8 * (1 + random(3)));
        for (let ordinal = 0; ordinal <= random(6); ordinal += 1) {
          const payment = BigInt(random(15)) - 7n;
          const kind = random(10);
          const current = model.payments.get(payment);
          if (kind === 0) model.merchant(pick(IDS.slice(0, 6)), random(4) > 0, lsn, ordinal);
          else if (kind === 1) model.remove(payment, lsn, ordinal);
          else if (kind < 5 && current !== undefined) {
            model.put({ ...current, status: pick(['Paid', 'Rejected']) }, lsn, ordinal);
          } else model.put(row(payment), lsn, ordinal);
        }
        for (const to of [NOW, pick(ends)])
          expected.push({ lsn: lsn + 8n, to, answer: model.answer(IDS, to) });
        if (transaction % 8 === 7) {
          const id = pick(IDS);
          latest.push({ lsn: lsn + 8n, id, rows: model.last(id, 3) });
          const [to, windowUs] = [pick(ends), pick([HOUR, 24n * HOUR, 48n * HOUR])];
          more.push({
            lsn: lsn + 8n,
            question: riskQuestion(to, { windowUs, byMethod: true, baseline: true }),
            answer: {
              merchants: model.answer(IDS, to, windowUs),
              byMethod: model.byMethod(IDS, to, windowUs),
              baseline: model.baseline(IDS, to, windowUs),
            },
          });
        }
      }

      // Stored all at once, in any order, in several parts, and part of it again: each position must still see its own.
      const shuffled = [...model.versions].sort(() => random(3) - 1);
      const cut = random(shuffled.length);
      await insertPayments(MART_PAYMENTS, shuffled.slice(0, cut));
      await insertPayments(MART_PAYMENTS, shuffled.slice(cut));
      await insertPayments(MART_PAYMENTS, shuffled.slice(0, random(shuffled.length)));
      await insertMerchants(`${DATABASE}.merchants_known`, model.known);
      await insertMerchants(`${DATABASE}.merchants_known`, model.known);
      if (random(2) === 0) await run(`optimize table ${DATABASE}.payments_7d final`);

      const risk = reader();
      for (const { lsn: position, to, answer } of expected) {
        positions.current = at(position);
        const result = await risk.read(IDS, riskQuestion(to), never);
        expect(result.applied.lsn).toBe(position);
        expect(result.merchants, `seed ${seed}, position ${position}, end ${to}`).toEqual(answer);
      }
      for (const { lsn: position, question, answer } of more) {
        positions.current = at(position);
        const { merchants, byMethod, baseline } = await reader({ horizonMs: HORIZON_MS * 10 }).read(
          IDS,
          question,
          never,
        );
        expect({ merchants, byMethod, baseline }, `seed ${seed}, position ${position}`).toEqual(answer);
      }
      for (const { lsn: position, id, rows } of latest) {
        positions.current = at(position);
        const { payments } = await risk.lastPayments(id, 3, never);
        const found = payments?.map((row) => [row.paymentId, row.method, row.amount, row.rejected].join(' '));
        expect(found ?? null, `seed ${seed}, position ${position}`).toEqual(rows);
      }
    },
  );

  test('lets a payment enter and leave the window by the clock alone, to the microsecond', async () => {
    await clear();
    await insertMerchants(`${DATABASE}.merchants_known`, [{ id: 1n, version: 8n, deleted: false }]);
    const payment = {
      merchant: 1n,
      payment: 1n,
      at: NOW,
      method: 'Visa',
      status: 'Rejected',
      cents: 1n,
      version: 8n,
      deleted: false,
    };
    await insertPayments(MART_PAYMENTS, [payment]);
    positions.current = at(1n);
    const risk = reader();
    const count = async (to: Micros) =>
      (await risk.read([1n], riskQuestion(to), never)).merchants.get(1n)?.totalCount;
    expect([await count(NOW - 1n), await count(NOW), await count(NOW + 1n)]).toEqual([0, 1, 1]);
    expect([await count(NOW + WINDOW_US - 1n), await count(NOW + WINDOW_US)]).toEqual([1, 0]);
  });

  test('is asked up to now, or to the newest commit where the source is ahead of our clock', async () => {
    const risk = reader();
    positions.current = at(1n, NOW_MS - 40);
    expect((await risk.read([1n], riskQuestion(null), never)).window).toEqual({
      fromUs: NOW - WINDOW_US,
      toUs: NOW,
    });
    positions.current = at(1n, NOW_MS + 2000.123);
    expect((await risk.read([1n], riskQuestion(null), never)).window.toUs).toBe(NOW + 2_001_000n);
  });

  test('takes a thousand merchants in one question', async () => {
    await clear();
    const ids = Array.from({ length: 1000 }, (_, index) => 2n ** 63n - 1n - BigInt(index));
    await insertMerchants(
      `${DATABASE}.merchants_known`,
      ids.map((id) => ({ id, version: 8n, deleted: false })),
    );
    positions.current = at(1n);
    const { merchants } = await reader().read(ids, riskQuestion(null), never);
    expect(merchants.size).toBe(1000);
    expect(merchants.get(ids[999]!)).toEqual({
      rejectedCount: 0,
      rejectedAmount: '0.00',
      totalCount: 0,
      totalAmount: '0.00',
    });
  });

  test('adds up more than a Decimal(12, 2) holds', async () => {
    await clear();
    await insertMerchants(`${DATABASE}.merchants_known`, [{ id: 1n, version: 8n, deleted: false }]);
    await run(`insert into ${DATABASE}.payments_7d select 1, '${clickHouseTimestamp(NOW)}', number, 8, 0, 'Visa', 1,
      9999999999.99 from numbers(100000)`);
    positions.current = at(1n);
    const { merchants } = await reader().read([1n], riskQuestion(NOW), never);
    expect(merchants.get(1n)?.rejectedAmount).toBe(money(999_999_999_999n * 100_000n));
  });
});

describe('a window behind the horizon', () => {
  const OLD = NOW - 40n * 24n * HOUR;

  test('is read from landing while nothing is stored', async () => {
    await clear();
    const random = randomFrom(5);
    const model = new Model();
    for (const id of IDS.slice(0, 6)) model.merchant(id, true, 100n, Number(id & 0xffn));
    for (let lsn = 1000n; lsn < 1400n; lsn += 8n) {
      const payment = BigInt(random(12));
      if (random(5) === 0) model.remove(payment, lsn, 0);
      else {
        model.put(
          {
            merchant: IDS[random(6)]!,
            payment,
            method: random(2) === 0 ? 'Visa' : null,
            at: OLD - BigInt(random(9 * 24)) * HOUR + BigInt(random(3) - 1),
            status: random(2) === 0 ? 'Rejected' : 'Paid',
            cents: BigInt(random(100_000)),
          },
          lsn,
          0,
        );
      }
    }
    // Two parts that are not merged: what is current is decided when it is read.
    const half = Math.floor(model.versions.length / 2);
    await insertPayments(LANDING_PAYMENTS, model.versions.slice(0, half));
    await insertPayments(LANDING_PAYMENTS, model.versions.slice(half));
    await insertMerchants(`${LANDING}.merchants`, model.known);
    positions.current = at(2000n);
    positions.held = 0;
    const result = await reader().read(IDS, riskQuestion(OLD), never);
    expect(result.merchants).toEqual(model.answer(IDS, OLD));
    const windowUs = 24n * HOUR;
    const whole = riskQuestion(OLD, { windowUs, byMethod: true, baseline: true });
    expect(await reader().read(IDS, whole, never)).toMatchObject({
      merchants: model.answer(IDS, OLD, windowUs),
      byMethod: model.byMethod(IDS, OLD, windowUs),
      baseline: model.baseline(IDS, OLD, windowUs),
    });
    expect([...result.merchants.values()].some((numbers) => numbers.totalCount > 0)).toBe(true);
    expect(positions.held).toBe(2);
  });

  test('begins where the mart may have dropped rows, with a margin for clocks', () => {
    const risk = reader();
    const day = 24n * HOUR;
    expect(risk.cost(riskQuestion(null))).toBe('mart');
    expect(risk.cost(riskQuestion(NOW))).toBe('mart');
    expect(risk.cost(riskQuestion(NOW - day + 11n * 60_000_000n))).toBe('mart');
    expect(risk.cost(riskQuestion(NOW - day + 9n * 60_000_000n))).toBe('landing');
    expect(risk.cost(riskQuestion(NOW - day))).toBe('landing');
    expect(reader({ horizonMs: 31 * 24 * 3_600_000 }).cost(riskQuestion(NOW - 20n * day))).toBe('mart');
  });

  test('is refused when retention has already taken part of it', async () => {
    positions.current = at(1n);
    const risk = reader({ keptFromMs: (nowMs) => nowMs - 30 * 24 * 3_600_000 });
    const refusal = await risk.read([1n], riskQuestion(OLD), never).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(Problem);
    expect(refusal).toMatchObject({ status: 400, kind: 'at_not_kept' });
  });
});

describe('without a true answer', () => {
  const problemOf = async (answer: Promise<unknown>): Promise<Problem> => {
    const error: unknown = await answer.then(
      () => 'an answer',
      (reason: unknown) => reason,
    );
    if (error instanceof Problem) return error;
    throw new Error(`no problem but ${String(error)}`);
  };

  test('there is a 503 that says why, whichever table would be read', async () => {
    positions.current = null;
    expect(await problemOf(reader().read([1n], riskQuestion(null), never))).toMatchObject({
      status: 503,
      kind: 'starting',
    });
    expect(await problemOf(reader().read([1n], riskQuestion(NOW - 40n * 24n * HOUR), never))).toMatchObject({
      status: 503,
    });
  });

  test('a table that is not there is a 503 without the words of ClickHouse', async () => {
    positions.current = at(1n);
    const risk = reader({ parameters: { database: "it's `not` there", landing: LANDING } });
    const problem = await problemOf(risk.read([1n], riskQuestion(null), never));
    expect(problem).toMatchObject({ status: 503, kind: 'sink_rejected' });
    expect(problem.message).not.toContain('not` there');
  });

  test('a question that takes too long is given up by ClickHouse itself', async () => {
    positions.current = at(1n);
    const slow = `select toInt64(1) as merchant_id, count() as total_count from numbers(1000000000000)
      where number % 7 = {ids:Array(Int64)}[1]`;
    const risk = reader({ queries: asking(slow), deadlineMs: { mart: 200, pass: 200, landing: 200 } });
    const startedMs = performance.now();
    expect(await problemOf(risk.read([1n], riskQuestion(null), never))).toMatchObject({
      status: 503,
      kind: 'sink_timeout',
    });
    // To its end it would take minutes.
    expect(performance.now() - startedMs).toBeLessThan(30_000);
  });

  test('a caller that goes away ends its query in ClickHouse', async () => {
    positions.current = at(1n);
    const slow = `select toInt64(1) as merchant_id, count() as "${DATABASE}_slow" from numbers(1000000000000)
      where number % 7 = {ids:Array(Int64)}[1]`;
    const running = async (): Promise<number> => {
      const rows = await client.query({
        query: `select count() as n from system.processes where query like '%${DATABASE}' || '_slow%' and not query like '%system.processes%'`,
        format: 'JSONEachRow',
      });
      return Number((await rows.json<{ n: string }>())[0]?.n);
    };
    const caller = new AbortController();
    const risk = reader({
      queries: asking(slow),
      deadlineMs: { mart: 60_000, pass: 60_000, landing: 60_000 },
    });
    const answer = risk.read([1n], riskQuestion(null), caller.signal).catch((error: unknown) => error);
    await expect.poll(running, { timeout: 5000 }).toBe(1);
    caller.abort(new Error('went away'));
    expect(await answer).toMatchObject({ message: 'went away' });
    await expect.poll(running, { timeout: 10_000 }).toBe(0);
  });

  test('ClickHouse away is a 503, and its return is noticed by the next question', async () => {
    positions.current = at(1n);
    await clear();
    await insertMerchants(`${DATABASE}.merchants_known`, [{ id: 1n, version: 8n, deleted: false }]);
    // A door in front of the real server, which a test can shut.
    const target = new URL(inject('servers').clickhouse);
    const door = await openDoor(target);
    const through = createClient({ url: door.url, log: QUIET });
    const risk = reader({ client: through });
    expect((await risk.read([1n], riskQuestion(null), never)).merchants.size).toBe(1);
    await door.shut();
    expect(await problemOf(risk.read([1n], riskQuestion(null), never))).toMatchObject({
      status: 503,
      kind: 'sink_unreachable',
    });
    await door.reopen();
    expect((await risk.read([1n], riskQuestion(null), never)).merchants.size).toBe(1);
    await through.close();
    await door.shut();
  });
});

/** Passes requests on to the server behind it while it is open. */
async function openDoor(
  target: URL,
): Promise<{ url: string; shut: () => Promise<void>; reopen: () => Promise<void> }> {
  let server: Server | null = null;
  let port = 0;
  const reopen = (): Promise<void> =>
    new Promise((resolve) => {
      server = createServer((incoming, outgoing) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('end', () => {
          void fetch(new URL(incoming.url ?? '/', target), {
            method: 'POST',
            headers: { 'content-type': incoming.headers['content-type'] ?? 'text/plain' },
            body: Buffer.concat(chunks),
          }).then(async (answer) => {
            outgoing.writeHead(answer.status);
            outgoing.end(Buffer.from(await answer.arrayBuffer()));
          });
        });
      });
      server.listen(port, '127.0.0.1', () => {
        port = (server?.address() as AddressInfo).port;
        resolve();
      });
    });
  await reopen();
  return {
    url: `http://127.0.0.1:${port}`,
    shut: () =>
      new Promise((resolve) => {
        server?.close(() => resolve());
        server?.closeAllConnections();
      }),
    reopen,
  };
}
