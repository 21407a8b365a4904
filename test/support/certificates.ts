import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The paths of a certificate and its key. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface Authority {
  /** The path of its own certificate. */
  readonly ca: string;
  /** Signs one for a name; `names` are what a server answers to, as openssl writes them: `DNS:localhost`. */
  issue(name: string, options?: { names?: string; expired?: boolean }): Certificate;
}

/** Certificates made by openssl, in a directory that is removed at the end. */
export class Certificates {
  readonly directory = mkdtempSync(join(tmpdir(), 'walhouse-certificates-'));
  #made = 0;

  static available(): boolean {
    try {
      openssl('version');
      return true;
    } catch {
      return false;
    }
  }

  authority(): Authority {
    const ca = this.#file('ca.pem');
    const caKey = this.#file('ca.key');
    openssl(
      ...['req', '-x509', ...KEY, '-days', '2', '-subj', '/CN=authority', '-keyout', caKey, '-out', ca],
    );
    return {
      ca,
      issue: (name, { names, expired = false } = {}) => {
        const [cert, key, request, extensions] = ['pem', 'key', 'csr', 'ext'].map((end) =>
          this.#file(`${name}.${end}`),
        );
        writeFileSync(extensions!, names === undefined ? '' : `subjectAltName=${names}\n`);
        openssl('req', ...KEY, '-subj', `/CN=${name}`, '-keyout', key!, '-out', request!);
        openssl(
          ...['x509', '-req', '-in', request!, '-CA', ca, '-CAkey', caKey, '-CAcreateserial'],
          ...['-days', expired ? '-1' : '2', '-extfile', extensions!, '-out', cert!],
        );
        return { cert: cert!, key: key! };
      },
    };
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }

  #file(name: string): string {
    return join(this.directory, `${++this.#made}-${name}`);
  }
}

/** A key on a curve is made in no time. */
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
