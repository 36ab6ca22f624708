/** Options that all tasks take. */
import type { DeviceChoice } from "../device.ts";
import type { FetchOptions } from "../formats/source.ts";
import type { LoadProgress } from "../load.ts";
import { loadOptions } from "../load-options.ts";
import type { OptionNames } from "../tensor/options.ts";

export { checkOptions, checkWhole, type OptionNames } from "../tensor/options.ts";

export interface TaskOptions extends FetchOptions {
  /** Default: the fastest that is there. */
  device?: DeviceChoice;
  /** Threads of the wasm device. */
  threads?: number;
  /** Of the webgpu device. "cpu": operators without a GPU kernel run on the host. Default: they are refused. */
  fallback?: "cpu";
  signal?: AbortSignal;
  onProgress?: (progress: LoadProgress) => void;
}

const { optimize: _, memoryLimit: __, verify: ___, externalData: ____, ...shared } = loadOptions;
export const taskOptions: OptionNames<TaskOptions> = shared;

export interface SignalOptions {
  signal?: AbortSignal;
}

export const signalOptions: OptionNames<SignalOptions> = { signal: true };
