import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openChromium } from '../support/chromium.js';
import { Scenario } from '../support/scenario.js';

const PAYMENTS = readFileSync(new URL('../../postgres/payments.sql', import.meta.url), 'utf8');
const KEYS = { watcher: 'a-key-that-may-read', operator: 'a-key-that-may-give-orders' };
const hash = (key: string): string => createHash('sha256').update(key).digest('hex');

let browser: Browser | string;
let scenario: Scenario;
let page: Page;
/** What a page must never do: ask another server, or complain. */
const wrong: string[] = [];

beforeAll(async () => {
  browser = await openChromium();
  if (typeof browser === 'string') return;
  scenario = await Scenario.open('dashboard', {
    schema: PAYMENTS,
    tables: {
      'public.merchants': null,
      'public.payments': { retention: { column: 'payment_date', keep: '2 years' } },
    },
    marts: ['payments'],
  });
  scenario.walhouse.configure({
    keys: `watcher:ops:read:${hash(KEYS.watcher)},operator:ops:read+ops:write+risk:read:${hash(KEYS.operator)}`,
    key: KEYS.operator,
  });
  await scenario.sql(`
    insert into merchants values (42, 'Forty-two', null, null, null, now());
    insert into payments select i, 42, 1, 10.50, 'Visa', case when i % 4 = 0 then 'Rejected' else 'Paid' end, now(), now()
      from generate_series(1, 40) i`);
  await scenario.walhouse.start();
  await scenario.applied();
  page = await openPage(browser);
}, 400_000);
afterAll(async () => {
  if (typeof browser !== 'string') await browser.close();
  await scenario?.close();
});

async function openPage(of: Browser): Promise<Page> {
  const opened = await of.newPage({ viewport: { width: 1200, height: 900 } });
  opened.setDefaultTimeout(30_000);
  opened.on('request', (request) => {
    if (new URL(request.url()).origin !== scenario.walhouse.url) wrong.push(request.url());
  });
  opened.on('pageerror', (error) => wrong.push(error.message));
  return opened;
}

const headline = (words: string | RegExp) => page.getByRole('heading', { name: words, level: 2 }).waitFor();
const rowOf = (table: string) =>
  page.getByRole('row').filter({ has: page.getByRole('rowheader', { name: table }) });
const give = async (key: string): Promise<void> => {
  await page.getByLabel('Key', { exact: true }).fill(key);
  await page.keyboard.press('Enter');
};

