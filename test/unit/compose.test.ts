import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { z } from 'zod';

import { parseConfig } from '../../src/cli/config.js';

const root = new URL('../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');

/**
 * The part of the Compose specification that our file uses, told strictly: an unknown key or a value of the wrong kind fails
 * (https://github.com/compose-spec/compose-spec, chapters 05 services and 07 volumes).
 */
const duration = z.string().regex(/^(\d+(us|ms|s|m|h))+$/);
const name = z.string().regex(/^[a-zA-Z0-9._-]+$/);
const service = z.strictObject({
  profiles: z.array(name).optional(),
  build: z.string().optional(),
  image: z.string().optional(),
  entrypoint: z.array(z.string()).optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).optional(),
  volumes: z.array(z.string().regex(/^[^:]+:\/[^:]+(:ro)?$/)).optional(),
  ports: z.array(z.string()).optional(),
  depends_on: z.record(name, z.strictObject({ condition: z.literal('service_healthy') })).optional(),
  healthcheck: z
    .strictObject({
      test: z.tuple([z.literal('CMD')], z.string()),
      interval: duration,
      timeout: duration,
      retries: z.int().positive(),
      start_period: duration,
    })
    .optional(),
  ulimits: z.record(z.string(), z.strictObject({ soft: z.int(), hard: z.int() })).optional(),
  read_only: z.boolean().optional(),
  tmpfs: z.array(z.string().startsWith('/')).optional(),
  cap_drop: z.array(z.string()).optional(),
  security_opt: z.array(z.string()).optional(),
  shm_size: z
    .string()
    .regex(/^\d+[bkmg]b?$/)
    .optional(),
  stop_grace_period: duration.optional(),
  restart: z.enum(['no', 'always', 'on-failure', 'unless-stopped']).optional(),
});
const composeFile = z.strictObject({
  services: z.record(name, service),
  volumes: z.record(name, z.strictObject({})),
});

const text = read('docker-compose.yml');
const compose = composeFile.parse(parse(text));
const services = Object.entries(compose.services);
const dockerfile = read('Dockerfile');

const VARIABLES = {
  POSTGRES_PASSWORD: 'a',
  WALHOUSE_PASSWORD: 'b',
  CLICKHOUSE_PASSWORD: 'c',
  WALHOUSE_API_KEYS: `fraud:risk:read:${'0'.repeat(64)}`,
};

