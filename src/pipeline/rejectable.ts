/** A promise that can only fail: awaited beside the work that may go on for ever. Alone it never ends the process. */
export interface Rejectable {
  readonly promise: Promise<never>;
  readonly reject: (error: unknown) => void;
}

export function rejectable(): Rejectable {
  let reject!: (error: unknown) => void;
  const promise = new Promise<never>((_, fail) => {
    reject = fail;
  });
  promise.catch(() => {});
  return { promise, reject };
}
