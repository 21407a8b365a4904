import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startClickHouse, type LocalClickHouse } from '../../src/dev/servers/clickhouse.js';
import { clickhouseQuery } from '../support/clickhouse-query.js';
import { blocksOf } from '../support/document-blocks.js';
import { Collector, type CollectedSpan } from '../support/collector.js';
import { Scenario } from '../support/scenario.js';

const SCHEMA = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');
/** ClickHouse tells its own spans where this is configured. */
const [SPAN_LOG] = blocksOf('docs/OPERATIONS.md', 'xml');
/** Values that must be nowhere in a trace. */
const MERCHANT = '424242424242';
const PLANTED = [MERCHANT, '787878.87', '979797979797', '565656565656', 'Planted Method'];
/** What a hosted collector wants. */
const TOKEN = 'planted-token';
/** Microseconds from 1970 to Postgres's own beginning of time. */
const POSTGRES_EPOCH_US = 946_684_800_000_000n;
/** Spans tell our clock to the millisecond, others' to the microsecond. */
const CLOCK_US = 1_000n;

const folder = mkdtempSync(join(tmpdir(), 'walhouse-tracing-'));
const collector = new Collector();
let clickhouse: LocalClickHouse;
let scenario: Scenario;

beforeAll(async () => {
  await collector.open();
  writeFileSync(join(folder, 'spans.xml'), SPAN_LOG!);
  clickhouse = await startClickHouse({ configFile: join(folder, 'spans.xml'), log: () => undefined });
  scenario = await Scenario.open('tracing', {
    schema: SCHEMA,
    tables: { 'public.merchants': {}, 'public.payments': {} },
    marts: ['payments'],
    clickhouse: clickhouse.url,
  });
  await scenario.sql(`insert into merchants (merchant_id, name) values (${MERCHANT}, 'traced')`);
  scenario.walhouse.configure({ tracing: { endpoint: collector.endpoint, sample: 1 } });
  await scenario.walhouse.start({
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=${TOKEN}`,
    OTEL_SERVICE_NAME: 'shop-replication',
  });
  await scenario.applied();
});
afterAll(async () => {
  await scenario.close();
  await clickhouse.close();
  await collector.close();
  rmSync(folder, { recursive: true, force: true });
});

let payments = 0;
const pay = (): Promise<unknown> =>
  scenario.sql(`
    insert into payments (payment_id, merchant_id, customer_id, amount, method, status, payment_date)
      values (${565656565656 + payments++}, ${MERCHANT}, 979797979797, 787878.87, 'Planted Method', 'Paid', now())`);

/** When Postgres committed the only transaction since the slot `name` was made, by its WAL; drops the slot. */
async function committedAtUs(name: string): Promise<bigint> {
  const [begin] = (await scenario.sql(`
    select data from pg_logical_slot_get_binary_changes('${name}', null, null,
      'proto_version', '1', 'publication_names', 'traced')`)) as { data: Buffer }[];
  await scenario.sql(`select pg_drop_replication_slot('${name}')`);
  return begin!.data.readBigInt64BE(9) + POSTGRES_EPOCH_US;
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${scenario.walhouse.url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
}

const warnings = (): number => scenario.walhouse.output.split('traces cannot be delivered').length - 1;

describe('a committed payment', () => {
  let root: CollectedSpan;
  const part = (name: string): Promise<CollectedSpan> =>
    collector.arrived((span) => span.traceId === root.traceId && span.name.startsWith(name));

  it('is told from its commit in Postgres to the row that can be read', async () => {
    const slot = `${scenario.databases.name}_place`;
    await scenario.sql('create publication traced for table payments');
    await scenario.sql(`select pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
    await pay();
    await scenario.applied();
    const committed = await committedAtUs(slot);
    root = await collector.arrived((span) => span.name === 'replicate' && span.startUs === committed);
    const [row] = await scenario.databases.clickhouse<{ at: string; lsn: string }>(
      `select toString(toUnixTimestamp64Micro(max(_synced_at))) as at from ${scenario.databases.name}_landing.payments`,
    );
    expect(root.endUs).toBeGreaterThanOrEqual(BigInt(row!.at) - CLOCK_US);
    expect(root.facts).toMatchObject({
      'walhouse.rows': 1,
      'walhouse.transactions': 1,
      'walhouse.tables': ['public.payments'],
      'walhouse.commit_lsn': expect.stringMatching(/^[0-9A-F]+\/[0-9A-F]+$/) as string,
    });
  });

  it('has its parts in their order: received, waiting, inserted, then saved and confirmed', async () => {
    const receive = await part('receive');
    const wait = await part('wait');
    const insert = await part('insert');
    const checkpoint = await part('checkpoint');
    const confirm = await part('confirm');
    for (const { parentSpanId } of [receive, wait, insert, checkpoint, confirm])
      expect(parentSpanId).toBe(root.spanId);
    expect(root.parentSpanId).toBeUndefined();
    const times = [root.startUs, receive.startUs, receive.endUs, wait.startUs, wait.endUs, insert.startUs]
      .concat([insert.endUs, root.endUs, checkpoint.startUs, checkpoint.endUs, confirm.startUs])
      .concat(confirm.endUs);
    expect(times).toEqual(times.toSorted((a, b) => Number(a - b)));
    expect(insert.facts).toMatchObject({
      'db.collection.name': `${scenario.databases.name}_landing.payments`,
      'walhouse.rows': 1,
    });
    expect(insert.facts['walhouse.bytes']).toBeGreaterThan(20);
  });

  it("has ClickHouse's own spans below the insert and the checkpoint", async () => {
    const ours = [await part('insert'), await part('checkpoint')];
    await clickhouseQuery(clickhouse.url, 'system flush logs');
    for (const { traceId, spanId } of ours) {
      const below = await clickhouseQuery<{ n: string }>(
        clickhouse.url,
        `select count() as n from system.opentelemetry_span_log
          where lower(hex(trace_id)) = '${traceId}' and lower(hex(parent_span_id)) = '${spanId}'`,
      );
      expect(Number(below[0]!.n)).toBe(1);
    }
  });
});

