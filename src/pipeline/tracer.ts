/** What a span says beside its name and its times: positions, counts, sizes, names. Never row values. */
export type SpanFacts = Readonly<Record<string, string | number | boolean | readonly string[]>>;

export interface SpanOptions {
  readonly facts?: SpanFacts;
  /** When it began, as `performance.now()` counts, or `parent`: with what it is a part of. Left out: now. */
  readonly since?: number | 'parent';
  /** A request to another server, which may tell spans of its own. */
  readonly request?: boolean;
}

/** A piece of work in a trace. Every call returns at once and never throws. */
export interface Span {
  /** What requests made for it carry, so that the other side's spans become parts of it: W3C's `traceparent`. */
  readonly headers: Readonly<Record<string, string>>;
  /** A part of it. It never begins earlier, and may end later. */
  child(name: string, options?: SpanOptions): Span;
  note(facts: SpanFacts): void;
  rename(name: string): void;
  /** It was served by what `other` did. */
  link(other: Span): void;
  /** `failure`: the kind of error it failed with. `atMs`: as `SpanOptions.since`; left out, now. */
  end(failure?: string | null, atMs?: number): void;
}

/** Who is told of single batches and requests, from their beginning to their end. */
export interface Tracer {
  /** One way of changes into the sink, which began with this commit; null when this one is not to be told. */
  batch(committedAtUs: bigint, facts: SpanFacts): Span | null;
  /** One request to the API; null when this one is not to be told. `header` reads what its caller sent. */
  request(header: (name: string) => string | undefined): Span | null;
}
