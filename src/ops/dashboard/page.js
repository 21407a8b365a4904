const HISTORY_POINTS = 600;
const WORDS = {
  starting: ['warn', 'Starting', 'Connecting to Postgres and ClickHouse.'],
  snapshotting: [
    'warn',
    'Copying tables',
    'The first copy of a table runs; risk questions are answered once it is complete.',
  ],
  streaming: ['good', 'Healthy', 'Changes arrive as they are committed.'],
  paused: [
    'warn',
    'Paused',
    'Somebody paused replication. Postgres keeps its log until it goes on: walhouse resume.',
  ],
  retrying: ['warn', 'Trying again', 'Something is away that usually comes back by itself.'],
  standby: ['warn', 'Standing by', 'Another instance reads the slot; this one takes over when it goes.'],
  stopped: ['bad', 'Stopped', 'It needs a person. Nothing is lost, and nothing more arrives until then.'],
  closing: ['warn', 'Closing', 'What is on its way is being stored.'],
  closed: ['bad', 'Closed', 'Nothing arrives.'],
};
const TABLE_WORDS = {
  waiting: 'waiting',
  snapshotting: 'copying',
  streaming: 'streaming',
  stopped: 'stopped',
};
// Beyond this a stream that works is called behind and not healthy.
const BEHIND_MS = 10_000;

const history = [];
let lastSeen = null;
let polling = false;

function showTrouble(error) {
  $('trouble').hidden = error === null;
  if (error === null) return;
  $('trouble-what').textContent = error.what;
  $('trouble-why').textContent = error.why;
  $('trouble-fix').textContent = error.fix;
}

function showOverview(mood, headline, explanation) {
  $('overview').dataset.mood = mood;
  $('headline').textContent = headline;
  $('explanation').textContent = explanation;
  document.title = `${headline} · Walhouse`;
}

function showStatus(status) {
  let [mood, headline, explanation] = WORDS[status.state] ?? ['warn', status.state, ''];
  const tables = Object.entries(status.tables);
  const stopped = tables.filter(([, table]) => table.state === 'stopped').map(([name]) => name);
  const quarantined = tables.reduce((sum, [, table]) => sum + table.quarantined, 0);
  if (status.state === 'streaming' && stopped.length > 0) {
    [mood, headline] = ['bad', `${stopped.join(', ')} stopped`];
    explanation = 'The other tables go on. The table below says what to do.';
  } else if (status.state === 'streaming' && status.lag_ms !== null && status.lag_ms > BEHIND_MS) {
    [mood, headline] = ['warn', 'Behind'];
    explanation = 'Changes arrive, but later than they are committed.';
  } else if (status.state === 'streaming' && quarantined > 0) {
    [mood, headline] = ['warn', 'Rows in quarantine'];
    explanation = 'Changes arrive, but some rows could not be stored exactly: walhouse verify names them.';
  }
  if (status.retry_at !== null) {
    explanation += ` Next attempt ${new Date(status.retry_at).toLocaleTimeString()}.`;
  }
  showOverview(mood, headline, explanation);
  showTrouble(status.error);
  $('lag-ms').textContent = duration(status.lag_ms);
  $('lag-bytes').textContent = bytes(status.lag_bytes);
  $('applied').textContent = status.applied_lsn ?? '–';
  showRate(tables);
  showHistory(status.lag_ms);
  showTables(tables);
}

function showRate(tables) {
  const rows = tables.reduce((sum, [, table]) => sum + table.rows_applied, 0);
  const at = performance.now();
  if (lastSeen !== null && at > lastSeen.at && rows >= lastSeen.rows) {
    $('rate').textContent = number.format(Math.round(((rows - lastSeen.rows) * 1000) / (at - lastSeen.at)));
  }
  lastSeen = { rows, at };
}

function showHistory(lagMs) {
  if (lagMs === null) return;
  history.push(lagMs);
  if (history.length > HISTORY_POINTS) history.shift();
  const highest = Math.max(...history, 1);
  const step = 600 / Math.max(history.length - 1, 1);
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
  const points = history.map(
    (lag, index) => `${(index * step).toFixed(1)},${(58 - (lag / highest) * 54).toFixed(1)}`,
  );
  line.setAttribute('points', points.join(' '));
  $('history').replaceChildren(line);
  $('history-caption').textContent = `Lag since this page was opened; highest ${duration(highest)}`;
}

