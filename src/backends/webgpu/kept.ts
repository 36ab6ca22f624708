/** Elements of tensors that stay on the device. */
import type { DeviceElements, DeviceTensor } from "../../tensor/device-tensor.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { bufferBytes, copiedBytes, decode } from "./border.ts";
import type { WebgpuSession } from "./session.ts";

export interface KeptElements extends DeviceElements {
  readonly buffer: GPUBuffer;
}

/** A buffer of its own for a value: it outlives the session. */
export function keptElements({ gpu, target }: WebgpuSession, { dtype, shape }: TensorType): KeptElements {
  const type = { dtype, shape };
  const buffer = gpu.take(bufferBytes(target, type), "a tensor that stays on the device");
  return {
    memory: gpu,
    users: 0,
    buffer,
    read: async () => decode(target, type, await gpu.readBack(buffer, copiedBytes(target, type)), 0),
    free: () => gpu.giveBack(buffer),
  };
}

/** Where the elements of an input are, which the session has checked to be of this device. */
export const bufferOf = (t: DeviceTensor): GPUBuffer => (t.elements as KeptElements).buffer;
