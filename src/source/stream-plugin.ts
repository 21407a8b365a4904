import type { Client } from 'pg';
import { relax } from './connection.js';
import { NUMBERS_AS_STRINGS } from './plugin-options.js';
import type { Plugin } from './slot.js';

export interface StreamPluginParts {
  readonly plugin: Plugin;
  readonly command: (numbersAsStrings: boolean) => string;
  readonly onClient: (client: Client) => void;
  readonly onMessage: (message: Buffer) => void;
}

/** What the library calls: to start, and for each message. Our decoder runs in `parse`, before anything is emitted. */
export class StreamPlugin {
  readonly options: StreamPluginParts;

  constructor(options: StreamPluginParts) {
    this.options = options;
  }

  get name(): string {
    return this.options.plugin;
  }

  async start(client: Client): Promise<unknown> {
    const { plugin, command, onClient } = this.options;
    onClient(client);
    await relax(client);
    if (plugin === 'pgoutput') return client.query(command(false));
    try {
      return await client.query(command(true));
    } catch (error) {
      // wal2json 2.5 and older do not know the option; the connection is as good as before.
      if (!(error instanceof Error) || !error.message.includes(NUMBERS_AS_STRINGS)) throw error;
      return client.query(command(false));
    }
  }

  parse(message: Buffer): null {
    this.options.onMessage(message);
    return null;
  }
}
