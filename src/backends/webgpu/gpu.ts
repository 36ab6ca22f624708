/** Where WebGPU comes from: the browser or worker, or in Node the optional peer `webgpu` (Dawn). */
import { DeviceError, MissingPeerError } from "../../tensor/errors.ts";
import { loadPeer } from "../../tensor/peer.ts";

/** There is no GPU to be had here: another device may do. */
export class NoGpuError extends DeviceError {}

interface Dawn {
  create(flags: string[]): GPU;
  globals: object;
}

/** Kept: what it gave stops working when it is collected. */
let dawn: GPU | undefined;

/** @throws NoGpuError with what to install or to look at */
export async function findGpu(): Promise<GPU> {
  const own = (globalThis.navigator as { gpu?: GPU } | undefined)?.gpu;
  if (own) return own;
  if (!globalThis.process?.versions?.node)
    throw new NoGpuError("webgpu: this browser has no navigator.gpu (or the page is not served by https)");
  if (dawn) return dawn;
  try {
    const { create, globals } = await loadPeer<Dawn>("webgpu", "the webgpu device in Node");
    // What is there already stays: a later Node may have some of these of its own.
    for (const [name, value] of Object.entries(Object.getOwnPropertyDescriptors(globals)))
      if (!(name in globalThis)) Object.defineProperty(globalThis, name, value);
    return (dawn = create([]));
  } catch (cause) {
    const { message } = cause as Error;
    throw new NoGpuError(cause instanceof MissingPeerError ? message : `webgpu: Dawn did not start: ${message}`, {
      cause,
    });
  }
}

/** @throws NoGpuError */
export async function findAdapter(options: GPURequestAdapterOptions): Promise<GPUAdapter> {
  const gpu = await findGpu();
  const adapter = await gpu.requestAdapter(options).catch((cause) => {
    throw new NoGpuError(`webgpu: no adapter: ${(cause as Error).message}`, { cause });
  });
  if (adapter) return adapter;
  throw new NoGpuError(
    "webgpu: there is no GPU adapter; a driver for Vulkan, Metal or Direct3D 12 has to be installed, and in browsers " +
      "WebGPU has to be enabled. The wasm device needs neither",
  );
}
