/** The options of the webgpu backend, checked for those who give any: most pages don't. */
import { InputError } from "../../tensor/errors.ts";
import { checkOptions, type OptionNames } from "../../tensor/options.ts";
import type { WebgpuOptions } from "./index.ts";

const webgpuOptions: OptionNames<WebgpuOptions> = {
  device: true,
  powerPreference: true,
  limits: true,
  fallback: true,
  onProgress: true,
};

/** @throws InputError */
export function checkWebgpuOptions(options: WebgpuOptions): void {
  checkOptions("webgpu", options, webgpuOptions);
  const { device, powerPreference, limits, fallback } = options;
  const expected = (name: keyof WebgpuOptions, what: string): InputError =>
    new InputError(`webgpu: ${name} takes ${what}, got ${JSON.stringify(options[name]) ?? typeof options[name]}`);
  if (device !== undefined && typeof device?.createBuffer !== "function")
    throw expected("device", "a GPUDevice, as await adapter.requestDevice() gives");
  if (powerPreference !== undefined && powerPreference !== "low-power" && powerPreference !== "high-performance")
    throw expected("powerPreference", '"low-power" or "high-performance"');
  if (limits !== undefined && (typeof limits !== "object" || limits === null))
    throw expected("limits", "an object of numbers");
  if (fallback !== undefined && fallback !== "cpu") throw expected("fallback", '"cpu"');
}
