import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { freePort } from '../../src/dev/servers/ports.js';
import { documentBlocks, printsAs } from '../support/document-blocks.js';
import { isThere, programOnPath } from '../support/program.js';
import { Shell } from '../support/shell.js';

const root = mkdtempSync(join(tmpdir(), 'walhouse-tutorial-'));
const folder = join(root, 'empty');
let shell: Shell | null = null;
afterAll(async () => {
  await shell?.close();
  rmSync(root, { recursive: true, force: true });
});

describe('docs/TUTORIAL.md', () => {
  it.skipIf(!isThere('psql') || !isThere('curl') || !isThere('bash'))(
    'does what it says, typed from top to bottom in an empty folder',
    async () => {
      const bin = programOnPath(root);
      mkdirSync(folder);
      const port = String(await freePort());
      shell = new Shell({
        cwd: folder,
        env: { ...process.env, PATH: `${bin}:${process.env['PATH']}`, LC_ALL: 'C.UTF-8' },
      });
      const configuration = join(folder, 'walhouse.yaml');
      let moved = false;
      let ran = 0;
      for (const { language, text, prints } of documentBlocks('docs/TUTORIAL.md')) {
        // Somebody else may listen on the port that everybody has.
        const here = text.replaceAll(':8080', `:${port}`);
        const { code, output } = await shell.run(
          language === 'sql'
            ? `psql "$OWNER_URL" -qX -v ON_ERROR_STOP=1 -o psql.txt <<'SQL'\n${here}\nSQL`
            : here,
        );
        expect(code, `${text}\n${output}`).toBe(0);
        if (prints !== null && !printsAs(prints, output)) expect(output, text).toBe(prints);
        ran += 1;
        if (!moved && existsSync(configuration)) {
          writeFileSync(configuration, readFileSync(configuration, 'utf8').replace(':8080', `:${port}`));
          moved = true;
        }
      }
      expect(ran).toBeGreaterThan(20);
    },
  );
});
