/** An engine under measurement. Typed arrays go in and come out, for all alike: copies and readback are part of the time. */
import type { Task } from "../task.ts";

export interface Loaded {
  run(): unknown;
  /** The first output's elements in what `run` gave. */
  values(result: unknown): Float32Array;
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