function showTables(tables) {
  const rows = tables.flatMap(([name, table]) => {
    const row = element('tr');
    const title = element('th', name);
    title.scope = 'row';
    const state = element(
      'td',
      TABLE_WORDS[table.state] ?? table.state,
      table.state === 'stopped' ? 'bad-text' : '',
    );
    if (table.snapshot !== null) {
      const { rows: copied, percent, seconds_left: left } = table.snapshot;
      const progress = element('progress');
      progress.max = 100;
      if (percent !== null) progress.value = percent;
      progress.setAttribute('aria-label', `copy of ${name}`);
      const parts = [`${number.format(copied)} rows`];
      if (percent !== null) parts.push(`${percent} %`);
      if (left !== null) parts.push(`${duration(left * 1000)} left`);
      state.append(element('br'), progress, element('div', parts.join(', '), 'quiet'));
    }
    const applied = element('td', number.format(table.rows_applied), 'number');
    applied.dataset.label = 'Changes applied';
    const quarantined = element('td', number.format(table.quarantined), 'number');
    quarantined.dataset.label = 'Quarantined';
    if (table.quarantined > 0) quarantined.classList.add('warn-text');
    row.append(title, state, applied, quarantined);
    return table.error === null ? [row] : [row, remark(table.error)];
  });
  $('tables').replaceChildren(...rows);
}

function remark({ what, why, fix }) {
  const row = element('tr', undefined, 'remark');
  const cell = element('td');
  cell.colSpan = 4;
  const box = element('div', undefined, 'trouble');
  box.append(element('p', `${what} ${why}`), element('p', `What to do: ${fix}`));
  cell.append(box);
  row.append(cell);
  return row;
}

async function poll() {
  if (polling || document.hidden) return;
  polling = true;
  try {
    const { status, body } = await ask('/v1/replication');
    if (status === 200) {
      showStatus(body);
      $('key-form').hidden = true;
      $('heard').textContent = `heard ${new Date().toLocaleTimeString()}`;
    } else if (status === 401 || status === 403) {
      askForKey(sessionStorage.getItem(KEY_ITEM) === null ? '' : `${body.detail} ${body.fix}`);
      showOverview('unknown', 'Not known', 'Without a key this page cannot ask how replication stands.');
    } else {
      showOverview('bad', 'No answer', `${body.detail ?? ''} ${body.fix ?? ''}`);
    }
  } catch {
    showOverview(
      'bad',
      'The service does not answer',
      'It is not running, or cannot be reached from here. What is below may be old.',
    );
  } finally {
    polling = false;
  }
}

function showAnswer(answer) {
  const figures = element('dl', undefined, 'figures');
  const add = (name, value) => {
    const pair = element('div');
    pair.append(element('dt', name), element('dd', value));
    figures.append(pair);
  };
  add('Rejected payments', number.format(answer.rejected.count));
  add('Rejected amount', answer.rejected.amount);
  add('All payments', number.format(answer.total.count));
  add('Total amount', answer.total.amount);
  const from = new Date(answer.window.from).toLocaleString();
  const to = new Date(answer.window.to).toLocaleString();
  const note = `Merchant ${answer.merchant_id}, ${from} to ${to}; exact as of ${answer.as_of.lsn}, ${duration(answer.as_of.lag_ms)} old.`;
  $('answer').replaceChildren(figures, element('p', note, 'quiet'));
}

$('lookup').addEventListener('submit', async (event) => {
  event.preventDefault();
  const id = $('merchant').value.trim();
  try {
    const { status, body } = await ask(`/v1/merchants/${encodeURIComponent(id)}/risk`);
    if (status === 200) showAnswer(body);
    else $('answer').replaceChildren(element('p', `${body.detail} What to do: ${body.fix}`, 'bad-text'));
    if (status === 401) askForKey('');
  } catch {
    $('answer').replaceChildren(element('p', 'The service does not answer.', 'bad-text'));
  }
});

begin();
