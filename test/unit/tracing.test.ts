import { ExportResultCode, type ExportResult } from '@opentelemetry/core';
import {
  InMemorySpanExporter,
  SimpleSpanProcessor,
  TracerProvider,
  type ReadableSpan,
} from '@opentelemetry/sdk-trace';
import { describe, expect, test } from 'vitest';
import { SpanQueue, SPANS_MAX } from '../../src/ops/span-queue.js';
import { openTracing, OtlpTracer } from '../../src/ops/tracing.js';
import { BatchTraces } from '../../src/pipeline/batch-traces.js';
import { silentLog, type Log } from '../../src/pipeline/log.js';
import type { Batch } from '../../src/pipeline/sink.js';

const BATCH = { rows: 2, bytes: 20, sealed: false } as Batch;
const NO_METER = { exported: () => undefined, dropped: () => undefined };

function opened() {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  const traces = new BatchTraces(new OtlpTracer(provider.getTracer('test')));
  return { traces, spans: () => exporter.getFinishedSpans() };
}

const microsOf = ([seconds, nanos]: [number, number]): bigint =>
  BigInt(seconds) * 1_000_000n + BigInt(nanos) / 1_000n;

const begun = (committedAtUs: bigint, commitLsn: bigint) => ({ committedAtUs, commitLsn, xid: 1 });
const nowUs = (): bigint => BigInt(Date.now()) * 1_000n;

describe('the trace of a batch', () => {
  test('begins with its oldest commit, and says how many there were and which was the last', () => {
    const { traces, spans } = opened();
    const committedAtUs = nowUs() - 1_234_567n;
    traces.began(begun(committedAtUs, 16n));
    traces.committed();
    traces.began(begun(committedAtUs + 1n, 32n));
    traces.committed();
    const root = traces.storing(traces.cut(null)!, BATCH, false)!;
    traces.stored(root, 48n);
    const replicate = spans().find(({ name }) => name === 'replicate')!;
    expect(microsOf(replicate.startTime)).toBe(committedAtUs);
    expect(replicate.attributes).toMatchObject({
      'walhouse.first_commit_lsn': '0/10',
      'walhouse.commit_lsn': '0/20',
      'walhouse.durable_lsn': '0/30',
      'walhouse.transactions': 2,
    });
  });

  test('goes on in the next batch with a transaction that did not fit into one', () => {
    const { traces } = opened();
    const transaction = begun(nowUs(), 16n);
    traces.began(transaction);
    expect(traces.cut(transaction)).toMatchObject({ firstLsn: 16n });
    expect(traces.cut(null)).toMatchObject({ firstLsn: 16n, transactions: 1 });
    expect(traces.cut(null)).toBeNull();
  });

  test("never ends before it begins, where the source's clock is ahead of ours", () => {
    const { traces, spans } = opened();
    const committedAtUs = nowUs() + 60_000_000n;
    traces.began(begun(committedAtUs, 16n));
    traces.stored(traces.storing(traces.cut(null)!, BATCH, false)!, 32n);
    expect(spans().map(({ name }) => name)).toEqual(['receive', 'wait', 'replicate']);
    for (const { startTime, endTime } of spans())
      expect([startTime, endTime].map(microsOf)).toEqual([committedAtUs, committedAtUs]);
  });

  test('has its checkpoint again when the first could not be saved, and then no other', () => {
    const { traces, spans } = opened();
    traces.began(begun(nowUs(), 16n));
    traces.stored(traces.storing(traces.cut(null)!, BATCH, false)!, 32n);
    expect(traces.saving(31n)).toBeNull();
    traces.saving(32n)!.failed('sink_timeout');
    let confirmed = 0;
    traces.saving(40n)!.saved(() => (confirmed += 1));
    expect(traces.saving(48n)).toBeNull();
    expect(confirmed).toBe(1);
    const last = spans().slice(3);
    expect(last.map(({ name }) => name)).toEqual(['checkpoint', 'checkpoint', 'confirm']);
    expect(last[0]!.attributes['error.type']).toBe('sink_timeout');
  });

  test('is not made where it is not sampled', async () => {
    const tracing = openTracing({
      endpoint: 'http://127.0.0.1:9/v1/traces',
      sample: 0,
      version: '1',
      log: silentLog,
      meter: NO_METER,
    });
    const { tracer } = tracing;
    expect(tracer.batch(nowUs(), {})).toBeNull();
    expect(tracer.request(() => undefined)).toBeNull();
    const unsampled = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00';
    expect(tracer.request((name) => (name === 'traceparent' ? unsampled : undefined))).toBeNull();
    await tracing.close();
  });
});

describe('spans that wait for a collector', () => {
  const span = { spanContext: () => ({ traceFlags: 1 }), resource: {} } as unknown as ReadableSpan;

  test('are bounded: more are dropped, counted one by one, and told once', async () => {
    const counted = { exported: 0, dropped: 0 };
    const told: string[] = [];
    const log: Log = { ...silentLog, warn: (_fields, message) => told.push(message) };
    const pending: ((result: ExportResult) => void)[] = [];
    const queue = new SpanQueue({
      exporter: {
        export: (_spans, done) => pending.push(done),
        shutdown: () => Promise.resolve(),
      },
      log,
      meter: {
        exported: (spans) => (counted.exported += spans),
        dropped: (spans) => (counted.dropped += spans),
      },
    });
    for (let i = 0; i < SPANS_MAX + 10; i += 1) queue.onEnd(span);
    expect(counted).toEqual({ exported: 0, dropped: 10 });
    expect(told).toHaveLength(1);
    const left = queue.leave(10_000);
    while (counted.exported < SPANS_MAX) {
      pending.splice(0).forEach((done) => done({ code: ExportResultCode.SUCCESS }));
      await Promise.resolve();
    }
    await left;
    expect(counted).toEqual({ exported: SPANS_MAX, dropped: 10 });
    expect(told).toHaveLength(1);
  });

  test('are not waited for at the end where none could be delivered', async () => {
    const failing = new SpanQueue({
      exporter: {
        export: (_spans, done) => done({ code: ExportResultCode.FAILED }),
        shutdown: () => new Promise(() => undefined),
      },
      log: silentLog,
      meter: NO_METER,
    });
    failing.onEnd(span);
    await failing.forceFlush().catch(() => undefined);
    failing.onEnd(span);
    await failing.leave(60_000);
  });
});
