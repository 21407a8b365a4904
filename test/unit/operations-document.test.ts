import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const root = new URL('../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');
const pathOf = (path: string): string => fileURLToPath(new URL(path, root));

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook: string };
}

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly description?: string;
  readonly targets?: readonly { readonly expr: string }[];
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
}

const alerts = parse(read('deploy/prometheus/walhouse-alerts.yaml')) as { groups: { rules: Rule[] }[] };
const rules = alerts.groups.flatMap((group) => group.rules);
const board = JSON.parse(read('deploy/grafana/walhouse.json')) as { panels: Panel[] };
const queries = board.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
const operations = read('docs/OPERATIONS.md');

/** Each metric with its kind, and the labels that it may be asked by. */
const metrics = new Map(
  [...read('docs/METRICS.md').matchAll(/^\| `(\w+)` +\| (\w+) +\|([^|]*)\|/gm)].map(
    ([, name, kind, labels]) => [
      name!,
      { kind: kind!, labels: [...labels!.matchAll(/`(\w+)`/g)].map((match) => match[1]!) },
    ],
  ),
);

/** What an expression asks for that GET /metrics does not show: metrics, or labels of theirs. */
function unknownIn(expr: string): string[] {
  const unknown: string[] = [];
  for (const [, asked = '', selector = ''] of expr.matchAll(
    /\b((?:walhouse|nodejs|process)_\w+|up)(?:\{([^}]*)\})?/g,
  )) {
    if (asked === 'up') continue;
    const name = metrics.has(asked) ? asked : asked.replace(/_(bucket|sum|count)$/, '');
    const metric = metrics.get(name);
    if (metric === undefined || (name !== asked && metric.kind !== 'histogram')) unknown.push(asked);
    for (const [, label = ''] of selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)) {
      if (!['job', 'instance', 'le', ...(metric?.labels ?? [])].includes(label))
        unknown.push(`${asked}{${label}}`);
    }
  }
  return unknown;
}

const promtool = ((): boolean => {
  try {
    execFileSync('promtool', ['--version'], { stdio: 'pipe' });
    return true;
  } catch {
    return false;
  }
})();

describe('the alerts', () => {
  it('ask only for metrics and labels that there are', () => {
    expect(rules.length).toBeGreaterThan(10);
    for (const { alert, expr } of rules) expect(unknownIn(expr), alert).toEqual([]);
  });

  it('each have a severity, words for a person, and a section of docs/OPERATIONS.md that says what to do', () => {
    for (const { alert, labels, annotations } of rules) {
      expect(labels.severity).toMatch(/^(critical|warning)$/);
      expect(annotations.summary).toMatch(/\.$/);
      expect(annotations.description).toMatch(/\.$/);
      expect(annotations.runbook).toBe(`docs/OPERATIONS.md#${alert.toLowerCase()}`);
    }
    const [, chapter = ''] = /\n## Alerts\n([\s\S]*?)\n## /.exec(operations) ?? [];
    const sections = chapter.split(/^### /m).slice(1);
    expect(sections.map((section) => section.split('\n')[0])).toEqual(rules.map(({ alert }) => alert));
    for (const section of sections) {
      for (const part of ['**Means:**', '**Look at', '**Type:**']) expect(section).toContain(part);
    }
  });

  it.skipIf(!promtool)('are taken by promtool, and fire when they should and only then', () => {
    const run = (...args: string[]): string =>
      execFileSync('promtool', args, { cwd: pathOf('deploy/prometheus'), stdio: 'pipe', encoding: 'utf8' });
    expect(run('check', 'rules', 'walhouse-alerts.yaml')).toContain(`SUCCESS: ${rules.length} rules found`);
    expect(run('check', 'config', '--syntax-only', 'prometheus.yml')).toContain('SUCCESS');
    expect(run('test', 'rules', 'walhouse-alerts.test.yaml')).toContain('SUCCESS');
  });

  it('are each made to fire by a test of their own', () => {
    const tests = read('deploy/prometheus/walhouse-alerts.test.yaml');
    for (const { alert } of rules) expect(tests).toContain(alert);
  });
});

describe('the Grafana board', () => {
  it('asks only for metrics and labels that there are', () => {
    expect(queries.length).toBeGreaterThan(20);
    for (const expr of queries) expect(unknownIn(expr), expr).toEqual([]);
  });

  it('says what each panel shows, and lays none over another', () => {
    const panels = board.panels.filter(({ type }) => type !== 'row');
    const cells = new Set<string>();
    for (const { title, description, gridPos } of board.panels) {
      if (panels.some((panel) => panel.title === title)) expect(description, title).toBeTruthy();
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect(cells.has(`${x},${y}`), title).toBe(false);
          cells.add(`${x},${y}`);
        }
      }
    }
  });

  it.skipIf(!promtool)('asks in PromQL that promtool understands', () => {
    const folder = mkdtempSync(join(tmpdir(), 'walhouse-board-'));
    try {
      const recorded = queries.map((expr, index) => ({
        record: `board:${index}`,
        expr: expr.replaceAll('$__rate_interval', '1m').replaceAll(/\$(job|instance)/g, 'x'),
      }));
      const file = join(folder, 'board.yaml');
      writeFileSync(file, JSON.stringify({ groups: [{ name: 'board', rules: recorded }] }));
      expect(execFileSync('promtool', ['check', 'rules', file], { encoding: 'utf8' })).toContain('SUCCESS');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
