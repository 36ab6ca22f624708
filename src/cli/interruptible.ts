/**
 * Runs with a signal that Ctrl-C aborts; the second Ctrl-C ends the program as usual.
 * @param by the signals of the system that do
 */
export async function interruptible<T>(
  work: (signal: AbortSignal) => Promise<T>,
  by: readonly NodeJS.Signals[] = ["SIGINT"],
): Promise<T> {
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  for (const name of by) process.once(name, stop);
  try {
    return await work(controller.signal);
  } finally {
    for (const name of by) process.off(name, stop);
  }
}
