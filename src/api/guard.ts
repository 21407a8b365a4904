import type { MiddlewareHandler } from 'hono';
import { createMiddleware } from 'hono/factory';
import { addressOf, type ApiContext, type ApiEnv } from './context.js';
import { findKey, type ApiKey, type Scope } from './keys.js';
import { Problem } from './problem.js';
import { RateLimiter, type RateLimit } from './rate-limit.js';

export interface GuardOptions {
  /** None: everybody may do everything. Only for a service that listens on loopback. */
  readonly keys: readonly ApiKey[];
  readonly rate: RateLimit;
  readonly now: () => number;
}

/** Who may ask what, and how often. */
export class Guard {
  readonly #options: GuardOptions;
  readonly #limiter: RateLimiter;

  constructor(options: GuardOptions) {
    this.#options = options;
    this.#limiter = new RateLimiter(options.rate);
  }

  /**
   * The part of a route that lets a request through whose key has the scope, within its rate, and says so in the OpenAPI document; then
   * come other middlewares of the route.
   */
  needs(scope: Scope, ...others: MiddlewareHandler<ApiEnv>[]) {
    const admit = createMiddleware<ApiEnv>(async (context, next) => {
      this.#admit(context, scope);
      await next();
    });
    return { security: [{ key: [scope] }], middleware: [admit, ...others] };
  }

  /** Lets everybody through, within the rate of their address. */
  open() {
    return createMiddleware<ApiEnv>(async (context, next) => {
      this.#spend(context, `address:${addressOf(context)}`);
      await next();
    });
  }

  #admit(context: ApiContext, scope: Scope): void {
    const { keys } = this.#options;
    if (keys.length === 0) {
      this.#spend(context, `address:${addressOf(context)}`);
      return;
    }
    const presented = bearer(context.req.header('authorization'));
    const key = presented === null ? null : findKey(keys, presented);
    if (key === null) {
      // Guessing is limited by where it comes from.
      this.#spend(context, `address:${addressOf(context)}`);
      throw unauthorized(presented !== null);
    }
    context.set('caller', key.name);
    this.#spend(context, `key:${key.name}`);
    if (!key.scopes.has(scope)) throw forbidden(scope);
  }

  /**
   * Takes one request from what the caller may ask, and says how much is left in the fields of the IETF's draft "RateLimit header
   * fields for HTTP" (draft-ietf-httpapi-ratelimit-headers-10): `q` requests in `w` seconds, `r` left, all again in `t` seconds.
   */
  #spend(context: ApiContext, caller: string): void {
    const { perSecond, burst } = this.#options.rate;
    const waitMs = this.#limiter.take(caller, this.#options.now());
    const left = this.#limiter.left(caller);
    const seconds = (requests: number): number => Math.ceil(requests / perSecond);
    context.set('rate', {
      policy: `"default";q=${burst};w=${seconds(burst)}`,
      left: `"default";r=${left};t=${seconds(burst - left)}`,
    });
    if (waitMs === 0) return;
    throw new Problem({
      status: 429,
      kind: 'rate_exceeded',
      title: 'Too many requests.',
      detail: `More than ${perSecond} requests a second, or ${burst} at once after a rest.`,
      fix: 'wait as long as Retry-After says; POST /v1/merchants/risk asks for up to 1,000 merchants in one request',
      retryAfterMs: waitMs,
    });
  }
}

function bearer(header: string | undefined): string | null {
  return /^bearer +(\S+) *$/i.exec(header ?? '')?.[1] ?? null;
}

function unauthorized(presented: boolean): Problem {
  return new Problem({
    status: 401,
    kind: 'key_missing',
    title: 'A valid key is needed.',
    detail: presented ? 'The key is not one that this service knows.' : 'The request carries no key.',
    fix: 'send a key that is configured in api.keys: "Authorization: Bearer KEY"',
    headers: {
      'www-authenticate': presented
        ? 'Bearer realm="walhouse", error="invalid_token"'
        : 'Bearer realm="walhouse"',
    },
  });
}

function forbidden(scope: Scope): Problem {
  return new Problem({
    status: 403,
    kind: 'scope_missing',
    title: 'The key does not allow this.',
    detail: `The key lacks the scope ${scope}.`,
    fix: `use a key with the scope ${scope}, or have it added to this one in api.keys`,
    headers: { 'www-authenticate': `Bearer realm="walhouse", error="insufficient_scope", scope="${scope}"` },
    extra: { scope },
  });
}
