import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LONG_BYTES, LongMessages } from '../../src/source/long-messages.js';

function message(type: string, length: number, fill: number): Buffer {
  const bytes = Buffer.alloc(5 + length, fill);
  bytes.write(type, 0, 'latin1');
  bytes.writeUInt32BE(4 + length, 1);
  return bytes;
}

/** Cuts bytes at these places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const sorted = [...new Set(places.map((place) => place % bytes.length))].sort((a, b) => a - b);
  return [0, ...sorted].map((from, index) => bytes.subarray(from, sorted[index] ?? bytes.length));
}

it('long CopyData is handed over whole, all else goes on byte for byte and in order, wherever the pieces are cut', () => {
  const kinds = fc.constantFrom(
    { type: 'd', length: LONG_BYTES + 17, long: true },
    { type: 'd', length: LONG_BYTES - 5, long: true },
    { type: 'd', length: LONG_BYTES - 6, long: false },
    { type: 'd', length: 40, long: false },
    { type: 'E', length: LONG_BYTES + 3, long: false },
    { type: 'Z', length: 0, long: false },
  );
  fc.assert(
    fc.property(
      fc.array(kinds, { minLength: 1, maxLength: 6 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (sent, places) => {
        const messages = sent.map(({ type, length }, index) => message(type, length, index + 1));
        const seen: Buffer[] = [];
        const gathered: Buffer[] = [];
        const order: string[] = [];
        const long = new LongMessages(
          (bytes) => {
            seen.push(Buffer.from(bytes));
          },
          (payload) => {
            gathered.push(payload);
            order.push(`${Buffer.concat(seen).length}`);
          },
        );
        for (const piece of cut(Buffer.concat(messages), places)) long.push(piece);
        const passed = messages.filter((_, index) => !sent[index]!.long);
        expect(Buffer.concat(seen).equals(Buffer.concat(passed))).toBe(true);
        const whole = messages.filter((_, index) => sent[index]!.long).map((bytes) => bytes.subarray(5));
        expect(gathered.map((bytes) => bytes.length)).toEqual(whole.map((bytes) => bytes.length));
        gathered.forEach((bytes, index) => expect(bytes.equals(whole[index]!)).toBe(true));
        // Everything that was sent before a long one has gone on before it is handed over.
        let before = 0;
        const expected: string[] = [];
        messages.forEach((bytes, index) => {
          if (sent[index]!.long) expected.push(`${before}`);
          else before += bytes.length;
        });
        expect(order).toEqual(expected);
      },
    ),
    { numRuns: 60 },
  );
});
