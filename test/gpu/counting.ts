/** Counts calls of a method while `work` runs. */
export async function counting(object: object, method: string, work: () => Promise<unknown>): Promise<number> {
  const target = object as Record<string, (...args: unknown[]) => unknown>;
  const own = target[method];
  let calls = 0;
  target[method] = function (this: unknown, ...args) {
    calls++;
    return own.apply(this, args);
  };
  try {
    await work();
  } finally {
    target[method] = own;
  }
  return calls;
}
