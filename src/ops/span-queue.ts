import { ExportResultCode, type ExportResult } from '@opentelemetry/core';
import {
  BatchSpanProcessor,
  type ReadableSpan,
  type SpanExporter,
  type SpanProcessor,
} from '@opentelemetry/sdk-trace';
import { endsWithin } from '../pipeline/backoff.js';
import type { Log } from '../pipeline/log.js';

/** Spans that wait to be delivered, those on their way included; more are dropped. */
export const SPANS_MAX = 2_048;
const BATCH_SPANS_MAX = 256;
const EVERY_MS = 1_000;

/** Who counts what becomes of spans. */
export interface SpanMeter {
  exported(spans: number): void;
  dropped(spans: number): void;
}

export interface SpanQueueOptions {
  readonly exporter: SpanExporter;
  readonly log: Log;
  readonly meter: SpanMeter;
}

/**
 * What has ended and is to be delivered. It is bounded, never waited for, and what cannot be delivered is gone: counted each time, and told
 * once in the log until deliveries succeed again.
 */
export class SpanQueue implements SpanProcessor {
  readonly #options: SpanQueueOptions;
  readonly #batches: BatchSpanProcessor;
  #waiting = 0;
  #failing = false;
  #overflowed = false;

  constructor(options: SpanQueueOptions) {
    this.#options = options;
    const { exporter } = options;
    this.#batches = new BatchSpanProcessor({
      exporter: {
        export: (spans, done) =>
          exporter.export(spans, (result) => done(this.#delivered(spans.length, result))),
        shutdown: () => exporter.shutdown(),
      },
      // What is too much is dropped here, where it is counted.
      maxQueueSize: SPANS_MAX,
      maxExportBatchSize: BATCH_SPANS_MAX,
      scheduledDelayMillis: EVERY_MS,
    });
  }

  onStart(): void {}

  onEnd(span: ReadableSpan): void {
    if (this.#waiting >= SPANS_MAX) {
      this.#overflow();
      return;
    }
    this.#waiting += 1;
    this.#batches.onEnd(span);
  }

  forceFlush(): Promise<void> {
    return this.#batches.forceFlush();
  }

  async shutdown(): Promise<void> {
    await this.#batches.shutdown();
  }

  /** Delivers what waits, unless nothing could be delivered lately or it takes longer than `ms`. */
  async leave(ms: number): Promise<void> {
    if (this.#failing) return;
    await endsWithin(
      ms,
      this.#batches.shutdown().catch(() => undefined),
    );
  }

  #delivered(spans: number, result: ExportResult): ExportResult {
    this.#waiting -= spans;
    if (result.code === ExportResultCode.SUCCESS) {
      this.#options.meter.exported(spans);
      if (this.#failing) this.#options.log.info({}, 'traces are delivered again');
      this.#failing = false;
    } else this.#dropped(spans, result.error?.message ?? 'no reason given');
    return result;
  }

  /** Told once a run: it comes and goes with the load. */
  #overflow(): void {
    this.#options.meter.dropped(1);
    if (this.#failing || this.#overflowed) return;
    this.#overflowed = true;
    this.#options.log.warn(
      { waiting: SPANS_MAX },
      'traces come faster than the collector takes them, and some are dropped; a lower tracing.sample makes fewer',
    );
  }

  #dropped(spans: number, reason: string): void {
    this.#options.meter.dropped(spans);
    if (this.#failing) return;
    this.#failing = true;
    this.#options.log.warn(
      { reason },
      'traces cannot be delivered and are dropped; replication and the API go on without them',
    );
  }
}
