import { afterEach, describe, expect, inject, it } from 'vitest';
import { readDomains } from '../../src/cli/domain.js';
import { LiveTraffic } from '../../src/dev/traffic.js';
import { silentLog } from '../../src/pipeline/log.js';
import { blocksOf } from '../support/document-blocks.js';
import { expectMartsEqual } from '../support/marts.js';
import { Scenario, type Decoder } from '../support/scenario.js';

const domains = await readDomains(process.env['DOMAIN'] ?? 'all');
const DECODERS: readonly Decoder[] = ['pgoutput', 'wal2json'];
/** Transactions between two looks, and how fast they come. */
const TRANSACTIONS = 120;
const PER_SECOND = 500;

let scenario: Scenario | null = null;
let traffic: LiveTraffic | null = null;
afterEach(async () => {
  await traffic?.stop().catch(() => {});
  await scenario?.close();
  traffic = scenario = null;
});

/** Lets so many more transactions be made, then nothing. */
async function more(playing: LiveTraffic): Promise<void> {
  const wanted = playing.transactions + TRANSACTIONS;
  playing.resume();
  await expect.poll(() => playing.transactions, { timeout: 60_000, interval: 20 }).toBeGreaterThan(wanted);
  await playing.pause();
}

/** Every picture of the domain's page has rows, and the columns that it draws, as numbers. */
async function expectPictures({ walhouse }: Scenario, name: string): Promise<void> {
  const response = await fetch(`${walhouse.url}/v1/domains/${name}`);
  const page = (await response.json()) as DomainDocument;
  expect(response.status, JSON.stringify(page)).toBe(200);
  expect(page.pictures.length, `${name} has two or three pictures`).toBeGreaterThanOrEqual(2);
  for (const { id, x, y, columns, rows } of page.pictures) {
    expect(rows.length, id).toBeGreaterThan(0);
    const names = columns.map((column) => column.name);
    if (x !== null) expect(names, id).toContain(x);
    for (const drawn of y) {
      const place = names.indexOf(drawn);
      expect(place, `${id} has ${drawn}`).toBeGreaterThanOrEqual(0);
      for (const row of rows) expect(Number.isFinite(Number(row[place])), `${id}: ${drawn}`).toBe(true);
    }
  }
}

/** What docs/domains/NAME.md shows to ask is understood; a query that finds nothing is one too. */
async function expectDocumented({ databases }: Scenario, name: string): Promise<void> {
  for (const sql of blocksOf(`docs/domains/${name}.md`, 'sql'))
    await databases.clickhouse(sql.replaceAll('shop.', `${databases.clickhouseDatabase}.`));
}

/** What analysts see says what it is: every view and each of its columns. */
async function expectComments({ databases }: Scenario): Promise<void> {
  const views = `database = '${databases.clickhouseDatabase}' and engine = 'View'`;
  const bare = await databases.clickhouse(
    `select name as view, '' as column from system.tables where ${views} and comment = ''
     union all
     select table, name from system.columns where database = '${databases.clickhouseDatabase}' and comment = ''
        and table in (select name from system.tables where ${views})`,
  );
  expect(bare).toEqual([]);
}

interface DomainDocument {
  readonly pictures: readonly {
    readonly id: string;
    readonly x: string | null;
    readonly y: readonly string[];
    readonly columns: readonly { readonly name: string }[];
    readonly rows: readonly (readonly unknown[])[];
  }[];
}

// DOMAIN=receivables runs one alone. That a decoder makes no difference is for other tests; here each has its turn.
describe.each(domains.map((domain, index) => ({ name: domain.name, domain, decoder: DECODERS[index % 2]! })))(
  'the marts of $name equal the same questions on Postgres',
  ({ domain, decoder }) => {
    it(`after a snapshot, live changes, a kill, changes while away and redelivery, with ${decoder}`, async (context) => {
      if (decoder === 'wal2json' && !inject('servers').hasWal2json) context.skip();
      scenario = await Scenario.open(`domain_${domain.name}`, {
        schema: '',
        tables: domain.tables as Record<string, object | null>,
        marts: [domain.name],
        decoder,
      });
      const oracles = domain.oracles.map(({ mart, sql }) => [mart, sql] as const);
      const generator = domain.generator.createGenerator({ seed: 1 });
      const url = scenario.databases.postgresUrl;
      traffic = new LiveTraffic(generator, { url, seed: 1, ratePerSecond: PER_SECOND, log: silentLog });
      await traffic.load();
      await scenario.walhouse.start();
      await scenario.expectEqual();
      await expectMartsEqual(scenario, oracles, { shown: true });
      await expectComments(scenario);
      await expectDocumented(scenario, domain.name);

      await traffic.start();
      await more(traffic);
      await scenario.walhouse.kill();
      await more(traffic);
      await scenario.walhouse.start();
      await scenario.rememberPlace();
      await more(traffic);
      await scenario.expectEqual();
      await expectMartsEqual(scenario, oracles, { shown: true });
      await expectPictures(scenario, domain.name);

      await scenario.deliverAgain();
      await scenario.expectEqual();
      await expectMartsEqual(scenario, oracles, { shown: true });
    });
  },
);
