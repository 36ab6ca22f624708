/** Choosing a backend by name. Each is loaded when it is asked for, so that nobody downloads what they don't use. */
import type { Backend } from "./backends/backend.ts";
import { DeviceError, InputError } from "./tensor/errors.ts";

export type DeviceName = "cpu" | "wasm" | "webgpu";
export type DeviceChoice = DeviceName | Backend;

export interface DeviceOptions {
  /** Of the wasm device. Default: the cores, 8 at most. */
  threads?: number;
  /** Of the webgpu device. "cpu": operators without a GPU kernel run on the host. Default: they are refused. */
  fallback?: "cpu";
}

const loaders: Record<DeviceName, (options: DeviceOptions) => Promise<Backend>> = {
  wasm: async (options) => (await import("./backends/wasm/index.ts")).wasm(options) as Backend,
  cpu: async () => (await import("./backends/cpu/index.ts")).cpu(),
  webgpu: async ({ fallback }) =>
    (await import("./backends/webgpu/index.ts")).openWebgpu({ fallback }) as Promise<Backend>,
};

export const deviceNames = Object.keys(loaders) as DeviceName[];

/**
 * The device of that name; without one, `wasm` where the host allows it, else `cpu`.
 * @throws InputError for an unknown name, DeviceError where the device can't be had
 */
export async function openDevice(choice?: DeviceChoice, options: DeviceOptions = {}): Promise<Backend> {
  if (choice !== undefined && typeof choice !== "string") return choice;
  if (choice === undefined) return await loaders.wasm(options).catch(orPlain(options));
  const loader = Object.hasOwn(loaders, choice) ? loaders[choice] : undefined;
  if (!loader) throw new InputError(`unknown device "${choice}"; there are: ${deviceNames.join(", ")}`);
  return await loader(options);
}

const orPlain =
  (options: DeviceOptions) =>
  (e: unknown): Promise<Backend> => {
    if (e instanceof DeviceError) return loaders.cpu(options);
    throw e;
  };
