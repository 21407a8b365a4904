import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../src/cli/config.js';
import { isCommandName, parseCommand } from '../support/command-line.js';
import { blocksOf, documentBlocks } from '../support/document-blocks.js';

const ROOT = new URL('../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');
const within = (folder: string): string[] =>
  readdirSync(new URL(folder, ROOT)).flatMap((name) => (name.endsWith('.md') ? [`${folder}/${name}`] : []));
const DOCUMENTS = ['README.md', ...within('docs'), ...within('docs/domains')];
const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };

/** The tests that run all commands of a document, and so need no second look here. */
const COMMANDS_RUN_BY: Readonly<Record<string, string>> = {
  'docs/ANALYSTS.md': 'test/e2e/roles.test.ts',
  'docs/API.md': 'test/e2e/service.test.ts',
  'docs/SECURITY.md': 'test/unit/security-document.test.ts',
  'docs/TUTORIAL.md': 'test/e2e/tutorial.test.ts',
};

/** The tests that run the SQL of a document on real servers. */
const SQL_RUN_BY: Readonly<Record<string, string>> = {
  'docs/ANALYSTS.md': 'test/e2e/roles.test.ts',
  'docs/DOMAINS.md': 'test/e2e/domain-sixth.test.ts',
  'docs/OPERATIONS.md': 'test/e2e/service.test.ts',
  'docs/TUTORIAL.md': 'test/e2e/tutorial.test.ts',
  'docs/TYPES.md': 'test/e2e/service.test.ts',
  'docs/domains/orders.md': 'test/e2e/domains.test.ts',
  'docs/domains/payments.md': 'test/e2e/domains.test.ts',
  'docs/domains/receivables.md': 'test/e2e/domains.test.ts',
};

/** Commands that this test does not try, and why. */
const EXEMPT: Readonly<Record<string, string>> = {
  'docker build --tag walhouse .':
    'there need not be a Docker here; test/e2e/image.test.ts runs it where there is one',
  'docker compose up --build --wait': 'the same; test/unit/compose.test.ts reads its file',
  'cp .env.example .env': 'belongs to docker compose',
  'walhouse COMMAND --help': 'a placeholder; test/unit/cli-help.test.ts reads each of them',
  'npm pack': 'run by test/e2e/package.test.ts',
  'npm install --global ./walhouse-*.tgz': 'the same, into a folder instead of the whole machine',
  'npm ci': 'whoever runs this test has done it',
  'npx vitest run --project unit configuration-document -u': 'writes the file that a test compares',
  'systemctl reload walhouse': 'needs systemd; test/unit/systemd.test.ts reads the unit',
  "curl -s 'http://127.0.0.1:8080/v1/merchants/238/risk'": 'run by test/e2e/service.test.ts',
  'lsn=$(psql "$SOURCE_URL" -Atc \'select pg_current_wal_insert_lsn()\')': 'the same',
  'curl -s "http://127.0.0.1:8080/v1/merchants/238/risk?min_lsn=$lsn&wait_ms=500"': 'the same',
};
const PROGRAMS = /^(walhouse|npm|npx|node|docker|kubectl|systemctl|psql|curl|openssl|cp|export) /;

