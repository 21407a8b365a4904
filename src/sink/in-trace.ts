import type { Span } from '../pipeline/tracer.js';

/** Of a request to ClickHouse that is made for `span`: what ClickHouse itself tells of it becomes a part of that. */
export function inTrace(span: Span | null | undefined): { http_headers?: Record<string, string> } {
  return span === null || span === undefined ? {} : { http_headers: { ...span.headers } };
}
