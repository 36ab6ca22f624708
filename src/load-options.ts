/** The names of what `load`, the tasks and `openDevice` take. */
import type { DeviceOptions } from "./device.ts";
import { fetchOptionNames } from "./formats/fetch-options.ts";
import type { LoadOptions } from "./load.ts";
import { checkOptions, type OptionNames } from "./tensor/options.ts";

export const loadOptions: OptionNames<LoadOptions> = {
  device: true,
  threads: true,
  fallback: true,
  optimize: true,
  memoryLimit: true,
  verify: true,
  outputs: true,
  signal: true,
  onProgress: true,
  externalData: true,
  ...fetchOptionNames,
};

/** @throws InputError */
export const checkLoadOptions = (options: LoadOptions): void => checkOptions("load", options, loadOptions);

const deviceOptions: OptionNames<DeviceOptions> = { threads: true, fallback: true };

/** @throws InputError */
export const checkDeviceOptions = (options: DeviceOptions): void => checkOptions("openDevice", options, deviceOptions);
