import { describe, expect, test } from 'vitest';
import { parseConfig, unprotected } from '../../src/cli/config.js';
import { protectionOf as sinkProtectionOf } from '../../src/sink/tls.js';
import { clientConfig, protectionOf } from '../../src/source/connection.js';

const FULL = { verify: 'full' };

describe('the URL of Postgres', () => {
  test.each([
    ['postgres://u@db1/d', FULL],
    ['postgres://u@10.0.0.1/d', FULL],
    ['postgres://u@127.0.0.1/d', 'off'],
    ['postgres://u@localhost/d', 'off'],
    ['postgres://u@[::1]:5432/d', 'off'],
    ['postgres:///d?host=/var/run/postgresql', 'off'],
    ['postgres:///d', 'off'],
    ['postgres://u@localhost/d?host=db1', FULL],
    ['postgres://u@localhost/d?host=localhost&host=db1', FULL],
    ['postgres://u@localhost.evil.example/d', FULL],
    ['postgres://u@127.0.0.1/d?sslmode=require', FULL],
    ['postgres://u@db1/d?sslmode=require', FULL],
    ['postgres://u@db1/d?sslmode=require&uselibpqcompat=true', FULL],
    ['postgres://u@db1/d?sslmode=verify-full&sslrootcert=ca.pem', { ...FULL, ca: 'ca.pem' }],
    ['postgres://u@db1/d?sslrootcert=system', FULL],
    ['postgres://u@127.0.0.1/d?sslrootcert=ca.pem', { ...FULL, ca: 'ca.pem' }],
    ['postgres://u@db1/d?sslmode=verify-ca&sslcert=c&sslkey=k', { verify: 'ca', cert: 'c', key: 'k' }],
    ['postgres://u@db1/d?ssl=true', FULL],
    ['postgres://u@db1/d?ssl=0', 'off'],
    ['postgres://u@db1/d?sslmode=no-verify', { verify: 'none' }],
    ['postgres://u@db1/d?sslmode=disable', 'off'],
  ])('%s means %j', (url, expected) => {
    expect(protectionOf(url).tls).toEqual(expected);
  });

  test.each(['prefer', 'allow', 'verify_full', ''])('with sslmode=%s is refused', (mode) => {
    expect(() => protectionOf(`postgres://u:planted@db1/d?sslmode=${mode}`)).toThrowError(
      /config_invalid: sslmode in source\.url.*Fix: set sslmode to verify-full/,
    );
  });

  test.each(['PGSSLMODE', 'NODE_TLS_REJECT_UNAUTHORIZED', 'PGHOST'])(
    'is not weakened by %s in the environment',
    (name) => {
      const before = process.env[name];
      process.env[name] = { PGSSLMODE: 'disable', PGHOST: 'db2' }[name] ?? '0';
      try {
        expect(clientConfig('postgres://u@db1/d', 'sql').ssl).toMatchObject({ rejectUnauthorized: true });
        expect(clientConfig('postgres:///d', 'sql').connectionString).toContain('host=localhost');
        expect(clientConfig('postgres:///d', 'sql').ssl).toBe(false);
      } finally {
        if (before === undefined) delete process.env[name];
        else process.env[name] = before;
      }
    },
  );

  test('says nothing of TLS any more when the driver gets it', () => {
    const url = 'postgres://u@db1/d?sslmode=disable&ssl=0&uselibpqcompat=true';
    expect(clientConfig(url, 'sql').connectionString).not.toMatch(/ssl|libpq/);
  });
});

describe('the URL of ClickHouse', () => {
  test.each([
    ['http://127.0.0.1:8123', undefined, null],
    ['http://localhost:8123', undefined, null],
    ['http://clickhouse1:8123', 'off', null],
    ['https://clickhouse1:8443', undefined, FULL],
    ['https://127.0.0.1:8443', undefined, FULL],
    ['https://clickhouse1:8443', { verify: 'none' }, { verify: 'none' }],
  ] as const)('%s with %j means %j', (url, tls, expected) => {
    expect(sinkProtectionOf({ url, tls }).tls).toEqual(expected);
  });

  test.each([
    ['http://u:planted@clickhouse1:8123', undefined, /clickhouse1 by http.*sink\.tls: off/],
    ['http://127.0.0.1:8123', FULL, /sink\.tls is set, and sink\.url is http\./],
    ['https://clickhouse1', 'off', /sink\.tls is off, and sink\.url is https/],
  ] as const)('%s with %j is refused', (url, tls, message) => {
    expect(() => sinkProtectionOf({ url, tls: tls as 'off' })).toThrowError(message);
    expect(() => sinkProtectionOf({ url, tls: tls as 'off' })).not.toThrowError(/planted/);
  });
});

describe('source.tls and sink.tls', () => {
  const parse = (source: string, sink: string) =>
    parseConfig(
      `{ source: { ${source} }, sink: { ${sink}, database: d }, tables: { public.t: {} } }`,
      'walhouse.yaml',
      {},
    );
  const https = "url: 'https://clickhouse1'";

  test('are taken up, and what is less than they should be is a warning', () => {
    const bare = parse(`url: 'postgres://db1/d', tls: off`, `url: 'http://clickhouse1', tls: off`);
    expect(unprotected(bare)).toEqual([
      expect.stringContaining('Postgres at db1 is not encrypted'),
      expect.stringContaining('ClickHouse at clickhouse1 is not encrypted'),
    ]);
    const blind = parse(`url: 'postgres://db1/d', tls: { verify: none }`, `${https}, tls: { verify: none }`);
    expect(unprotected(blind)).toHaveLength(2);
    const good = parse(`url: 'postgres://db1/d', tls: { ca: a, cert: b, key: c }`, https);
    expect(unprotected(good)).toEqual([]);
    expect(protectionOf(good.source.url).tls).toEqual({ ca: 'a', cert: 'b', key: 'c', verify: 'full' });
    expect(unprotected(parse(`url: 'postgres://127.0.0.1/d'`, `url: 'http://127.0.0.1'`))).toEqual([]);
  });

  test('that contradict the URLs, or themselves, are mistakes, told all at once', () => {
    expect(() =>
      parse(`url: 'postgres://db1/d?sslmode=require', tls: { ca: a }`, `url: 'http://clickhouse1'`),
    ).toThrowError(
      /2 mistakes:\n.*source\.url has sslmode besides.*\n.*sink\.url reaches ClickHouse at clickhouse1 by http/,
    );
    expect(() => parse(`url: 'postgres://db1/d', tls: { cert: a }`, https)).toThrowError(
      /source\.tls: must have both cert and key/,
    );
    expect(() => parse(`url: 'postgres://db1/d', tls: on`, https)).toThrowError(
      /source\.tls.*must be off, or some of/,
    );
  });

  test('name files that must be there, and PEM', () => {
    const full = (ca: string) =>
      clientConfig(parse(`url: 'postgres://db1/d', tls: { ca: ${ca} }`, https).source.url, 'sql');
    expect(() => full('/nowhere/ca.pem')).toThrowError(
      /config_invalid: source\.tls\.ca: \/nowhere\/ca\.pem cannot be read \(ENOENT\)/,
    );
    expect(() => full('package.json')).toThrowError(
      /config_invalid: source\.tls\.ca: package\.json is not a PEM file/,
    );
  });
});
