import type { OpenAPIHono } from '@hono/zod-openapi';
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
  };
  for (const [path, page] of Object.entries(pages))
    app.get(path, guard.open(), (context) =>
      context.body(page.html, 200, {
        'content-type': 'text/html; charset=utf-8',
        'content-security-policy': page.contentSecurityPolicy,
      }),
    );
  app.get('/assets/chart.js', guard.open(), (context) =>
    context.body(dashboard.chartLibrary, 200, {
      'content-type': 'text/javascript; charset=utf-8',
      'cache-control': ASSET,
    }),
  );
  return [...Object.keys(pages), '/assets/chart.js'];
}