/** What a block has somebody type, one command each, without comments and variables that are set before it. */
function commandsIn(block: string): string[] {
  return block
    .replaceAll('\\\n', ' ')
    .split('\n')
    .flatMap((line) => line.replace(/(^|\s+)#\s.*$/, '').split(' && '))
    .map((command) => command.trim().replace(/^([A-Z_]+=\S+ )+/, ''))
    .filter((command) => command !== '');
}

const proseOf = (document: string): string => read(document).replaceAll(/^( *)```[\s\S]*?^ *```$/gm, '');

/** The commands of a document: in its blocks, and in the middle of a sentence. */
function commandsOf(document: string): string[] {
  const blocks = document in COMMANDS_RUN_BY ? [] : blocksOf(document, 'sh').flatMap(commandsIn);
  const inline = [...proseOf(document).matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!);
  return [...blocks, ...inline.filter((code) => PROGRAMS.test(code)).flatMap(commandsIn)];
}

const tried = new Set<string>();

/** Why a command cannot be right, or null. */
async function wrongIn(command: string): Promise<string | null> {
  if (command in EXEMPT) {
    tried.add(command);
    return null;
  }
  const words = command.split(/\s+/).map((word) => word.replaceAll(/^["']|["']$/g, ''));
  const ours =
    words[0] === 'walhouse'
      ? words.slice(1)
      : /^node dist\/program\/main\.js /.test(command)
        ? words.slice(2)
        : /^npm run demo\b/.test(command)
          ? ['demo', ...words.slice(4)]
          : null;
  if (ours !== null) {
    // A command that is named and not typed.
    if (ours.length > 0 && isCommandName(ours)) return null;
    return parseCommand(ours).then(
      () => null,
      (error: unknown) => String(error),
    );
  }
  if (words[0] === 'node' && words[1] === '--import')
    return existsSync(new URL(words[3]!, ROOT)) ? null : `there is no ${words[3]}`;
  if (words[0] === 'npx' && words[1] === 'tsx') return null;
  if (words[0] === 'export') return null;
  if (/^(openssl rand -hex 32|psql "\$\w+"|kill -HUP)$/.test(command)) return null;
  if (words[0] !== 'npm') return 'is no command that this test knows';
  const script = words[1] === 'run' ? words[2]! : words[1]!;
  if (!(script in scripts)) return `package.json has no script ${script}`;
  if (script === 'bench' && words[4] !== undefined)
    return existsSync(new URL(`bench/${words[4]}.ts`, ROOT)) ? null : `there is no bench/${words[4]}.ts`;
  if (script === 'chaos') {
    const options = read('test/chaos/main.ts');
    const unknown = words.filter((word) => /^--\w/.test(word) && !options.includes(word.slice(2)));
    return unknown.length === 0 ? null : `unknown: ${unknown.join(', ')}`;
  }
  return null;
}

/** Where a document shows a part of the configuration, it is about tables as a rule. */
const SERVERS = "source: { url: '${SOURCE_URL}' }\nsink: { url: '${CLICKHOUSE_URL}', database: shop }\n";
const VARIABLES = {
  SOURCE_URL: 'postgres://walhouse@db1/shop',
  CLICKHOUSE_URL: 'https://walhouse@clickhouse1:8443',
  WALHOUSE_API_KEYS: `fraud:risk:read:${'0'.repeat(64)}`,
  WALHOUSE_MASK_KEY: '0'.repeat(64),
};
const configurationsOf = (document: string): string[] =>
  blocksOf(document, 'yaml').filter((yaml) => /^tables:/m.test(yaml) && !/^title:/m.test(yaml));

describe('the documents', () => {
  it.each(DOCUMENTS)('%s types only commands that there are, with what they take', async (document) => {
    const wrong: Record<string, string> = {};
    for (const command of new Set(commandsOf(document))) {
      const why = await wrongIn(command);
      if (why !== null) wrong[command] = why;
    }
    expect(wrong).toEqual({});
  });

  it('leave nothing exempt that no document has any more', () => {
    expect(Object.keys(EXEMPT).filter((command) => !tried.has(command))).toEqual([]);
  });

  it('have every query, and every command that is run, in a test that names the document', () => {
    const withSql = DOCUMENTS.filter((document) => blocksOf(document, 'sql').length > 0);
    expect(withSql.sort()).toEqual(Object.keys(SQL_RUN_BY).sort());
    for (const [document, test] of [...Object.entries(SQL_RUN_BY), ...Object.entries(COMMANDS_RUN_BY)]) {
      const named = [document, document.replace(/^docs\//, ''), document.replace(/\w+\.md$/, '${name}.md')];
      const sources = [
        test,
        ...[...read(test).matchAll(/'\.\.\/(support\/[\w-]+)\.js'/g)].map(([, path]) => `test/${path}.ts`),
      ];
      expect(
        sources.some((source) => named.some((name) => read(source).includes(name))),
        `${test}: ${document}`,
      ).toBe(true);
    }
  });

  it.each(DOCUMENTS.filter((document) => configurationsOf(document).length > 0))(
    '%s shows configurations that are taken',
    (document) => {
      for (const yaml of configurationsOf(document)) {
        const whole = /^source:/m.test(yaml) ? yaml : `${SERVERS}${yaml}`;
        expect(() => parseConfig(whole, document, VARIABLES), yaml).not.toThrow();
      }
    },
  );

  it.each(DOCUMENTS)('%s names only files of the repository that there are', (document) => {
    const named = [
      ...read(document).matchAll(/`((?:test|bench|src|clickhouse|postgres|deploy|scripts)\/[\w./-]+\.\w+)`/g),
    ].map(([, path]) => path!);
    const absent = named.filter((path) => !/parcels|NAME/.test(path) && !existsSync(new URL(path, ROOT)));
    expect(absent).toEqual([]);
  });

  it.each(DOCUMENTS)('%s leads nowhere that is not there', (document) => {
    const anchorsOf = (text: string): string[] =>
      [...text.matchAll(/^#{1,4} (.*)$/gm)].map(([, title = '']) =>
        title
          .toLowerCase()
          .replaceAll(/[^\p{L}\p{N}_\- ]/gu, '')
          .replaceAll(' ', '-'),
      );
    // Pictures are for test/e2e/package.test.ts.
    const links = [...read(document).matchAll(/(?<!!\[[^\]]*)\]\((?!https?:)([^)\s]+)\)/g)];
    for (const [, target = ''] of links) {
      const [path = '', anchor] = target.split('#');
      const here = new URL(document, ROOT);
      const file = path === '' ? here : new URL(path, here);
      expect(existsSync(file), target).toBe(true);
      if (anchor !== undefined) expect(anchorsOf(readFileSync(file, 'utf8')), target).toContain(anchor);
    }
  });

  it('say of every block what language it is in, so that none is overlooked', () => {
    const known = ['sh', 'sql', 'xml', 'yaml', 'json', 'ts', 'python', 'mermaid', 'text', 'xml'];
    /** A drawing, and a line of pg_hba.conf. */
    const plain: Readonly<Record<string, number>> = { 'docs/ARCHITECTURE.md': 1, 'docs/SECURITY.md': 1 };
    for (const document of DOCUMENTS) {
      const languages = documentBlocks(document).map(({ language }) => language);
      expect(
        languages.filter((language) => language !== '' && !known.includes(language)),
        document,
      ).toEqual([]);
      expect(
        languages.filter((language) => language === ''),
        document,
      ).toHaveLength(plain[document] ?? 0);
      expect(proseOf(document), document).not.toMatch(/^ {4,}(npm|npx|walhouse) /m);
    }
  });
});
