import { expect, it } from 'vitest';
import { parseConfig } from '../../src/cli/config.js';
import { startService } from '../../src/cli/service.js';
import { freePort } from '../../src/dev/servers/ports.js';
import { silentLog } from '../../src/pipeline/log.js';
import { createDatabases } from '../support/servers.js';

it('a service that is refused at its start says so to who waits for its end, and can be closed all the same', async () => {
  const databases = await createDatabases('refused');
  const config = parseConfig(
    JSON.stringify({
      source: { url: databases.postgresUrl, slot: databases.name, publication: databases.name },
      sink: { url: `http://127.0.0.1:${await freePort()}`, database: databases.clickhouseDatabase },
      tables: { 'public.t': {} },
      api: { listen: `127.0.0.1:${await freePort()}` },
    }),
    'walhouse.json',
    {},
  );
  try {
    const service = await startService(config, silentLog);
    await expect(service.finished).rejects.toMatchObject({ kind: 'sink_unreachable' });
    await service.close();
  } finally {
    await databases.close();
  }
});