describe('a request', () => {
  const TRACE = '0af7651916cd43dd8448eb211c80319c';
  const ask = (flag: string, id: string): Promise<Response> =>
    fetch(`${scenario.walhouse.url}/v1/merchants/${MERCHANT}/risk`, {
      headers: { traceparent: `00-${TRACE}-b7ad6b716920333${flag}-0${flag}`, 'x-request-id': id },
    });

  it("is a part of its caller's trace, with the query to ClickHouse below it", async () => {
    expect((await ask('0', 'not-sampled')).status).toBe(200);
    expect((await ask('1', 'sampled')).status).toBe(200);
    const request = await collector.arrived((span) => span.facts['walhouse.request_id'] === 'sampled');
    expect(request).toMatchObject({
      traceId: TRACE,
      parentSpanId: 'b7ad6b7169203331',
      name: 'GET /v1/merchants/:id/risk',
      facts: { 'http.route': '/v1/merchants/:id/risk', 'http.response.status_code': 200 },
    });
    const query = await collector.arrived((span) => span.parentSpanId === request.spanId);
    expect(query).toMatchObject({ traceId: TRACE, name: 'query risk', failed: false });
    expect(query.endUs).toBeLessThanOrEqual(request.endUs);
    expect(collector.spans.some((span) => span.facts['walhouse.request_id'] === 'not-sampled')).toBe(false);
  });
});

describe('traces', () => {
  it('hold no value of a row, and no key that was asked for', () => {
    expect(collector.text).toContain('public.payments');
    expect(PLANTED.filter((value) => collector.text.includes(value))).toEqual([]);
  });

  it('are sent as the environment says, whose secrets are in no log', () => {
    expect(collector.headers.authorization).toBe(TOKEN);
    expect(collector.text).toContain('"shop-replication"');
    expect(scenario.walhouse.output).not.toContain(TOKEN);
  });

  it('that cannot be delivered hold nothing up: they are dropped, counted, and told once', async () => {
    const dropped = (): Promise<number> => metric('walhouse_trace_spans_dropped_total');
    /** Milliseconds until each was applied, or the lag that was told then: the machine may hold one up, the collector would every one. */
    const took: number[] = [];
    const payAndSee = async (): Promise<void> => {
      const paidAtMs = performance.now();
      await pay();
      await scenario.applied();
      const appliedMs = performance.now() - paidAtMs;
      took.push(Math.max(appliedMs, (await scenario.walhouse.status()).lag_ms ?? Infinity));
    };
    expect(await dropped()).toBe(0);
    collector.hanging = true;
    const asked = collector.asked;
    while (collector.asked === asked) await payAndSee();
    took.length = 0;
    for (let i = 0; i < 3; i += 1) await payAndSee();
    expect(Math.min(...took)).toBeLessThan(2_000);
    await collector.close();
    while ((await dropped()) === 0) {
      await payAndSee();
      await sleep(200);
    }
    await expect.poll(warnings).toBe(1);
    collector.hanging = false;
    collector.spans.length = 0;
    await collector.open();
    await collector.arrived((span) => span.name === 'replicate');
    while (!scenario.walhouse.output.includes('traces are delivered again')) await sleep(20);
    await scenario.expectEqual();

    collector.hanging = true;
    await payAndSee();
    const leftAtMs = performance.now();
    expect(await scenario.walhouse.stop()).toBe(0);
    expect(performance.now() - leftAtMs).toBeLessThan(20_000);
  });
});
