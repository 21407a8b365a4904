import { checkBoth } from '../ops/check/check.js';
import { warned, type Finding } from '../pipeline/finding.js';
import { silentLog } from '../pipeline/log.js';
import { createSinkClient } from '../sink/client.js';
import { isColoured, painted, type Mood } from './colour.js';
import { unprotected, type Config } from './config.js';
import { makeSink } from './service.js';

/**
 * `walhouse check`: every precondition of `run` on both sides, each with its fix. 0 when `run` would start, 1 when something would
 * stop it; warnings do not.
 */
export async function check(config: Config, options: { readonly json: boolean }): Promise<number> {
  const client = createSinkClient(config.sink);
  try {
    const found = await checkBoth({
      source: {
        ...config.source,
        tables: Object.keys(config.tables),
        selections: config.tables,
        log: silentLog,
      },
      client,
      database: config.sink.database,
      history: config.marts.length > 0 || Object.values(config.tables).some(({ history }) => history),
      makeSink: () => makeSink(config, client, silentLog),
    });
    const bare = unprotected(config).map((warning) =>
      warned(
        'encryption',
        warning,
        'give the server a certificate, and say in tls how it is verified (docs/SECURITY.md)',
      ),
    );
    const findings = [...found, ...bare];
    const ok = findings.every((finding) => finding.ok || finding.level === 'warning');
    if (options.json) process.stdout.write(`${JSON.stringify({ ok, checks: findings })}\n`);
    else process.stdout.write(checkText(findings, isColoured()));
    return ok ? 0 : 1;
  } finally {
    await client.close();
  }
}

/** One line a check, its fix below it, and the sum last. */
export function checkText(findings: readonly Finding[], coloured: boolean): string {
  const width = Math.min(40, Math.max(...findings.map(({ name }) => name.length)));
  const lines = findings.flatMap((finding) => {
    const word = wordOf(finding);
    const shown = painted(MOODS[word], word.padEnd(7), coloured);
    const line = `${shown}  ${finding.name.padEnd(width)}  ${finding.detail}`;
    return finding.fix === null ? [line] : [line, `         fix: ${finding.fix}`];
  });
  const count = (word: string): number => findings.filter((finding) => wordOf(finding) === word).length;
  const fails = count('FAIL');
  const sum = `${findings.length} checks: ${fails} failed, ${count('warning')} with a warning`;
  return `${[...lines, '', `${sum}. ${fails === 0 ? 'walhouse run would start.' : 'walhouse run would stop.'}`].join('\n')}\n`;
}

const MOODS = { ok: 'good', warning: 'warning', FAIL: 'bad' } as const satisfies Record<string, Mood>;

function wordOf({ ok, level }: Finding): keyof typeof MOODS {
  if (ok) return 'ok';
  return level === 'warning' ? 'warning' : 'FAIL';
}
