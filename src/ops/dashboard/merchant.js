// The page of one merchant: the four numbers, and what they may be set beside.
const id = decodeURIComponent(location.pathname.split('/').pop() ?? '');
const merchant = `/v1/merchants/${encodeURIComponent(id)}`;
const PAYMENTS_MS = 3_000;
// A baseline is a pass over all merchants.
const BASELINE_MS = 15_000;

const percent = (share) => (share === null ? '–' : `${(Number(share) * 100).toFixed(1)} %`);
const money = (amount) =>
  new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 6 }).format(amount);

function trouble(text) {
  $('trouble').hidden = text === null;
  $('trouble').textContent = text ?? '';
  $('overview').dataset.mood = text === null ? 'good' : 'bad';
}

function failed(body) {
  $('title').textContent = `Merchant ${id}`;
  trouble(
    body === undefined
      ? 'The service does not answer. It is not running, or cannot be reached from here. What is below may be old.'
      : `${body.detail} What to do: ${body.fix}`,
  );
}

function showNumbers({ window, rejected, total, as_of }) {
  document.title = `Merchant ${id} · Walhouse`;
  $('title').textContent = `Merchant ${id}`;
  $('window').textContent =
    `Seven days to the microsecond: after ${moment(window.from)}, up to ${moment(window.to)}`;
  $('rejected-count').textContent = number.format(rejected.count);
  $('rejected-amount').textContent = money(rejected.amount);
  $('total-count').textContent = number.format(total.count);
  $('total-amount').textContent = money(total.amount);
  const age = as_of.lag_ms === null ? '' : `; that was all there was ${duration(as_of.lag_ms)} ago`;
  $('freshness').textContent = `Exact as of ${as_of.lsn}${age}.`;
  trouble(null);
}

function line(title, { rejected, total, share }) {
  const row = element('tr');
  const head = element('th', title);
  head.scope = 'row';
  const cells = [
    number.format(rejected.count),
    number.format(total.count),
    percent(share.count),
    percent(share.amount),
  ];
  row.append(head, ...cells.map((text) => element('td', text, 'number')));
  return row;
}

function showBaseline({ window, rejected, total, baseline: { share, previous, peers } }) {
  const before = previous.map((one, index) => [
    index === 0 ? 'the week before' : `${index + 1} weeks before`,
    one,
  ]);
  $('baseline').replaceChildren(
    line(`up to ${moment(window.to)}`, { rejected, total, share }),
    ...before.map(([title, one]) => line(title, one)),
    line(`${number.format(peers.merchants)} merchants of similar volume`, peers),
  );
  $('judgement').textContent =
    share.count === null
      ? 'There was no payment in these seven days.'
      : `${percent(share.count)} of the payments were rejected; it was ${percent(previous[0].share.count)} the week before, and is ${percent(peers.share.count)} at merchants of similar volume.`;
}

function showPayments({ payments }) {
  const rows = payments.map((payment) => {
    const row = element('tr');
    row.append(
      element('td', moment(payment.payment_date)),
      element('td', payment.payment_id),
      element('td', payment.method ?? '–'),
      element('td', money(payment.amount), 'number'),
      element('td', payment.rejected ? 'rejected' : 'not rejected', payment.rejected ? 'bad-text' : 'quiet'),
    );
    return row;
  });
  const none = element('tr');
  none.append(element('td', 'None in these seven days.', 'quiet'));
  $('payments').replaceChildren(...(rows.length === 0 ? [none] : rows));
}

watch({ path: `${merchant}/risk`, show: showNumbers, failed });
watch({
  path: `${merchant}/risk?baseline=true`,
  show: showBaseline,
  failed: (body) => ($('judgement').textContent = body?.detail ?? ''),
  everyMs: BASELINE_MS,
});
watch({ path: `${merchant}/payments?limit=20`, show: showPayments, failed: () => {}, everyMs: PAYMENTS_MS });
