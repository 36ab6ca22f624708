/** Work on one thing by one at a time. */
import { hasFileSystem } from "../source.ts";

/** The last in each queue. */
const queues = new Map<string, Promise<void>>();

/**
 * Runs `work` when whatever else has the same key is through: within this process, and in browsers among the pages of the
 * origin.
 * @throws what `work` throws; the signal's reason when aborted meanwhile
 */
export async function inTurn<T>(key: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  const locks = hasFileSystem() ? undefined : globalThis.navigator?.locks;
  if (locks) return locks.request(`forwardpass ${key}`, signal ? { signal } : {}, work);
  const before = queues.get(key);
  let leave!: () => void;
  const own = new Promise<void>((resolve) => {
    leave = resolve;
  });
  // Who gives up waiting leaves the queue, but those behind still wait for those before.
  const last = Promise.all([before, own]).then(() => {
    if (queues.get(key) === last) queues.delete(key);
  });
  queues.set(key, last);
  try {
    await unlessAborted(before, signal);
    return await work();
  } finally {
    leave();
  }
}

function unlessAborted(wait: Promise<void> | undefined, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal!.reason);
    signal?.addEventListener("abort", stop, { once: true });
    (wait ?? Promise.resolve()).then(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    });
  });
}
