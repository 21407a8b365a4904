import { parseLsn, type Lsn } from '../pipeline/lsn.js';
import { decodeFailed } from './decoder.js';
import { timestampUs } from './timestamp.js';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** `value()` met a JSON null. */
export const NULL_VALUE = -1;

const TRUE = Buffer.from('true');
const FALSE = Buffer.from('false');
const NULL_TOKEN = Buffer.from('null');
const VALUE_KEY = Buffer.from(',"value":');

/** Keys that messages have, so that reading one makes no string. */
const KEYS = ['xid', 'timestamp', 'lsn', 'schema', 'columns', 'identity', 'nextlsn', 'table', 'origin'].map(
  (name) => ({ name, token: Buffer.from(`"${name}":`) }),
);

/**
 * Walks over one JSON object's bytes without making values of them. Every method begins at `at` and leaves it behind what
 * it read; reading past the end yields `undefined`, which equals no byte, so each loop ends there with an error.
 */
export class JsonScanner {
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  /** One past the last byte of what `value()` found. */
  valueEnd = 0;

  reset(bytes: Buffer): void {
    this.bytes = bytes;
    this.at = 0;
  }

  failed(reason: string): Error {
    return decodeFailed('wal2json', reason, this.at);
  }

  matches(token: Buffer): boolean {
    const { bytes, at } = this;
    for (let index = 0; index < token.length; index += 1) {
      if (bytes[at + index] !== token[index]) return false;
    }
    return true;
  }

  /** Reads `,"key":`; null at the end of the object, which is left for `done`. An unknown key is the empty string. */
  key(): string | null {
    const byte = this.bytes[this.at];
    if (byte === CLOSE_OBJECT) return null;
    if (byte !== COMMA) throw this.failed('no comma between fields');
    this.at += 1;
    for (const { name, token } of KEYS) {
      if (this.matches(token)) {
        this.at += token.length;
        return name;
      }
    }
    this.#skipString();
    if (this.bytes[this.at] !== COLON) throw this.failed('no colon behind a key');
    this.at += 1;
    return '';
  }

  /** Expects the end of the object, and of the message. */
  done(): void {
    if (this.bytes[this.at] !== CLOSE_OBJECT || this.at + 1 !== this.bytes.length)
      throw this.failed('bytes behind the end');
  }

  /** Passes what fields are left, to the end of the message. */
  end(): void {
    while (this.key() !== null) this.skip();
    this.done();
  }

  openArray(): void {
    if (this.bytes[this.at] !== OPEN_ARRAY) throw this.failed('no list');
    this.at += 1;
  }

  closedArray(): boolean {
    if (this.bytes[this.at] !== CLOSE_ARRAY) return false;
    this.at += 1;
    return true;
  }

  /** Behind a list's object: whether another follows. */
  nextInArray(): boolean {
    if (this.bytes[this.at] !== CLOSE_OBJECT) throw this.failed('no end of a column');
    const byte = this.bytes[this.at + 1];
    this.at += 2;
    if (byte === COMMA) return true;
    if (byte === CLOSE_ARRAY) return false;
    throw this.failed('no end of a list');
  }

  /**
   * Reads a scalar and returns where its text starts (`valueEnd` is its end), or NULL_VALUE. Strings are un-escaped in
   * place; true and false become Postgres's t and f.
   */
  value(): number {
    const byte = this.bytes[this.at];
    if (byte === QUOTE) return this.#string();
    if (byte === 0x74 && this.matches(TRUE)) return this.#token(TRUE.length, 1);
    if (byte === 0x66 && this.matches(FALSE)) return this.#token(FALSE.length, 1);
    if (byte === 0x6e && this.matches(NULL_TOKEN)) {
      this.at += NULL_TOKEN.length;
      return NULL_VALUE;
    }
    const start = this.at;
    while (isNumberByte(this.bytes[this.at])) this.at += 1;
    if (this.at === start) throw this.failed('no value');
    this.valueEnd = this.at;
    return start;
  }

