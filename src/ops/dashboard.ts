import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';

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
  /** The reference of the API. */
  readonly docs: DashboardPage;
  /** Libraries that pages take from this server, by name. */
  readonly assets: ReadonlyMap<string, string>;
}

/** Reads the pages' parts and puts them together. */
export function loadDashboard(): Dashboard {
  return {
    overview: loadPage('overview', false),
    domain: loadPage('domain', true),
    merchant: loadPage('merchant', false),
    docs: loadDocs(),
    assets: new Map(
      (JSON.parse(readPart('assets.json')) as Asset[]).map((asset) => [asset.name, readAsset(asset)]),
    ),
  };
}

interface Asset {
  readonly name: string;
  /** Below node_modules. */
  readonly from: string;
}

/** What is bundled has its assets beside it, and needs the libraries no more. */
function readAsset({ name, from }: Asset): string {
  const bundled = new URL(`./assets/${name}`, import.meta.url);
  const file = existsSync(bundled) ? bundled : new URL(`../../node_modules/${from}`, import.meta.url);
  return readFileSync(file, 'utf8').replace(/\n(\/\/|\/\*)# sourceMappingURL=.*\s*$/, '\n');
}

/** Written by Swagger UI, which sets styles on what it makes. */
function loadDocs(): DashboardPage {
  const html = readPart('docs.html');
  const scripts = `script-src ${hashOf(html, 'script')} 'self'`;
  return { html, contentSecurityPolicy: policy("style-src 'self' 'unsafe-inline'", scripts) };
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
  const scripts = `script-src ${hashOf(html, 'script')}${draws ? " 'self'" : ''}`;
  return { html, contentSecurityPolicy: policy(`style-src ${hashOf(html, 'style')}`, scripts) };
}

function policy(...allowed: readonly string[]): string {
  return [
    "default-src 'none'",
    ...allowed,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
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
