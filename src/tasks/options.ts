/** Options that all tasks take. */
import type { DeviceChoice } from "../device.ts";
import type { FetchOptions } from "../formats/source.ts";
import type { LoadProgress } from "../load.ts";

export interface TaskOptions extends FetchOptions {
  /** Default: the fastest that is there. */
  device?: DeviceChoice;
  /** Threads of the wasm device. */
  threads?: number;
  signal?: AbortSignal;
  onProgress?: (progress: LoadProgress) => void;
}
