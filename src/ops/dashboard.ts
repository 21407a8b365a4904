import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/** The dashboard: one document with its style and script in it, so it needs nothing but this one answer. */
export interface Dashboard {
  readonly html: string;
  /** Lets exactly this style and this script run, and nothing be loaded from anywhere else. */
  readonly contentSecurityPolicy: string;
}

/** Reads the page's three parts and puts them together. */
export function loadDashboard(): Dashboard {
  const style = readPart('style.css');
  const script = readPart('page.js');
  // Functions as replacements, since "$&" in a text would mean something.
  const html = readPart('page.html')
    .replace('/* style */', () => style)
    .replace('/* script */', () => script);
  return {
    html,
    contentSecurityPolicy: [
      "default-src 'none'",
      `style-src ${hashOf(html, 'style')}`,
      `script-src ${hashOf(html, 'script')}`,
      "connect-src 'self'",
      'img-src data:',
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join('; '),
  };
}

function readPart(name: string): string {
  // By way of the root, so that the compiled module, in dist/ops, finds them too.
  return readFileSync(new URL(`../../src/ops/dashboard/${name}`, import.meta.url), 'utf8');
}

/** The hash that browsers compare: of everything between the tags, white space too. */
function hashOf(html: string, tag: string): string {
  const content = new RegExp(`<${tag}[^>]*>([^]*?)</${tag}>`).exec(html)?.[1];
  if (content === undefined) throw new Error(`the dashboard has no <${tag}>`);
  return `'sha256-${createHash('sha256').update(content, 'utf8').digest('base64')}'`;
}
