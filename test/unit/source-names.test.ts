import { describe, expect, it } from 'vitest';
import { clientConfig, parseTarget } from '../../src/source/connection.js';
import { startReplication, tablePattern } from '../../src/source/plugin-options.js';
import { similarNames } from '../../src/source/similar-names.js';
import { timestampUs } from '../../src/source/timestamp.js';
import { column, relation } from './source-messages.js';

describe('names', () => {
  it.each([
    ['public', 'payments_2', 'public.payments_2'],
    ['a.b', 'c d', 'a\\.b.c\\ d'],
    ['*', '*', '\\*.\\*'],
    ['s', 'x,y"z\\\'ü', 's.x\\,y\\"z\\\\\\\'ü'],
  ])('%s and %s are escaped for add-tables', (schema, name, pattern) => {
    expect(tablePattern({ schema, name })).toBe(pattern);
  });

  it('are quoted in START_REPLICATION', () => {
    const command = startReplication('w"x', {
      plugin: 'wal2json',
      publication: '',
      relations: [relation('public', "it's", [column('id', 'int4')])],
      numbersAsStrings: false,
    });
    expect(command).toMatch(/^START_REPLICATION SLOT "w""x" LOGICAL 0\/0 \(/);
    expect(command).toContain(`"add-tables" 'public.it\\''s'`);
  });

  it('that are near are offered, the nearest first', () => {
    const all = ['public.payments', 'shop.payments', 'public.payment', 'public.merchants', 'public.Order'];
    expect(similarNames('public.paymnets', all)).toEqual(['public.payments', 'public.payment']);
    expect(similarNames('public.order', all)).toEqual(['public.Order']);
    expect(similarNames('other.payments', all).slice(0, 2)).toEqual(['public.payments', 'shop.payments']);
    expect(similarNames('public.nothing_like_it', all)).toEqual([]);
  });
});

describe('a source URL', () => {
  it('is shown without its password', () => {
    const target = parseTarget('postgres://us%40er:se%2Fcret@db1:5433/shop?sslmode=disable');
    expect(target).toEqual({ host: 'db1:5433', database: 'shop', user: 'us@er' });
  });

  it('keeps its own options, which pinned settings override', () => {
    const { connectionString } = clientConfig(
      'postgres://u@h/d?options=-c%20work_mem%3D1MB%20-c%20TimeZone%3DAsia/Tokyo',
      'sql',
    );
    const options = new URL(connectionString!).searchParams.get('options')!;
    expect(options.startsWith('-c work_mem=1MB -c TimeZone=Asia/Tokyo ')).toBe(true);
    expect(options.lastIndexOf('TimeZone=UTC')).toBeGreaterThan(options.indexOf('Asia/Tokyo'));
  });
});

describe('a timestamp', () => {
  it.each([
    ['1970-01-01 00:00:00+00', 0n],
    ['1970-01-01 00:00:00.000001+00', 1n],
    ['2026-11-21 09:23:03.1449+05:30', 1_795_233_183_144_900n],
    ['1969-12-31 23:59:59.5-00', -500_000n],
    ['infinity', null],
    ['2026-11-21T09:23:03Z', null],
  ])('%s', (text, us) => expect(timestampUs(text)).toBe(us));
});
