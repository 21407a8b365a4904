import { chmodSync, chownSync, copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { load } from '../../src/cli/load.js';
import { serverAccount } from '../../src/dev/servers/account.js';
import { startClickHouse, type LocalClickHouse } from '../../src/dev/servers/clickhouse.js';
import { startPostgres, type LocalPostgres } from '../../src/dev/servers/postgres.js';
import { WalhouseError } from '../../src/pipeline/errors.js';
import type { Tls } from '../../src/pipeline/tls.js';
import { createSinkClient } from '../../src/sink/client.js';
import { sinkFailure } from '../../src/sink/failure.js';
import { connect, type ConnectionKind } from '../../src/source/connection.js';
import { withTls } from '../../src/source/tls.js';
import { Certificates, type Authority, type Certificate } from '../support/certificates.js';
import { cli } from '../support/cli.js';
import { createDatabases, type TestDatabases } from '../support/servers.js';
import { TlsFront } from '../support/tls-front.js';
import { Walhouse } from '../support/walhouse.js';

/** A server of Node's own, such as the one before ClickHouse here, ends the connection without a word. */
const CUT = /refused our client certificate|sink_unreachable/;
const PASSWORD = 'only-under-tls';

/** The test itself is `default`. */
const USERS = `<clickhouse>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users>
    <default><no_password/><profile>default</profile><quota>default</quota></default>
    <walhouse><password>${PASSWORD}</password><profile>default</profile><quota>default</quota></walhouse>
  </users>
</clickhouse>`;

describe.skipIf(!Certificates.available())('with TLS, which takes openssl to be tested', () => {
  const certificates = new Certificates();
  let ours: Authority;
  let theirs: Authority;
  let me: Certificate;
  let expired: Certificate;
  let server: LocalPostgres;
  let clickhouse: LocalClickHouse;
  let front: TlsFront;
  let databases: TestDatabases;
  let walhouse: Walhouse;

  /** As the role that is let in by TLS alone. */
  const url = (host = 'localhost'): string => {
    const parsed = new URL(databases.postgresUrl);
    Object.assign(parsed, { hostname: host, username: 'walhouse', password: PASSWORD });
    return parsed.href;
  };
  const sinkUrl = (host = 'localhost', user = `walhouse:${PASSWORD}@`): string =>
    `https://${user}${host}:${front.port}`;
  const mine = (): Tls => ({ ca: ours.ca, cert: me.cert, key: me.key, verify: 'full' });

  /** Puts a certificate where Postgres reads it; what connects from then on gets it. */
  function install({ cert, key }: Certificate): void {
    for (const [from, name] of [
      [cert, 'server.pem'],
      [key, 'server.key'],
    ] as const) {
      const to = join(certificates.directory, name);
      copyFileSync(from, to);
      chmodSync(to, 0o600);
      const account = serverAccount(null);
      if (account !== null) chownSync(to, account.uid, account.gid);
    }
  }

  beforeAll(async () => {
    const { directory } = certificates;
    // The server does not run as root, where we do.
    chmodSync(directory, 0o711);
    ours = certificates.authority();
    theirs = certificates.authority();
    me = ours.issue('walhouse');
    expired = ours.issue('walhouse', { names: 'DNS:localhost', expired: true });
    const serving = ours.issue('server', { names: 'DNS:localhost' });
    install(serving);
    chmodSync(ours.ca, 0o644);
    const hba = join(directory, 'hba.conf');
    writeFileSync(
      hba,
      'host all postgres 127.0.0.1/32 scram-sha-256\nhostssl all walhouse 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n',
    );
    chmodSync(hba, 0o644);
    server = await startPostgres({
      log: () => undefined,
      settings: {
        ssl: 'on',
        ssl_cert_file: join(directory, 'server.pem'),
        ssl_key_file: join(directory, 'server.key'),
        ssl_ca_file: ours.ca,
        hba_file: hba,
      },
    });
    const users = join(directory, 'users.xml');
    const configFile = join(directory, 'config.xml');
    writeFileSync(users, USERS);
    writeFileSync(configFile, `<clickhouse><users_config>${users}</users_config></clickhouse>`);
    clickhouse = await startClickHouse({ configFile, log: () => undefined });
    front = await TlsFront.before(clickhouse.url, serving, ours);
    databases = await createDatabases('tls', { postgres: server.url, clickhouse: clickhouse.url });
    await databases.postgres(`
      create role walhouse login replication password '${PASSWORD}';
      create table merchants (id int primary key, name text);
      insert into merchants select i, 'm' || i from generate_series(1, 100) i;
      alter table merchants owner to walhouse;
      grant create on database ${databases.name} to walhouse;`);
    walhouse = new Walhouse({
      postgresUrl: url(),
      clickhouseUrl: sinkUrl(),
      sourceTls: mine(),
      sinkTls: mine(),
      database: databases.clickhouseDatabase,
      slot: databases.name,
      tables: { 'public.merchants': null },
    });
  });
  afterAll(async () => {
    await walhouse?.close();
    await databases
      ?.postgres('select pg_drop_replication_slot(slot_name) from pg_replication_slots')
      .finally(() => databases.close());
    await front?.close();
    await clickhouse?.close();
    await server?.close();
    certificates.close();
  });

  test('snapshot, stream and answers go through it, both servers asking for a certificate', async () => {
    await walhouse.start();
    const now = 'select pg_current_wal_flush_lsn()::text lsn';
    const applied = async (sql: string): Promise<void> => {
      await databases.postgres(sql);
      const [at] = await databases.postgres<{ lsn: string }>(now);
      await walhouse.applied(at!.lsn);
    };
    await applied('select');
    await applied(`insert into merchants values (101, 'streamed')`);
    const [counted] = await databases.clickhouse(
      `select toString(count()) as n from ${databases.clickhouseDatabase}.merchants`,
    );
    expect(counted).toEqual({ n: '101' });
    // Not one of the service's sessions is in the clear, the replication one included.
    const sessions = await databases.postgres<{ ssl: boolean; what: string }>(
      `select ssl, backend_type as what from pg_stat_activity join pg_stat_ssl using (pid) where usename = 'walhouse'`,
    );
    expect(sessions.length).toBeGreaterThan(1);
    expect(sessions.map(({ what }) => what)).toContain('walsender');
    expect(sessions.filter(({ ssl }) => !ssl)).toEqual([]);
    expect(walhouse.output).not.toContain(PASSWORD);

    // The commands come in by the same door.
    const config = ['--config', walhouse.configPath];
    const initialised = join(certificates.directory, 'init.yaml');
    const ended = await Promise.all([
      cli(['check', ...config]),
      cli(['verify', ...config]),
      cli(['init', '--config', initialised], { SOURCE_URL: withTls(url(), mine()) }),
    ]);
    for (const { code, stdout, stderr } of ended)
      expect([code, stdout, stderr]).toEqual([0, expect.anything(), '']);
    expect(await walhouse.stop()).toBe(0);
  });

  const source = async (host: string, tls: Tls | 'off' | undefined, kind: ConnectionKind = 'sql') => {
    try {
      const client = await connect(withTls(url(host), tls), kind);
      await client.end();
      return 'connected';
    } catch (error) {
      expect(error).toBeInstanceOf(WalhouseError);
      expect((error as WalhouseError).message).not.toContain(PASSWORD);
      return (error as WalhouseError).message;
    }
  };
  const sink = async (url: string, tls: Tls | undefined) => {
    const client = createSinkClient({ url, tls });
    try {
      await client.query({ query: 'select 1' }).then((answer) => answer.text());
      return 'connected';
    } catch (error) {
      return sinkFailure(error, 'asking').message;
    } finally {
      await client.close();
    }
  };

  test.each([
    [
      'an authority that did not sign it',
      'localhost',
      () => ({ ...mine(), ca: theirs.ca }),
      /not signed by an authority.*\.tls\.ca/,
    ],
    [
      'no authority but those of the world',
      'localhost',
      () => ({ ...mine(), ca: undefined }),
      /not signed by an authority/,
    ],
    [
      'an authority that did not sign it, whatever its name',
      'localhost',
      () => ({ ...mine(), ca: theirs.ca, verify: 'ca' as const }),
      /not signed by/,
    ],
    [
      'another name',
      '127.0.0.1',
      mine,
      /is for another name: it has DNS:localhost, and not 127\.0\.0\.1\..*url/,
    ],
    [
      'no certificate of ours',
      'localhost',
      () => ({ ca: ours.ca, verify: 'full' as const }),
      /without a client certificate.*\.tls\.cert/,
    ],
    [
      'our certificate by an authority of its own',
      'localhost',
      () => ({ ...mine(), ...theirs.issue('walhouse') }),
      CUT,
    ],
    ['our certificate expired', 'localhost', () => ({ ...mine(), ...expired }), CUT],
    [
      'another name, which was asked not to matter',
      '127.0.0.1',
      () => ({ ...mine(), verify: 'ca' as const }),
      /^connected$/,
    ],
    [
      'nothing verified, as was asked for',
      '127.0.0.1',
      () => ({ ...mine(), ca: undefined, verify: 'none' as const }),
      /^connected$/,
    ],
  ] satisfies [string, string, () => Tls, RegExp][])('%s', async (_what, host, tls, expected) => {
    const wanted = expected.source.startsWith('^') ? '' : '_tls_failed: ';
    for (const kind of ['sql', 'replication'] as const)
      expect(await source(host, tls(), kind)).toMatch(expected);
    expect(await source(host, tls())).toContain(wanted && `source${wanted}`);
    const answer = await sink(sinkUrl(host), tls());
    expect(answer).toMatch(expected);
    if (expected !== CUT) expect(answer).toContain(wanted && `sink${wanted}`);
  });

  test('Postgres lets nobody in unencrypted, and the error says what to set', async () => {
    expect(await source('localhost', 'off')).toMatch(/source_auth_failed.*no encryption.*source\.tls/);
    expect(await source('localhost', undefined)).toMatch(/source_auth_failed.*no encryption.*source\.tls/);
  });

  test('files are loaded over nothing less', async () => {
    const options = {
      domain: 'payments',
      from: '.',
      url: undefined,
      existing: 'refuse',
      json: true,
    } as const;
    const loading = load(options, { SOURCE_URL: withTls(url(), { ...mine(), ca: theirs.ca }) });
    await expect(loading).rejects.toMatchObject({ kind: 'source_tls_failed' });
  });

  test('Postgres without TLS gets no connection that was to have it', async () => {
    const plain = new URL(inject('servers').postgres);
    plain.searchParams.set('sslmode', 'require');
    await expect(connect(plain.href, 'sql')).rejects.toMatchObject({
      kind: 'source_tls_failed',
      fix: expect.stringContaining('source.tls: off') as unknown,
    });
  });

  test('ClickHouse without TLS gets no connection that was to have it', async () => {
    const client = createSinkClient({ url: inject('servers').clickhouse.replace('http:', 'https:') });
    const failure = await client
      .query({ query: 'select 1' })
      .catch((error: unknown) => sinkFailure(error, 'asking'));
    await client.close();
    expect(failure).toMatchObject({
      kind: 'sink_tls_failed',
      fix: expect.stringContaining('sink.tls: off') as unknown,
    });
  });

  test('a certificate stands for a password that the URL does not have', async () => {
    front.takePassed();
    expect(await sink(sinkUrl('localhost', ''), mine())).toMatch(/^sink_auth_failed/);
    expect(front.takePassed()).toMatch(/X-ClickHouse-SSL-Certificate-Auth: on/i);
  });

  test("the server's certificate is another one once it is renewed, and is refused once it has expired", async () => {
    install(expired);
    await databases.postgres('select pg_reload_conf()');
    await expect
      .poll(() => source('localhost', mine()))
      .toMatch(/source_tls_failed.*not valid today \(CERT_HAS_EXPIRED\)/);
    install(ours.issue('renewed', { names: 'DNS:localhost,IP:127.0.0.1' }));
    await databases.postgres('select pg_reload_conf()');
    await expect.poll(() => source('127.0.0.1', mine())).toBe('connected');
  });
});
