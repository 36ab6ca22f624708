/** Choosing a backend by name. Each is loaded when it is asked for, so that nobody downloads what they don't use. */
import type { Backend } from "./backends/backend.ts";
import { InputError } from "./tensor/errors.ts";

export type DeviceName = "cpu";
export type DeviceChoice = DeviceName | Backend;

const loaders: Record<DeviceName, () => Promise<Backend>> = {
  cpu: async () => (await import("./backends/cpu/index.ts")).cpu(),
};

export const deviceNames = Object.keys(loaders) as DeviceName[];
export const defaultDevice: DeviceName = "cpu";

/** @throws InputError for an unknown name, DeviceError where the device can't be had */
export async function openDevice(choice: DeviceChoice = defaultDevice): Promise<Backend> {
  if (typeof choice !== "string") return choice;
  const loader = loaders[choice];
  if (!loader) throw new InputError(`unknown device "${choice}"; there are: ${deviceNames.join(", ")}`);
  return await loader();
}
