import { countEscapes, encodeText } from './encoders.js';

const FIRST_BYTES = 64 * 1024;
/** What is kept for the next batch when a buffer comes back. */
const KEPT_BYTES_MAX = 64 * 1024 * 1024;

/** How much of a lent value is escaped at once. */
const LENT_PIECE_BYTES = 256 * 1024;
/** Bytes are handed to the socket in pieces of this size. */
const PIECE_BYTES = 1024 * 1024;

/** A value that is not copied: its text goes out, escaped, after the first `at` bytes. */
interface Lent {
  readonly at: number;
  readonly bytes: Buffer;
}

/** Bytes that grow: encoders write at `at` after `reserve` has made room. Large texts may be lent to it instead of being copied. */
export class RowBuffer {
  bytes: Buffer;
  at = 0;
  rows = 0;
  readonly #lent: Lent[] = [];
  #lentBytes = 0;

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

  /** What it holds in all. */
  get length(): number {
    return this.at + this.#lentBytes;
  }

  /** How many values are lent to it. */
  get lent(): number {
    return this.#lent.length;
  }

  /** Puts a text here that is escaped when it is sent. The bytes must never change. */
  lend(at: number, bytes: Buffer): void {
    this.#lent.push({ at, bytes });
    this.#lentBytes += bytes.length;
  }

  /** Forgets what was lent after the first `count`. */
  takeBack(count: number): void {
    while (this.#lent.length > count) this.#lentBytes -= this.#lent.pop()!.bytes.length;
  }

  /** All of it in order, in pieces, or what lies between two places of `bytes`. */
  *pieces(from = 0, to = this.at): Generator<Buffer> {
    let at = from;
    for (const lent of this.#lent) {
      if (lent.at < from || lent.at >= to) continue;
      yield* split(this.bytes, at, lent.at);
      yield* escaped(lent.bytes);
      at = lent.at;
    }
    yield* split(this.bytes, at, to);
  }
}

function* split(bytes: Buffer, from: number, to: number): Generator<Buffer> {
  for (let at = from; at < to; at += PIECE_BYTES) yield bytes.subarray(at, Math.min(at + PIECE_BYTES, to));
}

function* escaped(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += LENT_PIECE_BYTES) {
    const to = Math.min(at + LENT_PIECE_BYTES, bytes.length);
    const escapes = countEscapes(bytes, at, to);
    if (escapes === 0) {
      yield bytes.subarray(at, to);
      continue;
    }
    const out = Buffer.allocUnsafeSlow(to - at + escapes);
    yield out.subarray(0, encodeText(out, 0, bytes, at, to));
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
