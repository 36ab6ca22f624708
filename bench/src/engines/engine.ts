/**
 * An engine under measurement. Typed arrays go in and come out, for all alike: copies and readback are part of the time.
 * With `task.resident` those that can keep inputs and outputs in the device's memory.
 */
import type { Task } from "../task.ts";

export interface Loaded {
  run(): unknown;
  /** Present where `run` only starts the work: waits until all that was started is done. */
  finish?(): Promise<unknown>;
  /** The first output's elements in what `run` gave. */
  values(result: unknown): Float32Array | Promise<Float32Array>;
  dispose(): unknown;
}

export interface Engine {
  readonly name: string;
  /** Of the engine that this one's times are divided by; absent: an absolute column. */
  readonly baseline?: string;
  /** @throws Error that says why the engine can't do the task */
  load(task: Task): Promise<Loaded>;
}

export const asFloats = (result: unknown): Float32Array => result as Float32Array;
