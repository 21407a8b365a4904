// What every page shares. Pages ask the routes that everybody may ask, and write what they hear as text, never as HTML.
const POLL_MS = 1000;
const KEY_ITEM = 'walhouse-key';

const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat('en');

async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY_ITEM);
  const response = await fetch(path, {
    ...options,
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

/** A day is said where it is not today. */
function moment(text) {
  const at = new Date(text);
  const time = at.toLocaleTimeString();
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString()}, ${time}`;
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
  if (className) made.className = className;
  return made;
}

/** What was refused for want of a key, by path. */
const locked = new Set();

function askForKey(path, refused) {
  locked.add(path);
  $('key-form').hidden = false;
  $('key-error').textContent = refused;
}

function unlocked(path) {
  locked.delete(path);
  if (locked.size === 0) $('key-form').hidden = true;
}

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

/**
 * Asks `path` again and again and shows what it hears: `show(body)`; `refused(body)` where a key is missing or may not; `failed(body)` for any
 * other answer, and without a body where there is none. Returns what asks at once.
 */
function watch({ path, show, refused = () => {}, failed, everyMs = POLL_MS }) {
  let polling = false;
  const poll = async () => {
    if (polling || document.hidden) return;
    polling = true;
    try {
      const { status, body } = await ask(path);
      if (status === 200) {
        show(body);
        unlocked(path);
        $('heard').textContent = `heard ${new Date().toLocaleTimeString()}`;
      } else if (status === 401 || status === 403) {
        askForKey(path, sessionStorage.getItem(KEY_ITEM) === null ? '' : `${body.detail} ${body.fix}`);
        refused(body);
      } else failed(body);
    } catch {
      failed(undefined);
    } finally {
      polling = false;
    }
  };
  document.addEventListener('visibilitychange', () => void poll());
  document.addEventListener('walhouse-key', () => void poll());
  setInterval(() => void poll(), everyMs);
  void poll();
  return poll;
}

$('key-form').addEventListener('submit', (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY_ITEM, $('key').value.trim());
  $('key').value = '';
  locked.clear();
  $('key-form').hidden = true;
  document.dispatchEvent(new Event('walhouse-key'));
  showNavigation().catch(() => {});
});

$('lookup')?.addEventListener('submit', (event) => {
  event.preventDefault();
  location.href = `/merchants/${encodeURIComponent($('merchant').value.trim())}`;
});

showNavigation().catch(() => {});
