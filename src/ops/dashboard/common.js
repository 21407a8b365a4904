// What every page shares. Pages ask the routes that everybody may ask, and write what they hear as text, never as HTML.
// Each page defines `poll`, which asks once and shows what it hears.
const POLL_MS = 1000;
const KEY_ITEM = 'walhouse-key';

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat('en');
async function ask(path) {
  const key = sessionStorage.getItem(KEY_ITEM);
  const response = await fetch(path, {
    headers: key === null ? {} : { authorization: `Bearer ${key}` },
    cache: 'no-store',
    signal: AbortSignal.timeout(10_000),
  });
  return { status: response.status, body: await response.json() };
}

function duration(ms) {
  if (ms === null) return 'not known yet';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days ${hours % 24} h`;
}

function bytes(count) {
  if (count === null) return 'not known yet';
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = count;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className !== undefined) made.className = className;
  return made;
}

function askForKey(refused) {
  $('key-form').hidden = false;
  $('key-error').textContent = refused;
}

$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY_ITEM, $('key').value.trim());
  $('key').value = '';
  void poll();
  showNavigation().catch(() => {});
});

/** Links to the other pages; asked for once there is a key that may know. */
async function showNavigation() {
  const { status, body } = await ask('/v1/domains');
  if (status !== 200) return;
  const links = [
    ['/', 'Replication'],
    ...body.domains.map(({ name, title }) => [`/domains/${encodeURIComponent(name)}`, title]),
  ];
  $('navigation').replaceChildren(
    ...links.map(([path, title]) => {
      const link = element('a', title);
      link.href = path;
      if (location.pathname === path) link.setAttribute('aria-current', 'page');
      return link;
    }),
  );
}

function begin() {
  document.addEventListener('visibilitychange', () => void poll());
  setInterval(() => void poll(), POLL_MS);
  void poll();
  showNavigation().catch(() => {});
}
