// The page of one domain: the pictures that its folder of marts defines, drawn again as their numbers change.
const name = decodeURIComponent(location.pathname.split('/').pop() ?? '');
const COLOURS = ['--series-1', '--series-2', '--series-3', '--series-4', '--series-5'];
const drawn = new Map();

const numeric = (type) => /^(Nullable\()?(U?Int|Decimal|Float)/.test(type);

function shown(value, type) {
  if (value === null) return '–';
  if (!numeric(type)) return String(value);
  const decimals = (String(value).split('.')[1] ?? '').length;
  return new Intl.NumberFormat('en', {
    minimumFractionDigits: type.includes('Decimal') ? Math.min(decimals, 2) : 0,
    maximumFractionDigits: 2,
  }).format(Number(value));
}

function table({ columns, rows }) {
  const made = element('table');
  const head = element('tr');
  for (const { name: title, type } of columns) {
    const cell = element('th', title, numeric(type) ? 'number' : undefined);
    cell.scope = 'col';
    head.append(cell);
  }
  const body = element('tbody');
  for (const row of rows) {
    const line = element('tr');
    row.forEach((value, index) => {
      const { name: title, type } = columns[index];
      const cell = element('td', shown(value, type), numeric(type) ? 'number' : undefined);
      line.append(cell);
    });
    body.append(line);
  }
  const top = element('thead');
  top.append(head);
  made.append(top, body);
  const scroll = element('div', undefined, 'scroll');
  scroll.append(made);
  return scroll;
}

/** The colour that a variable stands for now; a canvas does not understand `light-dark`. */
function colour(variable) {
  const probe = element('span');
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}

function chartOf(picture, canvas) {
  const at = (title) => picture.columns.findIndex((column) => column.name === title);
  const labels = picture.rows.map((row) => String(row[at(picture.x)] ?? '–'));
  const text = colour('--quiet');
  const lies = picture.shows === 'bar' && labels.some((label) => label.length > 12);
  const axis = {
    grid: { color: colour('--line') },
    ticks: { color: text },
    border: { color: colour('--line') },
  };
  const counted = {
    ...axis,
    beginAtZero: true,
    title: { display: picture.unit !== null, text: picture.unit ?? '', color: text },
  };
  return new Chart(canvas, {
    type: picture.shows,
    data: {
      labels,
      datasets: picture.y.map((title, index) => ({
        label: title.replaceAll('_', ' '),
        data: picture.rows.map((row) => (row[at(title)] === null ? null : Number(row[at(title)]))),
        backgroundColor: colour(COLOURS[index % COLOURS.length]),
        borderColor: colour(COLOURS[index % COLOURS.length]),
        borderWidth: picture.shows === 'line' ? 2 : 0,
        pointRadius: 2,
        maxBarThickness: 28,
      })),
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      indexAxis: lies ? 'y' : 'x',
      interaction: { mode: 'index', intersect: false },
      scales: lies
        ? { x: counted, y: { ...axis, ticks: { color: text, autoSkip: false } } }
        : { x: axis, y: counted },
      plugins: { legend: { display: picture.y.length > 1, labels: { color: text } } },
    },
  });
}

function card(picture) {
  const section = element('section', undefined, picture.shows === 'table' ? 'card wide' : 'card');
  const title = element('h3', picture.title);
  title.id = `picture-${picture.id}`;
  section.setAttribute('aria-labelledby', title.id);
  const content = element('div');
  section.append(title, content);
  $('pictures').append(section);
  return { content, text: '', chart: null };
}

function draw(picture, again) {
  if (!drawn.has(picture.id)) drawn.set(picture.id, card(picture));
  const place = drawn.get(picture.id);
  const text = JSON.stringify(picture);
  if (text === place.text && !again) return;
  place.text = text;
  place.chart?.destroy();
  place.chart = null;
  if (picture.rows.length === 0) {
    place.content.replaceChildren(element('p', 'Nothing to show yet.', 'quiet'));
  } else if (picture.shows === 'table') {
    place.content.replaceChildren(table(picture));
  } else {
    const open = place.content.querySelector('details')?.open ?? false;
    const box = element('div', undefined, 'chart');
    const canvas = element('canvas');
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', `${picture.title}; the same numbers stand in the table below`);
    box.append(canvas);
    if (picture.shows === 'bar')
      box.style.height = `${Math.max(14, 4 + picture.rows.length * (picture.y.length > 1 ? 2 : 1.6))}rem`;
    const details = element('details');
    details.open = open;
    details.append(element('summary', 'The numbers'), table(picture));
    place.content.replaceChildren(box, details);
    place.chart = chartOf(picture, canvas);
  }
}

let last = null;

function show(domain, again = false) {
  last = domain;
  document.title = `${domain.title} · Walhouse`;
  $('title').textContent = domain.title;
  $('question').textContent = domain.question;
  $('position').textContent =
    domain.at_least === null
      ? ''
      : ` · Everything committed before ${domain.at_least.lsn} is in these pictures.`;
  for (const picture of domain.pictures) draw(picture, again);
  trouble(null);
}

function trouble(text) {
  $('trouble').hidden = text === null;
  $('trouble').textContent = text ?? '';
}

watch({
  path: `/v1/domains/${encodeURIComponent(name)}`,
  show,
  failed(body) {
    if (last === null) $('title').textContent = 'Not to be seen now';
    trouble(
      body === undefined
        ? 'The service does not answer. It is not running, or cannot be reached from here. What is below may be old.'
        : `${body.detail ?? ''} What to do: ${body.fix ?? ''}`,
    );
  },
});
matchMedia('(prefers-color-scheme: dark)').addEventListener(
  'change',
  () => last !== null && show(last, true),
);
