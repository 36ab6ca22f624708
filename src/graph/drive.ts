/**
 * Work is written as generators: they yield a promise where they must wait, and undefined where they may be stopped.
 * So the same code serves `run`, which gives the event loop a turn now and then, and `runSync`, which never waits.
 */
import { DeviceError } from "../tensor/errors.ts";

/** Yielded to ask whether promises are waited for: the answer is true or false. */
export const mayWait = Symbol("mayWait");

export type Work<T> = Generator<unknown, T>;

/** Milliseconds of computing after which other tasks get a turn, where the caller can stop the run. */
const turnAfter = 12;

/** Runs to the end without waiting. Throws DeviceError where the work would have to wait. */
export function driveSync<T>(work: Work<T>): T {
  let step = work.next();
  while (!step.done) {
    if (step.value === mayWait) {
      step = work.next(false);
      continue;
    }
    if (step.value !== undefined) {
      // How that ends nobody waits to hear: it may well fail, as what it is for is gone.
      (step.value as Promise<unknown>).catch(() => {});
      work.return(undefined as never);
      throw new DeviceError(
        "runSync: waits for a device: use run(); or for weights from a URL or Blob: run() once before",
      );
    }
    step = work.next();
  }
  return step.value;
}

/**
 * Runs to the end, awaiting promises. With a signal, stops between steps and throws the signal's reason.
 * @param check throws where what the work needs is gone; asked before each step
 */
export async function drive<T>(work: Work<T>, signal?: AbortSignal, check?: () => void): Promise<T> {
  let lastTurn = signal ? performance.now() : 0;
  try {
    signal?.throwIfAborted();
    let step = work.next();
    while (!step.done) {
      let sent: unknown;
      if (step.value === mayWait) sent = true;
      else if (step.value !== undefined) {
        try {
          sent = await step.value;
        } catch (e) {
          step = work.throw(e);
          continue;
        }
      } else if (signal && performance.now() - lastTurn > turnAfter) {
        await nextTurn();
        lastTurn = performance.now();
      }
      signal?.throwIfAborted();
      check?.();
      step = work.next(sent);
    }
    return step.value;
  } finally {
    work.return(undefined as never);
  }
}

/**
 * A macrotask: timers, input and abort events come first. setTimeout would be clamped to 4 ms in browsers; some edge runtimes
 * have nothing else.
 */
export function nextTurn(): Promise<void> {
  if (typeof setImmediate === "function") return new Promise((resolve) => setImmediate(resolve));
  if (typeof MessageChannel === "undefined") return new Promise((resolve) => setTimeout(resolve));
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      resolve();
    };
    channel.port2.postMessage(0);
  });
}