describe('docker-compose.yml', () => {
  it('starts Walhouse only when both databases are healthy, and each says what healthy means', () => {
    expect(compose.services['walhouse']?.depends_on).toEqual({
      postgres: { condition: 'service_healthy' },
      clickhouse: { condition: 'service_healthy' },
    });
    expect(compose.services['postgres']?.healthcheck).toBeDefined();
    expect(compose.services['clickhouse']?.healthcheck).toBeDefined();
    expect(dockerfile).toMatch(/^HEALTHCHECK .*\n.*\/healthz/m);
  });

  it('publishes nothing beyond 127.0.0.1', () => {
    const ports = services.flatMap(([, { ports: published = [] }]) => published);
    expect(ports).toHaveLength(5);
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\$\{[A-Z]+_PORT:-\d+\}:\d+$/);
  });

  it('holds no secret: every password must be given, and .env.example names each one, empty', () => {
    const required = [...text.matchAll(/\$\{([A-Z_]+):\?/g)].map((match) => match[1]);
    expect([...new Set(required)].sort()).toEqual(Object.keys(VARIABLES).sort());
    const example = read('.env.example')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    const optional = [...text.matchAll(/\$\{([A-Z_]+):-\}/g)].map((match) => match[1]);
    const named = [...Object.keys(VARIABLES), ...optional].map((variable) => `${variable}=`);
    expect(example.sort()).toEqual(named.sort());
    for (const [, { environment = {}, profiles }] of services) {
      for (const [key, value] of Object.entries(environment)) {
        // What is started only when asked for refuses by itself, or its secrets would have to be given by all.
        const given = profiles === undefined ? /\$\{[A-Z_]+:\?/ : /^\$\{[A-Z_]+:-\}$/;
        if (/PASSWORD|KEY|URL/.test(key)) expect(value).toMatch(given);
      }
    }
  });

  it('starts Prometheus and Grafana only when they are asked for, and not without their secrets', () => {
    const asked = services.filter(([, { profiles }]) => profiles?.includes('observability') === true);
    expect(asked.map(([id]) => id)).toEqual(['prometheus', 'grafana']);
    for (const [, { profiles, depends_on: needed = {} }] of services) {
      if (profiles === undefined) for (const [id] of asked) expect(needed).not.toHaveProperty(id);
    }
    for (const [, { command = [], environment = {} }] of asked) {
      const secret = Object.keys(environment).find((key) => /PASSWORD|KEY/.test(key));
      expect(command.join('\n')).toMatch(
        new RegExp(`^test -n "\\$\\$${secret}" \\|\\| \\{ .*exit 1; \\}$`, 'm'),
      );
    }
    const prometheus = read('deploy/prometheus/prometheus.yml');
    expect(prometheus).toContain('credentials_file: /run/walhouse/metrics_key');
    expect(prometheus).toContain('targets: [walhouse:8080]');
  });

  it('keeps the data in volumes that it declares', () => {
    const used = services.flatMap(([, { volumes = [] }]) =>
      volumes.map((volume) => volume.split(':')[0] ?? ''),
    );
    const named = used.filter((source) => !source.startsWith('.'));
    expect(named.sort()).toEqual(Object.keys(compose.volumes).sort());
    for (const path of used.filter((source) => source.startsWith('.'))) {
      expect(existsSync(new URL(path, root)), path).toBe(true);
    }
  });

  it('pins every image to a release', () => {
    const images = [...services.map(([, { image }]) => image ?? '')];
    const bases = [...`${dockerfile}\n${read('postgres/Dockerfile')}`.matchAll(/^FROM (\S+)/gm)].map(
      (match) => match[1] ?? '',
    );
    for (const image of [...images, ...bases]) {
      expect(image).toMatch(/^[\w/.-]+:[\w.-]+$/);
      expect(image).not.toMatch(/:latest$/);
    }
  });

  it('gives the service a configuration that it takes', () => {
    const config = parseConfig(read('walhouse.compose.yaml'), 'walhouse.compose.yaml', {
      ...VARIABLES,
      SOURCE_URL: 'postgres://walhouse:b@postgres:5432/shop',
      CLICKHOUSE_URL: 'http://walhouse:c@clickhouse:8123',
    });
    expect(config.api.listen).toBe('0.0.0.0:8080');
    expect(Object.keys(config.tables)).toEqual(['public.merchants', 'public.payments']);
    const given = Object.keys(compose.services['walhouse']?.environment ?? {}).sort();
    const wanted = [...read('walhouse.compose.yaml').matchAll(/: \$\{([A-Z_]+)\}/g)].map((match) => match[1]);
    expect(given).toEqual(wanted.sort());
  });

  const tool = (['docker-compose', 'docker'] as const).find((command) => {
    try {
      execFileSync(command, command === 'docker' ? ['compose', 'version'] : ['version'], { stdio: 'pipe' });
      return true;
    } catch {
      return false;
    }
  });

  it.skipIf(tool === undefined)('is taken by Compose itself, and refused while a password is missing', () => {
    const config = (variables: Record<string, string>) =>
      execFileSync(tool!, [...(tool === 'docker' ? ['compose'] : []), '-f', 'docker-compose.yml', 'config'], {
        cwd: root,
        env: {
          PATH: process.env['PATH'],
          HOME: process.env['HOME'],
          COMPOSE_DISABLE_ENV_FILE: '1',
          ...variables,
        },
        stdio: 'pipe',
        encoding: 'utf8',
      });
    expect(config(VARIABLES)).toContain('service_healthy');
    expect(() => config({ ...VARIABLES, WALHOUSE_PASSWORD: '' })).toThrow(/\.env\.example/);
  });
});

describe('the image', () => {
  it('is run by nobody, and carries production dependencies only', () => {
    const final = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));
    expect(final).toMatch(/^USER 65534:65534$/m);
    expect(final).toContain('COPY --from=dependencies /app/node_modules');
    expect(dockerfile).toContain('npm ci --omit=dev');
  });

  it('finds in its build context everything that it copies', () => {
    const allowed = read('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1));
    const copied = [...dockerfile.matchAll(/^COPY (?!--from)(.+)$/gm)].flatMap((match) =>
      (match[1] ?? '').split(' ').slice(0, -1),
    );
    expect(copied.length).toBeGreaterThan(5);
    for (const path of copied) {
      expect(existsSync(new URL(path, root)), path).toBe(true);
      expect(
        allowed.some((entry) => path === entry || path.startsWith(`${entry}/`)),
        path,
      ).toBe(true);
    }
  });
});
