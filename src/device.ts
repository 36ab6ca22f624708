/** Choosing a backend by name. Each is loaded when it is asked for, so that nobody downloads what they don't use. */
import type { Backend } from "./backends/backend.ts";
import { DeviceError, InputError } from "./tensor/errors.ts";
import { areUsual } from "./tensor/usual.ts";

export type DeviceName = "cpu" | "wasm" | "webgpu" | "gpujs";
export type DeviceChoice = DeviceName | Backend;

export interface DeviceOptions {
  /** Of the wasm device. Default: the cores, 8 at most. */
  threads?: number;
  /** Of the webgpu device. "cpu": operators without a GPU kernel run on the host. Default: they are refused. */
  fallback?: "cpu";
}

const loaders: Record<DeviceName, (options: DeviceOptions) => Promise<Backend>> = {
  wasm: async ({ threads }) => (await import("./backends/wasm/index.ts")).wasm({ threads }) as Backend,
  cpu: async () => (await import("./backends/cpu/index.ts")).cpu(),
  webgpu: async ({ fallback }) =>
    (await import("./backends/webgpu/index.ts")).openWebgpu({ fallback }) as Promise<Backend>,
  gpujs: async (options) => {
    const [{ gpujs }, host] = await Promise.all([import("./backends/gpujs/index.ts"), openHost(options)]);
    return gpujs({ host });
  },
};

/**
 * The device of that name. Without one: `gpujs` in a browser that has no WebGPU and whose page loaded `gpu.js`, else
 * `wasm` where the host allows it, else `cpu`.
 * @throws InputError for an unknown name or option, and what is no device (a promise of one), DeviceError where the device can't be had, MissingPeerError without its package
 */
export async function openDevice(choice?: DeviceChoice, options: DeviceOptions = {}): Promise<Backend> {
  if (!areUsual(options, "threads fallback")) (await import("./load-options.ts")).checkDeviceOptions(options);
  return await deviceFor(choice, options);
}

/** The same with the options of `load` or of a task, which check theirs. */
export async function deviceFor(choice: DeviceChoice | undefined, options: DeviceOptions): Promise<Backend> {
  if (typeof (choice as Backend | undefined)?.open === "function") return choice as Backend;
  if (choice === undefined) {
    const chosen = prefersGpuJs() ? await loaders.gpujs(options).catch(orUndefined) : undefined;
    return chosen ?? (await openHost(options));
  }
  if (typeof choice !== "string" || !Object.hasOwn(loaders, choice))
    throw new InputError(
      `unknown device ${typeof choice === "string" ? `"${choice}"` : Array.isArray(choice) ? "list: pass one name" : typeof choice}; there are: ${Object.keys(loaders).join(", ")}`,
    );
  return await loaders[choice](options);
}

/** The fastest device that computes on the CPU. */
const openHost = async (options: DeviceOptions): Promise<Backend> =>
  (await loaders.wasm(options).catch(orUndefined)) ?? (await loaders.cpu(options));

const orUndefined = (e: unknown): undefined => {
  if (!(e instanceof DeviceError)) throw e;
};

/** A page that loaded `gpu.js` has its class as a global. Browsers with WebGPU have an interface of that name. */
const prefersGpuJs = (): boolean => {
  const { GPU, navigator } = globalThis as { GPU?: { prototype?: object }; navigator?: { gpu?: unknown } };
  return navigator !== undefined && !navigator.gpu && GPU?.prototype !== undefined && "createKernel" in GPU.prototype;
};
