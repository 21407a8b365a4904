import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** One document with its style and script in it. */
export interface DashboardPage {
  readonly html: string;
  /** Lets exactly this style and this script run, and nothing be loaded from anywhere else. */
  readonly contentSecurityPolicy: string;
}

/** What people look at in a browser. Nothing of it comes from the internet. */
export interface Dashboard {
  readonly overview: DashboardPage;
  /** The same document for every domain; it asks for the domain that its address names. */
  readonly domain: DashboardPage;
  /** The same for every merchant. */
  readonly merchant: DashboardPage;
  /** Chart.js, which the pages that draw take from this server. */
  readonly chartLibrary: string;
}

/** Reads the pages' parts and puts them together. */
export function loadDashboard(): Dashboard {
  const library = dirname(createRequire(import.meta.url).resolve('chart.js'));
  return {
    overview: loadPage('overview', false),
    domain: loadPage('domain', true),
    merchant: loadPage('merchant', false),
    chartLibrary: readFileSync(join(library, 'chart.umd.min.js'), 'utf8').replace(
      /\n\/\/# sourceMappingURL=.*\s*$/,
      '\n',
    ),
  };
}

/** `NAME.html` in the shell of every page, with the common style, what all scripts share, and `NAME.js`. */
function loadPage(name: string, draws: boolean): DashboardPage {
  const style = readPart('style.css');
  const script = `${readPart('common.js')}\n${readPart(`${name}.js`)}`;
  // Functions as replacements, since "$&" in a text would mean something.
  const html = readPart('shell.html')
    .replace('<!-- main -->', () => readPart(`${name}.html`))
    .replace('<!-- library -->', () => (draws ? '<script src="/assets/chart.js" defer></script>' : ''))
    .replace('/* style */', () => style)
    .replace('/* script */', () => script);
  return {
    html,
    contentSecurityPolicy: [
      "default-src 'none'",
      `style-src ${hashOf(html, 'style')}`,
      `script-src ${hashOf(html, 'script')}${draws ? " 'self'" : ''}`,
      "connect-src 'self'",
      'img-src data:',
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ].join('; '),
  };
}

function readPart(name: string): string {
  // By way of the root, so that what was compiled or bundled finds them too.
  return readFileSync(new URL(`../../src/ops/dashboard/${name}`, import.meta.url), 'utf8');
}

/** The hash that browsers compare: of everything between the tags, white space too. The first such tag has the content. */
function hashOf(html: string, tag: string): string {
  const content = new RegExp(`<${tag}(?![^>]*\\bsrc=)[^>]*>([^]*?)</${tag}>`).exec(html)?.[1];
  if (content === undefined) throw new Error(`the dashboard has no <${tag}>`);
  return `'sha256-${createHash('sha256').update(content, 'utf8').digest('base64')}'`;
}
