import type { OpenAPIHono } from '@hono/zod-openapi';
import { etag } from 'hono/etag';
import type { Dashboard } from '../ops/dashboard.js';
import type { ApiEnv } from './context.js';
import type { Guard } from './guard.js';

const ASSET = 'max-age=3600';

/** What people open in a browser. Each page is the same document for everybody; what it shows it asks of the other routes. */
export function addPageRoutes(
  app: OpenAPIHono<ApiEnv>,
  { guard, dashboard }: { readonly guard: Guard; readonly dashboard: Dashboard },
): string[] {
  const pages = {
    '/': dashboard.overview,
    '/domains/:name': dashboard.domain,
    '/merchants/:id': dashboard.merchant,
    '/docs': dashboard.docs,
  };
  for (const [path, page] of Object.entries(pages))
    app.get(path, guard.open(), (context) =>
      context.body(page.html, 200, {
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': page.contentSecurityPolicy,
      }),
    );
  const paths = [...dashboard.assets].map(([name, content]) => {
    const path = `/assets/${name}`;
    const type = name.endsWith('.css') ? 'text/css' : 'text/javascript';
    app.get(path, guard.open(), etag(), (context) =>
      context.body(content, 200, {
        'content-type': `${type}; charset=utf-8`,
        'cache-control': ASSET,
      }),
    );
    return path;
  });
  return [...Object.keys(pages), ...paths];
}
