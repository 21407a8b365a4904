/** Messages of at least this length are gathered here; the library's parser, which doubles its buffer as it goes, never sees them. */
export const LONG_BYTES = 1024 * 1024;

const HEADER_BYTES = 5;
const COPY_DATA = 0x64;

/**
 * Stands between the socket and the library's parser of Postgres's protocol. A message says its length first, so a long one is gathered
 * in a buffer of exactly that length, which belongs to whoever gets it; all else goes on as it came. Begins at the border between two
 * messages. https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
export class LongMessages {
  readonly #pass: (bytes: Buffer) => void;
  readonly #onCopyData: (payload: Buffer) => void;
  /** The part of a header that has come, where it is cut in two. */
  #header: Buffer | null = null;
  /** Bytes of the message under way that go on to the library. */
  #passing = 0;
  #long: Buffer | null = null;
  #longAt = 0;

  /** `onCopyData` gets the payload of a long CopyData message. */
  constructor(pass: (bytes: Buffer) => void, onCopyData: (payload: Buffer) => void) {
    this.#pass = pass;
    this.#onCopyData = onCopyData;
  }

  push(chunk: Buffer): void {
    let bytes = chunk;
    if (this.#header !== null) {
      bytes = Buffer.concat([this.#header, chunk]);
      this.#header = null;
    }
    // What goes on is handed over in as few pieces as there are long messages between.
    let passFrom = 0;
    let at = 0;
    while (at < bytes.length) {
      if (this.#long !== null) {
        at += this.#gather(this.#long, bytes, at);
        passFrom = at;
        continue;
      }
      if (this.#passing > 0) {
        const taken = Math.min(this.#passing, bytes.length - at);
        this.#passing -= taken;
        at += taken;
        continue;
      }
      if (bytes.length - at < HEADER_BYTES) {
        this.#header = Buffer.from(bytes.subarray(at));
        break;
      }
      // The length counts itself and not the type.
      const length = 1 + bytes.readUInt32BE(at + 1);
      if (length < LONG_BYTES) {
        this.#passing = length;
        continue;
      }
      if (at > passFrom) this.#pass(bytes.subarray(passFrom, at));
      this.#long = Buffer.allocUnsafeSlow(length);
      this.#longAt = 0;
    }
    const passTo = this.#header === null ? at : bytes.length - this.#header.length;
    if (passTo > passFrom && this.#long === null) this.#pass(bytes.subarray(passFrom, passTo));
  }

  /** Resolves to how many bytes were taken. */
  #gather(long: Buffer, bytes: Buffer, from: number): number {
    const taken = bytes.copy(long, this.#longAt, from);
    this.#longAt += taken;
    if (this.#longAt === long.length) {
      this.#long = null;
      if (long[0] === COPY_DATA) this.#onCopyData(long.subarray(HEADER_BYTES));
      else this.#pass(long);
    }
    return taken;
  }
}
