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
  api_only: ['good', 'Reading only', 'Another instance writes; this one answers questions.'],
};
const TABLE_WORDS = {
  waiting: 'waiting',
  snapshotting: 'copying',
  resyncing: 'being copied anew, readable meanwhile',
  streaming: 'streaming',
  stopped: 'stopped',
};
// Beyond this a stream that works is called behind and not healthy.
const BEHIND_MS = 10_000;

const HISTORY_MS = 5_000;
const RETENTION_MS = 30_000;
const VERDICTS = {
  equal: ['good-text', 'equal'],
  different: ['bad-text', 'different'],
  quarantined: ['warn-text', 'equal but for quarantine'],
  unchecked: ['warn-text', 'could not be compared in full'],
  not_compared: ['warn-text', 'not compared'],
};
const SLOT_WORDS = {
  reserved: 'Postgres keeps the log that is still to be read.',
  extended: 'Postgres keeps more log than usual for it.',
  unreserved: 'Postgres may throw the log away at its next checkpoint.',
  lost: 'Postgres has thrown the log away.',
};

let lastSeen = null;

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
  const drifted = tables.filter(([, { verify }]) => verify?.verdict === 'different').map(([name]) => name);
  const quarantined = tables.reduce((sum, [, table]) => sum + table.quarantined, 0);
  if (status.state === 'streaming' && stopped.length > 0) {
    [mood, headline] = ['bad', `${stopped.join(', ')} stopped`];
    explanation = 'The other tables go on. The table below says what to do.';
  } else if (status.state === 'streaming' && status.lag_ms !== null && status.lag_ms > BEHIND_MS) {
    [mood, headline] = ['warn', 'Behind'];
    explanation = 'Changes arrive, but later than they are committed.';
  } else if (status.state === 'streaming' && drifted.length > 0) {
    [mood, headline] = ['bad', `${drifted.join(', ')} differ${drifted.length === 1 ? 's' : ''}`];
    explanation =
      'Somebody changed ClickHouse by hand, or there is a fault: copy the table anew, or walhouse verify --repair.';
  } else if (status.state === 'streaming' && quarantined > 0) {
    [mood, headline] = ['warn', 'Rows in quarantine'];
    explanation =
      'Changes arrive, but some rows could not be stored exactly: walhouse quarantine list names them.';
  }
  if (status.retry_at !== null) {
    explanation += ` Next attempt ${new Date(status.retry_at).toLocaleTimeString()}.`;
  }
  const forMs = Date.now() - Date.parse(status.since);
  explanation += ` Since ${moment(status.since)} (${duration(Math.max(0, Math.floor(forMs / 1000) * 1000))}).`;
  showOverview(mood, headline, explanation);
  showTrouble(status.error);
  $('lag-ms').textContent = duration(status.lag_ms);
  $('lag-bytes').textContent = bytes(status.lag_bytes);
  $('applied').textContent = status.applied_lsn ?? '–';
  showRate(tables);
  showTables(tables);
  showSlot(status.slot);
  const writes = !['api_only', 'standby', 'closing', 'closed'].includes(status.state);
  $('pause').hidden = !writes || status.state === 'paused';
  $('resume').hidden = status.state !== 'paused';
  $('verify-all').hidden = !writes;
}

function showRate(tables) {
  const rows = tables.reduce((sum, [, table]) => sum + table.rows_applied, 0);
  const at = performance.now();
  if (lastSeen !== null && at > lastSeen.at && rows >= lastSeen.rows) {
    $('rate').textContent = number.format(Math.round(((rows - lastSeen.rows) * 1000) / (at - lastSeen.at)));
  }
  lastSeen = { rows, at };
}

/** A line of `[time, value]`s up to now, over the hour or what there is of it. A value of null is a gap. */
function drawLine(svg, points, highest) {
  const [from] = points[0] ?? [Date.now()];
  const span = Math.max(Date.now() - from, 1);
  const lines = [];
  let line = [];
  for (const [at, value] of [...points, [0, null]]) {
    if (value !== null) {
      line.push(`${(((at - from) / span) * 600).toFixed(1)},${(58 - (value / highest) * 54).toFixed(1)}`);
    } else if (line.length > 0) {
      const drawn = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
      drawn.setAttribute('points', line.join(' '));
      lines.push(drawn);
      line = [];
    }
  }
  $(svg).replaceChildren(...lines);
}