describe('the dashboard in a browser', () => {
  it('asks for a key, and with one says in words how replication stands', async (context) => {
    if (typeof browser === 'string') return context.skip(browser);
    await page.goto(scenario.walhouse.url);
    await headline('Not known');
    await give(KEYS.watcher);
    await headline('Healthy');
    await rowOf('public.payments').getByText('streaming').waitFor();
    await page.locator('#retention-tables').getByText('public.payments: 2 years by payment_date').waitFor();
    expect(await page.title()).toBe('Healthy · Walhouse');
  });

  it('lets nobody give orders without the scope for it', async (context) => {
    if (typeof browser === 'string') return context.skip(browser);
    await page.getByRole('button', { name: 'Verify all' }).click();
    await page.locator('#ordered').getByText('ops:write').waitFor();
    await give(KEYS.operator);
    await page.locator('#key-form').waitFor({ state: 'hidden' });
  });

  it('an operator pauses by keyboard, sees the lag rise, goes on and sees it fall', async (context) => {
    if (typeof browser === 'string') return context.skip(browser);
    await page.getByRole('button', { name: 'Pause' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog', { name: 'Pause replication?' }).waitFor();
    await page.keyboard.press('Enter');
    await headline('Paused');
    await scenario.sql(
      `insert into payments select i, 42, 1, 1, 'Visa', 'Paid', now(), now() from generate_series(1001, 21000) i`,
    );
    // Megabytes of WAL, and more than a second.
    await expect.poll(() => page.locator('#lag-bytes').innerText(), { timeout: 20_000 }).toMatch(/MB$/);
    await expect
      .poll(() => page.locator('#lag-ms').innerText(), { timeout: 20_000 })
      .toMatch(/^[1-9][0-9.]* s$/);
    expect((await scenario.walhouse.status()).state).toBe('paused');
    await page.getByRole('button', { name: 'Resume' }).click();
    await headline('Healthy');
    await scenario.applied();
    await expect.poll(() => page.locator('#lag-bytes').innerText(), { timeout: 20_000 }).toMatch(/ k?B$/);
  });

  it('finds the table that somebody damaged, copies it anew, and sees it recover', async (context) => {
    if (typeof browser === 'string') return context.skip(browser);
    const { clickhouseDatabase: database } = scenario.databases;
    await scenario.databases.clickhouse(
      `alter table ${database}_landing.payments delete where payment_id = 8 settings mutations_sync = 1`,
    );
    await page.getByRole('button', { name: 'Verify all' }).click();
    await headline('public.payments differs');
    await rowOf('public.payments').getByText('different: ').waitFor();
    await rowOf('public.merchants').getByText('equal').waitFor();
    // It stands at the top, wherever it stood.
    expect(await page.getByRole('rowheader').first().innerText()).toBe('public.payments');

    await rowOf('public.payments').getByRole('button', { name: 'Copy public.payments anew' }).click();
    await page
      .getByRole('dialog', { name: 'Copy public.payments anew?' })
      .getByRole('button', { name: 'Leave it' })
      .click();
    expect((await scenario.walhouse.status()).tables['public.payments']!.state).toBe('streaming');
    await rowOf('public.payments').getByRole('button', { name: 'Copy public.payments anew' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Copy anew' }).click();
    // Compared once more without being told.
    await rowOf('public.payments').getByText('equal').waitFor();
    await headline('Healthy');
  });

  it('a merchant has a page with the numbers that the API gives, a baseline and the last payments', async (context) => {
    if (typeof browser === 'string') return context.skip(browser);
    await page.getByLabel('Merchant id').fill('42');
    await page.keyboard.press('Enter');
    await headline('Merchant 42');
    const expected = await scenario.sql(
      `select count(*)::int total, count(*) filter (where status = 'Rejected')::int rejected, sum(amount)::text amount from payments`,
    );
    const { total, rejected, amount } = expected[0]! as { total: number; rejected: number; amount: string };
    await expect.poll(() => page.locator('#total-count').innerText()).toBe(total.toLocaleString('en'));
    expect(await page.locator('#rejected-count').innerText()).toBe(String(rejected));
    expect((await page.locator('#total-amount').innerText()).replaceAll(',', '')).toBe(amount);
    await page.locator('#freshness').getByText('Exact as of').waitFor();
    await page.locator('#baseline tr').nth(5).waitFor();
    await expect.poll(() => page.locator('#payments tr').count()).toBe(20);
    await page.goto(`${scenario.walhouse.url}/merchants/404`);
    await page.getByText('No merchant has this id').waitFor();
  });

  it.for(['/', '/merchants/42', '/domains/payments'])(
    '%s fits a telephone, in either colour scheme',
    async (path, context) => {
      if (typeof browser === 'string') return context.skip(browser);
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width: 360, height: 740 });
        await page.goto(`${scenario.walhouse.url}${path}`);
        await page.getByRole('heading', { level: 2 }).first().waitFor();
        await page.getByText('Asking…').waitFor({ state: 'hidden' });
        const wide = await page.evaluate('document.documentElement.scrollWidth - window.innerWidth');
        expect(wide, `${path}, ${colorScheme}`).toBeLessThanOrEqual(0);
      }
    },
  );

  it('no page asks another server for anything, or fails', (context) => {
    if (typeof browser === 'string') return context.skip(browser);
    expect(wrong).toEqual([]);
  });
});
