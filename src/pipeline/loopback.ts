const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\]|::1)$/i;

/** Whether a host's name or address never leaves this machine. */
export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host);
}