function showHistory({ samples }) {
  const lags = samples.map(({ at, lag_ms }) => [Date.parse(at), lag_ms]);
  const rates = samples.slice(1).map((sample, index) => {
    const before = samples[index];
    const seconds = (Date.parse(sample.at) - Date.parse(before.at)) / 1000;
    return [Date.parse(sample.at), Math.max(0, (sample.rows_applied - before.rows_applied) / seconds)];
  });
  const drawn = [
    ['lag', lags, 'Lag', duration],
    ['rate', rates, 'Changes a second', (rate) => number.format(Math.round(rate))],
  ];
  for (const [name, points, title, format] of drawn) {
    const highest = Math.max(...points.map(([, value]) => value ?? 0), 0);
    drawLine(`${name}-history`, points, Math.max(highest, 1));
    const caption = `${title} in the last hour; highest ${format(highest)}`;
    $(`${name}-caption`).textContent = caption;
    $(`${name}-history`).setAttribute('aria-label', caption);
    $(`${name}-from`).textContent = points.length === 0 ? '' : moment(points[0][0]);
  }
}

function showSlot(slot) {
  $('slot-words').textContent =
    slot === null
      ? 'There is none, or Postgres cannot be asked.'
      : (SLOT_WORDS[slot.wal_status] ?? slot.wal_status);
  $('slot-held').textContent = slot === null ? '–' : bytes(slot.held_bytes);
  $('slot-left').textContent = timeLeft(slot);
  $('slot-warning').hidden = slot === null || slot.warning === null;
  if (slot?.warning) {
    const { what, why, fix } = slot.warning;
    $('slot-warning').replaceChildren(element('p', `${what} ${why}`), element('p', `What to do: ${fix}`));
  }
}

function timeLeft(slot) {
  if (slot === null) return '–';
  if (slot.headroom_bytes === null) return 'no limit is set';
  if (slot.seconds_left === null) return `${bytes(slot.headroom_bytes)} left, not shrinking`;
  return `${bytes(slot.headroom_bytes)}, ${duration(slot.seconds_left * 1000)}`;
}

function showRetention({ tables, last_purge: purge }) {
  const kept = Object.entries(tables).map(([id, { column, keep }]) =>
    element('li', `${id}: ${keep} by ${column}`),
  );
  $('retention-tables').replaceChildren(...kept);
  $('retention-purge').textContent =
    kept.length === 0
      ? 'No table has one: rows are kept for as long as the source has them.'
      : purge === null
        ? 'What is past it is invisible at once, and ClickHouse removes it within a day. The command walhouse retention does so now and proves it; it was not given yet.'
        : `Last purge ${moment(purge.at)}: ${number.format(purge.versions)} versions of rows removed, ${
            purge.proven ? 'proven that none is left' : 'not proven; look at the report'
          } (report ${purge.report}).`;
}

/** What wants a person comes first, then what is being copied. */
function urgency([, { state, quarantined, verify }]) {
  if (state === 'stopped') return 0;
  if (verify?.verdict === 'different') return 1;
  if (quarantined > 0) return 2;
  return state === 'streaming' ? 4 : 3;
}

function showTables(tables) {
  const rows = tables
    .toSorted((a, b) => urgency(a) - urgency(b))
    .flatMap(([name, table]) => {
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
      const compared = comparison(table.verify);
      compared.dataset.label = 'Compared with the source';
      const buttons = element('td', undefined, 'orders');
      buttons.append(
        button('Verify', `Verify ${name}`, () =>
          order(`/v1/tables/${encodeURIComponent(name)}/verify`, `${name} is being compared.`),
        ),
        button('Copy anew', `Copy ${name} anew`, () => resync(name)),
      );
      row.append(title, state, applied, quarantined, compared, buttons);
      const errors = [table.error, table.verify?.error ?? null].filter((error) => error !== null);
      return [row, ...errors.map(remark)];
    });
  replaceKeepingFocus($('tables'), rows);
}

