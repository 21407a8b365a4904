import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const SCRIPT = fileURLToPath(new URL('../../scripts/audit.mjs', import.meta.url));

const ADVISORY = {
  id: 1,
  url: 'https://example.org/advisory',
  title: 'Something bad',
  severity: 'high',
  vulnerable_versions: '*',
  cwe: [],
  cvss: { score: 8, vectorString: null },
};

/** Runs the script against a registry that says `body` of all that it is asked about. */
async function audit(
  status: number,
  body: object,
  ...args: string[]
): Promise<{ code: number; text: string }> {
  const registry = createServer((request, response) => {
    request.resume().on('end', () => {
      const asked = request.method === 'POST' && request.url?.endsWith('/advisories/bulk') === true;
      response
        .writeHead(asked ? status : 404, { 'content-type': 'application/json' })
        .end(JSON.stringify(asked ? body : {}));
    });
  });
  await once(registry.listen(0, '127.0.0.1'), 'listening');
  try {
    const child = spawn(process.execPath, [SCRIPT, ...args], {
      env: {
        ...process.env,
        npm_config_registry: `http://127.0.0.1:${(registry.address() as AddressInfo).port}/`,
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let text = '';
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
    const [code] = (await once(child, 'close')) as [number];
    return { code, text };
  } finally {
    registry.close();
  }
}

describe('npm run check:audit', () => {
  test('passes where nothing is known against a dependency', async () => {
    const { code, text } = await audit(200, {});
    expect(text).toMatch(/audit: \d+ dependencies, 0 vulnerable/);
    expect(code).toBe(0);
  });

  test('fails for a high vulnerability of what production has, and names it', async () => {
    const { code, text } = await audit(200, { pg: [ADVISORY] });
    expect(text).toMatch(/audit: high: pg .*Something bad \(https:\/\/example\.org\/advisory\)/);
    expect(code).toBe(1);
  });

  test('says that it knows nothing where the registry does not answer, which fails a release and not a change', async () => {
    expect(await audit(405, {})).toMatchObject({
      code: 0,
      text: expect.stringMatching(/NOT DONE.*405/) as unknown,
    });
    expect(await audit(405, {}, '--strict')).toMatchObject({ code: 1 });
  });
});
