import type { Socket } from 'node:net';

/** So much within one window counts as load; below it nothing is ever delayed. */
const LOAD_BYTES = 64 * 1024;
const WINDOW_MS = 20;
/** How long the socket is left alone under load: the most that this adds to a change's way. */
const REST_MS = 2;
/** What one read takes at most; a shorter one has emptied the socket. */
const READ_BYTES_MAX = 64 * 1024;

/**
 * Reads in gulps under load. The server sends every change by itself, so a reader that wakes for each small piece slows
 * both sides; leaving the socket alone for a moment once it is empty lets the pieces gather in it.
 */
export class Gulp {
  readonly #socket: Socket;
  readonly #mayResume: () => boolean;
  #bytes = 0;
  #windowAtMs = 0;
  #resting: NodeJS.Timeout | null = null;

  /** `mayResume` tells whether nobody else wants the socket paused. */
  constructor(socket: Socket, mayResume: () => boolean) {
    this.#socket = socket;
    this.#mayResume = mayResume;
    socket.on('data', (chunk: Buffer) => this.#read(chunk.length));
  }

  stop(): void {
    if (this.#resting !== null) clearTimeout(this.#resting);
    this.#resting = null;
  }

  #read(bytes: number): void {
    const now = performance.now();
    if (now - this.#windowAtMs > WINDOW_MS) {
      this.#windowAtMs = now;
      this.#bytes = 0;
    }
    this.#bytes += bytes;
    if (this.#bytes < LOAD_BYTES || bytes >= READ_BYTES_MAX || this.#resting !== null) return;
    this.#socket.pause();
    this.#resting = setTimeout(() => {
      this.#resting = null;
      if (this.#mayResume()) this.#socket.resume();
    }, REST_MS);
  }
}