function comparison(verify) {
  if (verify === null) return element('td', 'not yet', 'quiet');
  const cell = element('td');
  if (verify.pending) cell.append(element('div', 'comparing…', 'quiet'));
  if (verify.at === null && verify.error === null) return cell;
  const [style, words] = VERDICTS[verify.verdict];
  const count = verify.differences
    ? `: ${verify.complete ? '' : 'at least '}${number.format(verify.differences)} rows`
    : '';
  cell.append(element('span', `${words}${count}`, style));
  if (verify.at !== null) cell.append(element('div', moment(verify.at), 'quiet'));
  return cell;
}

/** Whoever goes through the page by keyboard is not thrown back when it is drawn anew. */
function replaceKeepingFocus(place, children) {
  const label = place.contains(document.activeElement)
    ? document.activeElement.getAttribute('aria-label')
    : null;
  place.replaceChildren(...children);
  if (label !== null) [...place.querySelectorAll('button')].find((one) => one.ariaLabel === label)?.focus();
}

function button(text, label, act) {
  const made = element('button', text, 'plain-button');
  made.type = 'button';
  made.setAttribute('aria-label', label);
  made.addEventListener('click', act);
  return made;
}

function remark({ what, why, fix }) {
  const row = element('tr', undefined, 'remark');
  const cell = element('td');
  cell.colSpan = 6;
  const box = element('div', undefined, 'trouble');
  box.append(element('p', `${what} ${why}`), element('p', `What to do: ${fix}`));
  cell.append(box);
  row.append(cell);
  return row;
}

/** Resolves to whether they want it. */
function sure(title, text, yes) {
  $('sure-title').textContent = title;
  $('sure-text').textContent = text;
  $('sure-yes').textContent = yes;
  $('sure').returnValue = 'no';
  $('sure').showModal();
  return new Promise((resolve) => {
    $('sure').addEventListener('close', () => resolve($('sure').returnValue === 'yes'), { once: true });
  });
}

async function order(path, done) {
  try {
    const { status, body } = await ask(path, { method: 'POST' });
    const refused = status >= 400;
    $('ordered').className = refused ? 'bad-text' : 'quiet';
    $('ordered').textContent = refused ? `${body.detail} What to do: ${body.fix}` : done;
    if (status === 401 || status === 403) askForKey(path, `${body.detail} ${body.fix}`);
  } catch {
    $('ordered').className = 'bad-text';
    $('ordered').textContent = 'The service does not answer, so whether it took the order is not known.';
  }
  void poll();
}

async function resync(name) {
  const wants = await sure(
    `Copy ${name} anew?`,
    'The whole table is read from Postgres again, beside the one that people read, and takes its place when it is complete. Other tables go on.',
    'Copy anew',
  );
  if (wants) await order(`/v1/tables/${encodeURIComponent(name)}/resync`, `${name} is being copied anew.`);
}

$('pause').addEventListener('click', async () => {
  const wants = await sure(
    'Pause replication?',
    'Nothing arrives until it is resumed, and Postgres keeps its log for us meanwhile: it can fill the disk.',
    'Pause',
  );
  if (wants) await order('/v1/pause', 'Pausing.');
});
$('resume').addEventListener('click', () => order('/v1/resume', 'Going on.'));
$('verify-all').addEventListener('click', () =>
  order('/v1/verify', 'Every table is being compared, one after another.'),
);

const poll = watch({
  path: '/v1/replication',
  show: showStatus,
  refused: () =>
    showOverview('unknown', 'Not known', 'Without a key this page cannot ask how replication stands.'),
  failed(body) {
    if (body === undefined)
      showOverview(
        'bad',
        'The service does not answer',
        'It is not running, or cannot be reached from here. What is below may be old.',
      );
    else showOverview('bad', 'No answer', `${body.detail ?? ''} ${body.fix ?? ''}`);
  },
});
watch({ path: '/v1/replication/history', show: showHistory, failed: () => {}, everyMs: HISTORY_MS });
watch({
  path: '/v1/retention',
  show: showRetention,
  failed: (body) => ($('retention-purge').textContent = body?.detail ?? 'Not known.'),
  everyMs: RETENTION_MS,
});
