import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';

const TEXT = readFileSync(new URL('../../deploy/systemd/walhouse.service', import.meta.url), 'utf8');

const folder = mkdtempSync(join(tmpdir(), 'walhouse-systemd-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const settings = TEXT.split('\n').flatMap((line) => {
  const [, key, value] = /^([A-Z]\w+)=(.*)$/.exec(line) ?? [];
  return key === undefined ? [] : [[key, value!] as const];
});
const valueOf = (key: string): string | undefined => settings.find(([name]) => name === key)?.[1];

const analyze = spawnSync('systemd-analyze', ['--version']).status === 0;

describe('deploy/systemd/walhouse.service', () => {
  test('runs as a user of its own that can write nothing and become nobody else', () => {
    const wanted = {
      DynamicUser: 'yes',
      ProtectSystem: 'strict',
      ProtectHome: 'yes',
      PrivateTmp: 'yes',
      NoNewPrivileges: 'yes',
      CapabilityBoundingSet: '',
    };
    for (const [key, value] of Object.entries(wanted)) expect(valueOf(key), key).toBe(value);
    expect(TEXT).not.toMatch(/^(StateDirectory|ReadWritePaths|MemoryDenyWriteExecute)=/m);
  });

  test('ends with SIGTERM after longer than the service takes, and reads its configuration again by SIGHUP', () => {
    expect(valueOf('ExecStart')).toBe('walhouse run --config /etc/walhouse/walhouse.yaml');
    expect(valueOf('ExecReload')).toBe('kill -HUP $MAINPID');
    expect(valueOf('KillSignal')).toBeUndefined();
    // The service takes 30 seconds at most.
    expect(Number.parseInt(valueOf('TimeoutStopSec')!, 10)).toBeGreaterThan(30);
  });

  test.skipIf(!analyze)('is taken by systemd, which finds little that it is exposed to', () => {
    const path = join(folder, 'walhouse.service');
    // The program itself is not installed here.
    writeFileSync(path, TEXT.replace(/^ExecStart=walhouse/m, 'ExecStart=/bin/sh'));
    const { status, stderr, stdout } = spawnSync('systemd-analyze', ['verify', '--man=no', path], {
      encoding: 'utf8',
    });
    expect(status, stderr).toBe(0);
    expect(`${stdout}${stderr}`).not.toContain('walhouse.service');
    // Out of 10; it exits with an error above the threshold, which is in tenths.
    execFileSync('systemd-analyze', ['security', '--offline=true', '--no-pager', '--threshold=15', path], {
      stdio: 'pipe',
    });
  });
});