  #token(length: number, textLength: number): number {
    const start = this.at;
    this.at += length;
    this.valueEnd = start + textLength;
    return start;
  }

  #string(): number {
    const { bytes } = this;
    const start = this.at + 1;
    let at = start;
    for (;;) {
      const byte = bytes[at];
      if (byte === QUOTE) break;
      if (byte === BACKSLASH) {
        this.at = at;
        return this.#escapedString(start);
      }
      if (byte === undefined || byte < 0x20) throw this.failed('a string without its end');
      at += 1;
    }
    this.at = at + 1;
    this.valueEnd = at;
    return start;
  }

  /** The rest of a string from its first escape on, moved left over what the escapes leave free. */
  #escapedString(start: number): number {
    const { bytes } = this;
    let read = this.at;
    let write = read;
    for (;;) {
      const byte = bytes[read];
      if (byte === QUOTE) break;
      if (byte === undefined || byte < 0x20) throw this.failed('a string without its end');
      if (byte !== BACKSLASH) {
        bytes[write] = byte;
        write += 1;
        read += 1;
        continue;
      }
      const escape = bytes[read + 1];
      if (escape === 0x75) {
        const code = this.#codePoint(read);
        read += code > 0xffff ? 12 : 6;
        write = writeUtf8(bytes, write, code);
        continue;
      }
      const plain = unescaped(escape);
      if (plain < 0) throw this.failed('an unknown escape');
      bytes[write] = plain;
      write += 1;
      read += 2;
    }
    this.at = read + 1;
    this.valueEnd = write;
    return start;
  }

  #codePoint(at: number): number {
    const high = this.#hex(at + 2);
    if (high < 0xd800 || high > 0xdfff) return high;
    const low = this.bytes[at + 6] === BACKSLASH && this.bytes[at + 7] === 0x75 ? this.#hex(at + 8) : 0;
    if (high > 0xdbff || low < 0xdc00 || low > 0xdfff) throw this.failed('half a character');
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
  }

  #hex(at: number): number {
    let code = 0;
    for (let index = at; index < at + 4; index += 1) {
      const digit = hexDigit(this.bytes[index]);
      if (digit < 0) throw this.failed('a broken escape');
      code = (code << 4) | digit;
    }
    return code;
  }

  /** Passes a scalar that nobody wants. */
  skip(): void {
    if (this.bytes[this.at] === QUOTE) this.#skipString();
    else this.value();
  }

  #skipString(): void {
    const { bytes } = this;
    if (bytes[this.at] !== QUOTE) throw this.failed('no string');
    let at = this.at + 1;
    for (;;) {
      const byte = bytes[at];
      if (byte === QUOTE) break;
      if (byte === undefined) throw this.failed('a string without its end');
      at += byte === BACKSLASH ? 2 : 1;
    }
    this.at = at + 1;
  }

  /** A string's text, for the few fields a transaction has one of. */
  #text(): string {
    if (this.bytes[this.at] !== QUOTE) throw this.failed('no string');
    const start = this.#string();
    return this.bytes.toString('utf8', start, this.valueEnd);
  }

  lsn(): Lsn {
    const lsn = parseLsn(this.#text());
    if (lsn === null) throw this.failed('no WAL position');
    return lsn;
  }

  timestampUs(): bigint {
    const us = timestampUs(this.#text());
    if (us === null) throw this.failed('no time');
    return us;
  }

  integer(): number {
    const start = this.value();
    const number = start === NULL_VALUE ? NaN : Number(this.bytes.toString('latin1', start, this.valueEnd));
    if (!Number.isSafeInteger(number)) throw this.failed('no integer');
    return number;
  }

  /** At an object with a column's name and value: the name, for a message. */
  columnName(): string {
    if (this.bytes[this.at] !== OPEN_OBJECT) throw this.failed('no column');
    this.at += 1;
    if (this.#text() !== 'name' || this.bytes[this.at] !== COLON)
      throw this.failed('a column without its name');
    this.at += 1;
    return this.#text();
  }

  /** Behind a column's name: passes its value. */
  passColumn(): void {
    if (!this.matches(VALUE_KEY)) throw this.failed('a column without its value');
    this.at += VALUE_KEY.length;
    this.skip();
  }
}

function isNumberByte(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  if (byte >= 0x30 && byte <= 0x39) return true;
  return byte === 0x2d || byte === 0x2e || byte === 0x2b || byte === 0x65 || byte === 0x45;
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function unescaped(escape: number | undefined): number {
  switch (escape) {
    case QUOTE:
    case BACKSLASH:
    case 0x2f:
      return escape;
    case 0x62:
      return 0x08;
    case 0x66:
      return 0x0c;
    case 0x6e:
      return 0x0a;
    case 0x72:
      return 0x0d;
    case 0x74:
      return 0x09;
    default:
      return -1;
  }
}

function writeUtf8(bytes: Buffer, at: number, code: number): number {
  let write = at;
  if (code < 0x80) bytes[write++] = code;
  else if (code < 0x800) {
    bytes[write++] = 0xc0 | (code >> 6);
    bytes[write++] = 0x80 | (code & 0x3f);
  } else if (code < 0x10000) {
    bytes[write++] = 0xe0 | (code >> 12);
    bytes[write++] = 0x80 | ((code >> 6) & 0x3f);
    bytes[write++] = 0x80 | (code & 0x3f);
  } else {
    bytes[write++] = 0xf0 | (code >> 18);
    bytes[write++] = 0x80 | ((code >> 12) & 0x3f);
    bytes[write++] = 0x80 | ((code >> 6) & 0x3f);
    bytes[write++] = 0x80 | (code & 0x3f);
  }
  return write;
}
