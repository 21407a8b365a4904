/**
 * What every answer bears: it is what it says it is, loads nothing and is framed by nobody, tells other sites neither where a reader came
 * from nor what it says, and is not stored. Pages have a policy of their own for what they load.
 */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
};

/** These may be said otherwise by an answer that knows better. */
export const USUAL_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
};
