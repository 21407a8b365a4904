// `npm run check:audit`: whether a dependency of what is installed in production has a vulnerability that is known and high or critical.
// The registry says so, and not every registry does. Where it does not answer, nothing is known: that is said, and is no failure,
// since a change cannot mend it. With `--strict` it is one, for where a release is made.

import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const strict = process.argv.includes('--strict');
const { stdout, stderr, status } = spawnSync('npm', ['audit', '--omit=dev', '--audit-level=high', '--json'], {
  cwd: dirname(dirname(fileURLToPath(import.meta.url))),
  encoding: 'utf8',
  timeout: 60_000,
});
const report = parse(stdout ?? '');

if (report?.auditReportVersion === undefined) {
  const reason = report?.message ?? stderr?.trim().split('\n').at(-1) ?? 'npm did not run';
  console.error(`audit: NOT DONE, nothing is known of the dependencies: ${reason || 'no answer'}`);
  process.exitCode = strict ? 1 : 0;
} else {
  const { vulnerabilities, metadata } = report;
  for (const { name, severity, via, range } of Object.values(vulnerabilities)) {
    const titles = via.flatMap((cause) =>
      typeof cause === 'string' ? [`through ${cause}`] : [`${cause.title} (${cause.url})`],
    );
    console.error(`audit: ${severity}: ${name} ${range}: ${titles.join('; ')}`);
  }
  const { total, high, critical } = metadata.vulnerabilities;
  console.error(
    `audit: ${metadata.dependencies.prod} dependencies, ${total} vulnerable, ${high + critical} of them high or critical`,
  );
  process.exitCode = status === 0 ? 0 : 1;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
