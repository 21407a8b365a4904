import { describe, expect, test } from 'vitest';
import { ERROR_POLICY, type WalhouseError } from '../../src/pipeline/errors.js';
import { sourceError } from '../../src/source/source-error.js';

const TARGET = { host: 'db1:5432', database: 'shop', user: 'walhouse' };

/** As the driver hands over what the server says. */
function refused(code: string, message: string): WalhouseError {
  return sourceError(Object.assign(new Error(message), { code }), TARGET, 'stream') as WalhouseError;
}

describe('a refusal by the server', () => {
  test.each([
    'could not map filenode "base/5/17246" to relation OID',
    'pg_attribute catalog is missing 1 attribute(s) for relation OID 16645',
  ])(
    'is tried again where its decoding lost sight of a table (%s): from what is confirmed it may find it',
    (message) => {
      const error = refused('XX000', message);
      expect(error.kind).toBe('source_decoding_failed');
      expect(ERROR_POLICY[error.kind]).toBe('retry');
      expect(error.message).toContain(message);
      expect(error.fix).toContain('walhouse resync --all');
      const asked = sourceError(Object.assign(new Error(message), { code: 'XX000' }), TARGET, 'query');
      expect((asked as WalhouseError).kind).toBe('source_rejected');
    },
  );

  test('that nobody knows stops, and so does any other internal error', () => {
    for (const code of ['XX000', 'XX001', '22023']) {
      const { kind } = refused(code, 'something that was never seen');
      expect(kind).toBe('source_rejected');
      expect(ERROR_POLICY[kind]).toBe('stop');
    }
  });
});
