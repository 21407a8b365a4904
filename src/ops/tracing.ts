import { hostname } from 'node:os';
import {
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Attributes,
  type Context,
  type HrTime,
  type Span as OtelSpan,
  type SpanOptions as OtelSpanOptions,
  type TextMapGetter,
  type TextMapSetter,
  type Tracer as OtelTracer,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import { ParentBasedSampler, TraceIdRatioBasedSampler, TracerProvider } from '@opentelemetry/sdk-trace';
import {
  ATTR_SERVICE_INSTANCE_ID,
  ATTR_SERVICE_NAME,
  ATTR_SERVICE_VERSION,
} from '@opentelemetry/semantic-conventions';
import type { Span, SpanFacts, SpanOptions, Tracer } from '../pipeline/tracer.js';
import { SpanQueue, type SpanQueueOptions } from './span-queue.js';

/** An attempt to deliver spans takes no longer, its retries included. */
const EXPORT_MS = 3_000;
/** How long leaving waits for the last spans to be delivered. */
const LEAVE_MS = 2_000;
const NS_PER_MS = 1e6;

export interface TracingOptions extends Omit<SpanQueueOptions, 'exporter'> {
  /** Where OTLP over HTTP is taken: `http://127.0.0.1:4318/v1/traces`. */
  readonly endpoint: string;
  /** Of batches and of requests whose caller does not say, how many are told: 0 to 1. */
  readonly sample: number;
  readonly version: string;
}

export interface Tracing {
  readonly tracer: Tracer;
  /** Delivers what is there, within a bound. */
  close(): Promise<void>;
}

/**
 * Traces by OpenTelemetry's libraries, which are loaded with this module and by nothing else. Nothing is registered globally. The
 * libraries themselves read OTEL_EXPORTER_OTLP_HEADERS and the like, OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
 */
export function openTracing(options: TracingOptions): Tracing {
  const exporter = new OTLPTraceExporter({ url: options.endpoint, timeoutMillis: EXPORT_MS });
  const queue = new SpanQueue({ ...options, exporter });
  const provider = new TracerProvider({
    resource: defaultResource()
      .merge(
        resourceFromAttributes({
          [ATTR_SERVICE_NAME]: 'walhouse',
          [ATTR_SERVICE_VERSION]: options.version,
          [ATTR_SERVICE_INSTANCE_ID]: `${hostname()}:${process.pid}`,
        }),
      )
      .merge(detectResources({ detectors: [envDetector] })),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(options.sample) }),
    spanProcessors: [queue],
  });
  return {
    tracer: new OtlpTracer(provider.getTracer('walhouse', options.version)),
    close: () => queue.leave(LEAVE_MS),
  };
}

type ReadHeader = (name: string) => string | undefined;

const CALLER: TextMapGetter<ReadHeader> = { get: (read, name) => read(name), keys: () => [] };
const HEADERS: TextMapSetter<Record<string, string>> = {
  set: (headers, name, value) => {
    headers[name] = value;
  },
};

export class OtlpTracer implements Tracer {
  readonly #tracer: OtelTracer;
  readonly #w3c = new W3CTraceContextPropagator();

  constructor(tracer: OtelTracer) {
    this.#tracer = tracer;
  }

  batch(committedAtUs: bigint, facts: SpanFacts): Span | null {
    const start: HrTime = [Number(committedAtUs / 1_000_000n), Number(committedAtUs % 1_000_000n) * 1_000];
    return this.#root('replicate', ROOT_CONTEXT, start, {
      kind: SpanKind.CONSUMER,
      attributes: attributesOf(facts),
    });
  }

  request(header: ReadHeader): Span | null {
    const caller = this.#w3c.extract(ROOT_CONTEXT, header, CALLER);
    return this.#root('request', caller, null, { kind: SpanKind.SERVER });
  }

  #root(name: string, parent: Context, start: HrTime | null, options: OtelSpanOptions): Span | null {
    const clock = new Clock();
    const startTime = start ?? clock.at(performance.now());
    const span = this.#tracer.startSpan(name, { ...options, startTime }, parent);
    if (!span.isRecording()) return null;
    return new OtlpSpan({ tracer: this.#tracer, w3c: this.#w3c, clock }, span, startTime);
  }
}

/** One clock for a whole trace, so that its spans fit each other to the microsecond. */
class Clock {
  readonly #offsetMs = Date.now() - performance.now();

  at(atMs: number): HrTime {
    const ms = atMs + this.#offsetMs;
    const seconds = Math.floor(ms / 1_000);
    return [seconds, Math.round((ms - seconds * 1_000) * NS_PER_MS)];
  }
}

interface Around {
  readonly tracer: OtelTracer;
  readonly w3c: W3CTraceContextPropagator;
  readonly clock: Clock;
}

class OtlpSpan implements Span {
  readonly #around: Around;
  readonly #span: OtelSpan;
  readonly #start: HrTime;
  readonly #context: Context;

  constructor(around: Around, span: OtelSpan, start: HrTime) {
    this.#around = around;
    this.#span = span;
    this.#start = start;
    this.#context = trace.setSpan(ROOT_CONTEXT, span);
  }

  get headers(): Record<string, string> {
    const headers: Record<string, string> = {};
    this.#around.w3c.inject(this.#context, headers, HEADERS);
    return headers;
  }

  child(name: string, { facts = {}, since, request = false }: SpanOptions = {}): Span {
    const { tracer } = this.#around;
    const startTime = since === 'parent' ? this.#start : this.#at(since);
    const kind = request ? SpanKind.CLIENT : SpanKind.INTERNAL;
    const attributes = attributesOf(request ? { 'db.system.name': 'clickhouse', ...facts } : facts);
    const span = tracer.startSpan(name, { kind, attributes, startTime }, this.#context);
    return new OtlpSpan(this.#around, span, startTime);
  }

  note(facts: SpanFacts): void {
    this.#span.setAttributes(attributesOf(facts));
  }

  rename(name: string): void {
    this.#span.updateName(name);
  }

  link(other: Span): void {
    if (other instanceof OtlpSpan) this.#span.addLink({ context: other.#span.spanContext() });
  }

  end(failure: string | null = null, atMs?: number): void {
    if (failure !== null) {
      this.#span.setAttribute('error.type', failure);
      this.#span.setStatus({ code: SpanStatusCode.ERROR });
    }
    this.#span.end(this.#at(atMs));
  }

  /** Never before the span's own start: the source's clock may be ahead of ours. */
  #at(atMs = performance.now()): HrTime {
    const time = this.#around.clock.at(atMs);
    const [seconds, nanos] = this.#start;
    return time[0] < seconds || (time[0] === seconds && time[1] < nanos) ? this.#start : time;
  }
}

/** The libraries copy what they are given, though their types would have lists that may be written to. */
function attributesOf(facts: SpanFacts): Attributes {
  return facts as Attributes;
}
