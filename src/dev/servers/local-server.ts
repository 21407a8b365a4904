import type { WalhouseError } from '../../pipeline/errors.js';

/** Tells a person what is being done, one plain line at a time. */
export type Tell = (line: string) => void;

/** A database server of our own, listening on 127.0.0.1 only, that ends when this process ends, however it ends. */
export interface LocalServer {
  /** `postgres://...` or `http://...`, with everything a client needs to log in. */
  readonly url: string;
  /** As the server says it: `15.18`, `26.7.2.1`. */
  readonly version: string;
  /** The server's own process, not its supervisor's. */
  readonly pid: number;
  /** Where its data, configuration and log are. */
  readonly directory: string;
  /** Resolves when the server is gone: null after `close`, or why it died by itself. Never rejects. */
  readonly ended: Promise<WalhouseError | null>;
  /** Stops the server and removes a temporary directory. Safe to call again. */
  close(): Promise<void>;
}
