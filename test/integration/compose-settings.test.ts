import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parse } from 'yaml';

import { createDatabases, type TestDatabases } from '../support/servers.js';

let databases: TestDatabases;

beforeAll(async () => {
  databases = await createDatabases('compose_settings');
});

afterAll(() => databases.close());

it("docker-compose.yml gives Postgres the settings that the tests' server has", async () => {
  const compose = parse(readFileSync(new URL('../../docker-compose.yml', import.meta.url), 'utf8')) as {
    services: { postgres: { command: string[] } };
  };
  const settings = compose.services.postgres.command.filter((argument) => argument.includes('='));
  expect(settings.length).toBeGreaterThan(5);
  for (const setting of settings) {
    const [name = '', value] = setting.split('=');
    const [row] = await databases.postgres<{ value: string }>('select current_setting($1) as value', [name]);
    expect(`${name}=${row?.value}`).toBe(`${name}=${value}`);
  }
});
