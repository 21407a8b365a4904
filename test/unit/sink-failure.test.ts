import { ClickHouseError } from '@clickhouse/client';
import { describe, expect, it } from 'vitest';
import { sinkFailure } from '../../src/sink/failure.js';

function fromServer(type: string, message: string): ClickHouseError {
  return new ClickHouseError({ code: '1', type, message });
}

function withCode(code: string): Error {
  return Object.assign(new Error('connect failed'), { code });
}

describe('failures', () => {
  it.each([
    [new SyntaxError('Unexpected end of JSON input'), false, 'sink_rejected'],
    [new SyntaxError('Unexpected end of JSON input'), true, 'sink_unreachable'],
    [new Error(''), true, 'sink_unreachable'],
    [new TypeError('x is not a function'), true, 'sink_rejected'],
  ])('%s, where ClickHouse has answered before (%s), is %s', (cause, isKnown, kind) => {
    const error = sinkFailure(cause, 'reading', false, isKnown);
    expect(error.kind).toBe(kind);
    expect(error.message).toContain(`(${cause.name})`);
  });

  it.each<[unknown, string]>([
    [withCode('ECONNREFUSED'), 'sink_unreachable'],
    [withCode('ECONNRESET'), 'sink_unreachable'],
    [new AggregateError([withCode('ECONNREFUSED')]), 'sink_unreachable'],
    [new Error('socket hang up'), 'sink_unreachable'],
    [new Error('<html>502 Bad Gateway</html>'), 'sink_unreachable'],
    [new Error('Timeout error.'), 'sink_timeout'],
    [fromServer('TIMEOUT_EXCEEDED', ''), 'sink_timeout'],
    [fromServer('TOO_MANY_PARTS', ''), 'sink_overloaded'],
    [fromServer('MEMORY_LIMIT_EXCEEDED', ''), 'sink_overloaded'],
    [fromServer('TOO_MANY_SIMULTANEOUS_QUERIES', ''), 'sink_overloaded'],
    [fromServer('TABLE_IS_READ_ONLY', ''), 'sink_read_only'],
    [fromServer('NOT_ENOUGH_SPACE', ''), 'sink_disk_full'],
    [fromServer('STD_EXCEPTION', 'write failed: No space left on device'), 'sink_disk_full'],
    [fromServer('AUTHENTICATION_FAILED', ''), 'sink_auth_failed'],
    [fromServer('ACCESS_DENIED', ''), 'sink_permission'],
    [fromServer('READONLY', ''), 'sink_read_only'],
    [fromServer('TABLE_IS_PERMANENTLY_READ_ONLY', ''), 'sink_read_only'],
    [fromServer('UNKNOWN_SETTING', ''), 'sink_unsupported'],
    [fromServer('CANNOT_PARSE_TEXT', ''), 'sink_rejected'],
    [fromServer('UNKNOWN_TABLE', ''), 'sink_rejected'],
    [new Error('something else'), 'sink_rejected'],
  ])('%s is %s', (cause, kind) => {
    expect(sinkFailure(cause, 'storing rows').kind).toBe(kind);
  });

  it('a message that may quote a row is not passed on', () => {
    const error = sinkFailure(fromServer('CANNOT_PARSE_TEXT', 'Row 1: "secret"'), 'storing rows of public.t');
    expect(`${error.message}${error.stack}${String(error.cause)}`).not.toContain('secret');
    expect(error.message).toContain('CANNOT_PARSE_TEXT');
    expect(error.message).toContain('storing rows of public.t');
  });
});
