import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const ARRIVES_MS = 20_000;

/** A span as OTLP/JSON has it, times in microseconds. */
export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startUs: bigint;
  readonly endUs: bigint;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly failed: boolean;
}

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { readonly key: string; readonly value: Record<string, unknown> }[];
  readonly status: { readonly code: number };
}

interface OtlpBody {
  readonly resourceSpans: readonly {
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
}

/** A collector that takes OTLP over HTTP as JSON; or takes requests and never answers, or is not there. */
export class Collector {
  readonly spans: CollectedSpan[] = [];
  /** All that came, as it came. */
  text = '';
  /** Requests that are left without an answer. */
  hanging = false;
  asked = 0;
  /** Of the last request. */
  headers: IncomingHttpHeaders = {};
  #server: Server | null = null;
  readonly #unanswered: ServerResponse[] = [];
  #port = 0;

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}/v1/traces`;
  }

  async open(): Promise<void> {
    const server = createServer((request, response) => {
      this.asked += 1;
      this.headers = request.headers;
      if (this.hanging) {
        this.#unanswered.push(response);
        return;
      }
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => (body += text));
      request.on('end', () => {
        this.#take(body);
        response.setHeader('content-type', 'application/json').end('{}');
      });
    });
    this.#server = server;
    await new Promise<void>((resolve) => server.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (server === null) return;
    this.#server = null;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  /** The first span that fits, as soon as it is there. */
  async arrived(fits: (span: CollectedSpan) => boolean): Promise<CollectedSpan> {
    const deadline = performance.now() + ARRIVES_MS;
    for (;;) {
      const found = this.spans.find(fits);
      if (found !== undefined) return found;
      if (performance.now() > deadline)
        throw new Error(`no such span among ${this.spans.map(({ name }) => name).join(', ')}`);
      await sleep(20);
    }
  }

  #take(body: string): void {
    this.text += body;
    for (const { scopeSpans } of (JSON.parse(body) as OtlpBody).resourceSpans)
      for (const { spans } of scopeSpans) this.spans.push(...spans.map(spanOf));
  }
}

function spanOf(span: OtlpSpan): CollectedSpan {
  const { traceId, spanId, parentSpanId, name } = span;
  return {
    traceId,
    spanId,
    ...(parentSpanId === undefined ? {} : { parentSpanId }),
    name,
    startUs: BigInt(span.startTimeUnixNano) / 1_000n,
    endUs: BigInt(span.endTimeUnixNano) / 1_000n,
    facts: Object.fromEntries(span.attributes.map(({ key, value }) => [key, valueOf(value)])),
    failed: span.status.code === 2,
  };
}

function valueOf(value: Record<string, unknown>): unknown {
  const [only] = Object.values(value);
  if (!('arrayValue' in value)) return only;
  return (value['arrayValue'] as { values: Record<string, unknown>[] }).values.map(valueOf);
}
