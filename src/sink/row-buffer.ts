const FIRST_BYTES = 64 * 1024;
/** What is kept for the next batch when a buffer comes back. */
const KEPT_BYTES_MAX = 64 * 1024 * 1024;

/** Bytes that grow: encoders write at `at` after `reserve` has made room. */
export class RowBuffer {
  bytes: Buffer;
  at = 0;
  rows = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  /** Makes room for `count` more bytes. */
  reserve(count: number): void {
    const needed = this.at + count;
    if (needed <= this.bytes.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2));
    this.bytes.copy(grown, 0, 0, this.at);
    this.bytes = grown;
  }

  written(): Buffer {
    return this.bytes.subarray(0, this.at);
  }
}

/** Buffers of stored batches, for the next ones: a large allocation a batch would cost more than the encoding. */
export class BufferPool {
  readonly #free: Buffer[] = [];
  #freeBytes = 0;

  take(): RowBuffer {
    const bytes = this.#free.pop();
    if (bytes === undefined) return new RowBuffer(Buffer.allocUnsafeSlow(FIRST_BYTES));
    this.#freeBytes -= bytes.length;
    return new RowBuffer(bytes);
  }

  /** Only for a buffer that nobody sends any more. */
  give(buffer: RowBuffer): void {
    if (this.#freeBytes + buffer.bytes.length > KEPT_BYTES_MAX) return;
    this.#free.push(buffer.bytes);
    this.#freeBytes += buffer.bytes.length;
  }
}
