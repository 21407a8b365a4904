import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const SRC = fileURLToPath(new URL('../../src', import.meta.url));

const ROOMS = ['pipeline', 'source', 'sink', 'api', 'ops', 'dev', 'cli'] as const;
type Room = (typeof ROOMS)[number];

interface Rule {
  /** The other rooms that a room may import from. */
  readonly rooms: readonly Room[];
  /** Rooms whose interfaces it may implement: `import type` alone. */
  readonly contracts?: readonly Room[];
  /** Packages that it must not know. */
  readonly never: readonly string[];
}

const POSTGRES = ['pg', 'pg-copy-streams', 'pg-logical-replication'];
const CLICKHOUSE = ['@clickhouse/client'];
const HTTP = ['hono', '@hono/node-server', '@hono/zod-openapi'];
/** Others tell a `Tracer`. */
const TRACING = ['@opentelemetry'];
/** Reading flags and YAML is for cli/ alone. */
const CONFIGURATION = ['commander', 'yaml'];

const RULES: Record<Room, Rule> = {
  pipeline: { rooms: [], never: [...POSTGRES, ...CLICKHOUSE, ...HTTP, ...CONFIGURATION, ...TRACING] },
  source: { rooms: ['pipeline'], never: [...CLICKHOUSE, ...HTTP, ...CONFIGURATION, ...TRACING] },
  sink: { rooms: ['pipeline'], never: [...POSTGRES, ...HTTP, ...CONFIGURATION, ...TRACING] },
  api: { rooms: ['pipeline', 'ops', 'sink'], never: [...POSTGRES, ...CONFIGURATION, ...TRACING] },
  ops: { rooms: ['pipeline', 'source', 'sink'], contracts: ['api'], never: [...CONFIGURATION] },
  dev: { rooms: ['pipeline', 'ops'], never: [...HTTP, ...CONFIGURATION, ...TRACING] },
  cli: { rooms: ['pipeline', 'source', 'sink', 'api', 'ops', 'dev'], never: [] },
};

interface Import {
  readonly specifier: string;
  /** Leaves nothing at run time. */
  readonly typeOnly: boolean;
  /** Loaded when it is asked for. */
  readonly dynamic?: boolean;
}

/** What a file imports, by any of the ways there are: statements, re-exports, dynamic and type-only imports. */
function importsOf(file: string, text: string): Import[] {
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
      const typeOnly = node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword;
      found.push({ specifier: node.moduleSpecifier.text, typeOnly });
    } else if (
      ts.isExportDeclaration(node) &&
      node.moduleSpecifier !== undefined &&
      ts.isStringLiteral(node.moduleSpecifier)
    ) {
      found.push({ specifier: node.moduleSpecifier.text, typeOnly: node.isTypeOnly });
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments;
      const literal = argument !== undefined && ts.isStringLiteralLike(argument);
      found.push({ specifier: literal ? argument.text : '(computed)', typeOnly: false, dynamic: true });
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      if (ts.isStringLiteral(node.argument.literal)) {
        found.push({ specifier: node.argument.literal.text, typeOnly: true });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
  return found;
}

/** Why a file (relative to src/, with slashes) may not import something; null when it may. */
function objection(file: string, { specifier, typeOnly }: Import): string | null {
  const room = file.split('/')[0] as Room;
  const rule = RULES[room];
  // The one place that finds its modules by a convention, in its own room.
  if (specifier === '(computed)' && file === 'dev/generators.ts') return null;
  if (specifier === '(computed)') return `${file} imports a computed path, which no rule can judge`;
  if (!specifier.startsWith('.')) {
    const forbidden = rule.never.some((name) => specifier === name || specifier.startsWith(`${name}/`));
    return forbidden ? `${file} must not know ${specifier}` : null;
  }
  const target = posix.join(posix.dirname(file), specifier);
  if (target.startsWith('..')) return `${file} reaches out of src/ with ${specifier}`;
  const other = target.split('/')[0] as Room;
  if (other === room || rule.rooms.includes(other)) return null;
  if (typeOnly && rule.contracts?.includes(other)) return null;
  return `${file} (${room}) must not import from ${other}: ${specifier}`;
}

function sourceFiles(): string[] {
  return readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => file.split(sep).join('/'));
}

describe('the rooms of src/', () => {
  test('every file is in a room', () => {
    const homeless = sourceFiles().filter((file) => !ROOMS.some((room) => file.startsWith(`${room}/`)));
    expect(homeless).toEqual([]);
  });

  test('nothing is imported against the rules of its room', () => {
    const objections = sourceFiles().flatMap((file) =>
      importsOf(file, readFileSync(join(SRC, file), 'utf8')).flatMap((found) => objection(file, found) ?? []),
    );
    expect(objections).toEqual([]);
  });

  test("OpenTelemetry's libraries are loaded where traces are wanted, and nowhere else", () => {
    const loading = sourceFiles().filter((file) =>
      importsOf(file, readFileSync(join(SRC, file), 'utf8')).some(
        ({ specifier, typeOnly, dynamic }) =>
          !typeOnly && dynamic !== true && /^@opentelemetry\/|\/(tracing|span-queue)\.js$/.test(specifier),
      ),
    );
    expect(loading).toEqual(['ops/span-queue.ts', 'ops/tracing.ts']);
  });

  test.each([
    ['source/slot.ts', '../sink/table.js'],
    ['sink/table.ts', '../source/slot.js'],
    ['sink/insert.ts', 'pg'],
    ['source/slot.ts', '@clickhouse/client'],
    ['source/slot.ts', 'commander'],
    ['pipeline/batch.ts', '../sink/table.js'],
    ['pipeline/batch.ts', 'pg-logical-replication'],
    ['pipeline/applier.ts', '@opentelemetry/api'],
    ['api/routes/risk.ts', '../../source/slot.js'],
    ['ops/status.ts', '../dev/servers/postgres.js'],
    ['dev/payments/traffic.ts', '../../cli/main.js'],
    ['cli/run.ts', '../../test/support/servers.js'],
    ['cli/run.ts', '(computed)'],
  ])('%s may not import %s', (file, specifier) => {
    expect(objection(file, { specifier, typeOnly: false })).not.toBeNull();
  });

  test.each([
    ['source/slot.ts', '../pipeline/lsn.js'],
    ['source/slot.ts', './catalog.js'],
    ['source/slot.ts', 'pg'],
    ['cli/run.ts', '../dev/servers/postgres.js'],
    ['dev/servers/postgres.ts', 'pg'],
    ['pipeline/applier.ts', 'node:events'],
  ])('%s may import %s', (file, specifier) => {
    expect(objection(file, { specifier, typeOnly: false })).toBeNull();
  });

  test('ops may implement what api asks for, and use nothing else of it', () => {
    const specifier = '../api/positions.js';
    expect(objection('ops/positions.ts', { specifier, typeOnly: true })).toBeNull();
    expect(objection('ops/positions.ts', { specifier, typeOnly: false })).not.toBeNull();
  });

  test('imports are found however they are written', () => {
    const text = `
      import a from 'a';
      import type { B } from 'b';
      export * from 'c';
      const d = await import('d');
      type E = import('e').E;
      const f = await import(a);
      // import 'g';
      const h = "import 'h'";
    `;
    const found = importsOf('x.ts', text);
    expect(found.map(({ specifier }) => specifier)).toEqual(['a', 'b', 'c', 'd', 'e', '(computed)']);
    expect(found.map(({ typeOnly }) => typeOnly)).toEqual([false, true, false, false, true, false]);
  });
});
