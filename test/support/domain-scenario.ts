import { readFileSync } from 'node:fs';
import { readDomains } from '../../src/cli/domain.js';
import { expectMartsEqual } from './marts.js';
import { Scenario, type Decoder } from './scenario.js';

/** A domain as it is described, followed by a service of its own. */
export interface DomainScenario {
  readonly scenario: Scenario;
  /** The questions of its marts in SQL on Postgres, by the mart's name. */
  readonly oracles: ReadonlyMap<string, string>;
  /** Sets every mart, or these views, against its question in SQL on Postgres. */
  expectMarts(views?: Iterable<readonly [view: string, sql: string]>): Promise<void>;
  /** Asks ClickHouse; `{database}` is where the marts are. */
  ask<Row = Record<string, unknown>>(sql: string): Promise<Row[]>;
}

/** Makes the domain's tables, carries out `sql`, and starts the service; resolves once all of that has been applied. */
export async function openDomain(
  name: string,
  options: { readonly sql?: string; readonly decoder?: Decoder } = {},
): Promise<DomainScenario> {
  const [domain] = await readDomains(name);
  const oracles = new Map(domain!.oracles.map(({ mart, sql }) => [mart, sql]));
  const scenario = await Scenario.open(`domain_${name}`, {
    schema: readFileSync(new URL(`../../postgres/${name}.sql`, import.meta.url), 'utf8'),
    tables: domain!.tables as Record<string, object | null>,
    marts: [name],
    ...(options.decoder === undefined ? {} : { decoder: options.decoder }),
  });
  if (options.sql !== undefined) await scenario.sql(options.sql);
  await scenario.walhouse.start();
  await scenario.applied();
  const { databases } = scenario;
  return {
    scenario,
    oracles,
    expectMarts: (views = oracles) => expectMartsEqual(scenario, views),
    ask: (sql) => databases.clickhouse(sql.replaceAll('{database}', databases.clickhouseDatabase)),
  };
}
