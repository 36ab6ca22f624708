/** Elements on their way between typed arrays of the host and device memory. */
import { fromF64, toF64 } from "../../tensor/convert.ts";
import { bytesOf, type DType, type TypedArray, viewOf } from "../../tensor/dtype.ts";
import { InputError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import { emptyTensor } from "../../tensor/tensor.ts";
import { deviceBytes, type GpuTarget, storageOf } from "./target.ts";

/** Buffers are this much longer than their elements at most: vectors of four reach past the end. */
const granule = 16;

/** Bytes of a tensor's buffer. */
export const bufferBytes = (target: Pick<GpuTarget, "f16">, { dtype, shape }: TensorType): number =>
  Math.max(granule, Math.ceil((sizeOf(shape) * deviceBytes(target, dtype)) / granule) * granule);

/** Bytes to copy for a tensor: whole words. */
export const copiedBytes = (target: Pick<GpuTarget, "f16">, { dtype, shape }: TensorType): number =>
  Math.ceil((sizeOf(shape) * deviceBytes(target, dtype)) / 4) * 4;

/**
 * The elements as device memory has them, in whole words.
 * @throws InputError for an i64 or u64 that 32 bits don't hold
 */
export function encode(target: Pick<GpuTarget, "f16">, dtype: DType, data: TypedArray): TypedArray {
  const storage = storageOf(target, dtype);
  if (!storage || storage.bytes === bytesOf(dtype)) return inWords(data);
  if (storage.element === "f32") return Float32Array.from(toF64({ dtype, data }));
  if (data instanceof BigInt64Array) return narrow(data, new Int32Array(data.length), dtype);
  if (data instanceof BigUint64Array) return narrow(data, new Uint32Array(data.length), dtype);
  return storage.element === "i32" ? Int32Array.from(data as Int8Array) : Uint32Array.from(data as Uint8Array);
}

/** Bytes in multiples of four, as copies want them. */
function inWords(data: TypedArray): TypedArray {
  if (data.byteLength % 4 === 0) return data;
  const padded = new Uint8Array(Math.ceil(data.byteLength / 4) * 4);
  padded.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return padded;
}

function narrow<T extends Int32Array | Uint32Array>(source: BigInt64Array | BigUint64Array, out: T, dtype: DType): T {
  for (let i = 0; i < out.length; i++) {
    out[i] = Number(source[i]);
    if (BigInt(out[i]) !== source[i])
      throw new InputError(
        `webgpu: ${source[i]} does not fit in 32 bits, to which ${dtype} tensors are narrowed on this device; use the ` +
          "wasm or the cpu device",
        { types: [dtype] },
      );
  }
  return out;
}

/** A host tensor from device memory, which `buffer` holds a copy of from `offset` on. */
export function decode(
  target: Pick<GpuTarget, "f16">,
  type: TensorType,
  buffer: ArrayBuffer,
  offset: number,
): HostTensor {
  const { dtype, shape } = type;
  const size = sizeOf(shape);
  const storage = storageOf(target, dtype);
  if (!storage || storage.bytes === bytesOf(dtype)) {
    // A copy: the memory is given back, and rows of eight bytes may start between two of them.
    const bytes = buffer.slice(offset, offset + size * bytesOf(dtype));
    return { dtype, shape, data: viewOf(dtype, bytes, 0, size) };
  }
  const t = emptyTensor(type);
  if (storage.element === "f32") fromF64(new Float32Array(buffer, offset, size), t);
  else {
    const words =
      storage.element === "i32" ? new Int32Array(buffer, offset, size) : new Uint32Array(buffer, offset, size);
    if (dtype === "i64" || dtype === "u64")
      (t.data as BigInt64Array).set(BigInt64Array.from(words as Int32Array, BigInt));
    else (t.data as Int32Array).set(words);
  }
  return t;
}
