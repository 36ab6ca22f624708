import { InputError } from "../tensor/errors.ts";
import { checkSignal } from "../tensor/options.ts";

/** Options of what may be stopped while it loads, and not any more once it is there. */
interface Loading {
  readonly signal?: AbortSignal;
}

/** @param work gets options with a signal that is aborted as theirs is until it has settled: what is read later may keep it */
export async function whileLoading<O extends Loading, T>(options: O, work: (options: O) => Promise<T>): Promise<T> {
  if (typeof options !== "object" || options === null)
    throw new InputError('options are an object, as { device: "wasm" }');
  const { signal } = options;
  checkSignal(signal);
  if (!signal) return work(options);
  const controller = new AbortController();
  const abort = (): void => controller.abort(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort);
  try {
    return await work({ ...options, signal: controller.signal });
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
