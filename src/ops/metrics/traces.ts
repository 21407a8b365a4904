import { Counter, type Registry } from 'prom-client';
import type { SpanMeter } from '../span-queue.js';

/** What becomes of the spans of traces. */
export function addTraceMetrics(registry: Registry): SpanMeter {
  const registers = [registry];
  const exported = new Counter({
    name: 'walhouse_trace_spans_exported_total',
    help: 'Spans of traces that the collector has taken.',
    registers,
  });
  const dropped = new Counter({
    name: 'walhouse_trace_spans_dropped_total',
    help: 'Spans of traces that could not be delivered, or were more than may wait.',
    registers,
  });
  return {
    exported: (spans) => exported.inc(spans),
    dropped: (spans) => dropped.inc(spans),
  };
}
