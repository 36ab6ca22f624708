/** The adapter that tests in Node run on: SwiftShader's, or the machine's own where that isn't carried by npm. */
import { create, globals } from "webgpu";

let gpu: GPU | undefined;

/**
 * @throws Error where there is none. Tests fail then: GPU code that ran nowhere is not tested.
 */
export async function requestAdapter(): Promise<GPUAdapter> {
  Object.assign(globalThis, globals);
  gpu ??= create([]);
  const adapter = await gpu.requestAdapter();
  if (adapter) return adapter;
  const where = `VK_DRIVER_FILES=${process.env["VK_DRIVER_FILES"]}, LD_LIBRARY_PATH=${process.env["LD_LIBRARY_PATH"]}`;
  throw new Error(
    `no GPU adapter on ${process.platform}-${process.arch} (${where}): on Linux x64 \`npm ci\` brings SwiftShader in ` +
      "@sparticuz/chromium; elsewhere a Vulkan, Metal or D3D12 driver has to be there",
  );
}
