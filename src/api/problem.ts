/** The media type of RFC 9457. */
export const PROBLEM_TYPE = 'application/problem+json';

/** One part of a request that is not as it should be. */
export interface InvalidPart {
  /** Where it stands: `query`, `path` or `body`, then the name: `query.at`, `body.merchant_ids.3`. */
  readonly at: string;
  readonly detail: string;
}

export interface ProblemParts {
  readonly status: number;
  /** Names the sort of problem for programs; stable. */
  readonly kind: string;
  /** The same short sentence for every problem of the kind. */
  readonly title: string;
  /** What happened this time. Never holds a key, a password or a row's values. */
  readonly detail: string;
  /** What the reader should do. */
  readonly fix: string;
  /** Sent as Retry-After, in whole seconds rounded up. */
  readonly retryAfterMs?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly invalid?: readonly InvalidPart[];
  /** Further members of the document. */
  readonly extra?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** A failure that the caller is told as an RFC 9457 problem document. */
export class Problem extends Error {
  readonly parts: ProblemParts;

  constructor(parts: ProblemParts) {
    super(`${parts.kind}: ${parts.detail}`, { cause: parts.cause });
    this.name = 'Problem';
    this.parts = parts;
  }

  get status(): number {
    return this.parts.status;
  }

  get kind(): string {
    return this.parts.kind;
  }
}

/** The document itself. `requestId` lets the reader name this occurrence to the operator. */
export function problemDocument(parts: ProblemParts, requestId: string | null): Record<string, unknown> {
  return {
    type: `urn:walhouse:problem:${parts.kind}`,
    title: parts.title,
    status: parts.status,
    detail: parts.detail,
    kind: parts.kind,
    fix: parts.fix,
    ...(parts.invalid === undefined ? {} : { invalid: parts.invalid }),
    ...(parts.retryAfterMs === undefined ? {} : { retry_after_ms: Math.ceil(parts.retryAfterMs) }),
    ...parts.extra,
    ...(requestId === null ? {} : { request_id: requestId }),
  };
}

/** The headers that go with it. */
export function problemHeaders(parts: ProblemParts): Record<string, string> {
  return {
    'content-type': PROBLEM_TYPE,
    ...(parts.retryAfterMs === undefined
      ? {}
      : { 'retry-after': String(Math.max(1, Math.ceil(parts.retryAfterMs / 1000))) }),
    ...parts.headers,
  };
}

/** A request that can never be answered as it is. */
export function invalidRequest(invalid: readonly InvalidPart[], fix: string): Problem {
  return new Problem({
    status: 400,
    kind: 'request_invalid',
    title: 'The request is not valid.',
    detail: invalid.map((part) => `${part.at}: ${part.detail}`).join('; '),
    fix,
    invalid,
  });
}
