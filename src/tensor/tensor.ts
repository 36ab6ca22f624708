import { DeviceTensor } from "./device-tensor.ts";
import {
  allocate,
  bytesOf,
  type DType,
  dtypes,
  holds,
  isDType,
  type TensorData,
  type TypedArray,
  type TypedArrayConstructor,
  truths,
} from "./dtype.ts";
import { DTypeError, InputError, ShapeError } from "./errors.ts";
import { formatType, type Shape, sizeOf } from "./shape.ts";
import { Weight } from "./weight.ts";

/** Element type and dimensions. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** A dense row-major tensor in the host's memory: what models take and give. */
export interface HostTensor extends TensorType {
  readonly data: TensorData;
}

/** A tensor whose elements are binary. */
export interface BinaryTensor extends TensorType {
  readonly data: TypedArray;
}

/** Everything that flows along a graph's edges: a tensor, an ONNX sequence, or an empty ONNX optional. */
export type HostValue = HostTensor | readonly HostValue[] | null;

/** The same, or a tensor that is on a device. */
export type AnyValue = HostValue | DeviceTensor;

export const isHostTensor = (v: AnyValue | undefined): v is HostTensor =>
  v !== null && v !== undefined && !Array.isArray(v) && !(v instanceof DeviceTensor);

/** A tensor, wherever its elements are. */
export const isTensor = (v: AnyValue | undefined): v is HostTensor | DeviceTensor =>
  v !== null && v !== undefined && !Array.isArray(v);

/** Bytes that a value of the type takes. Strings count as references. */
export const memoryOf = ({ dtype, shape }: TensorType): number => sizeOf(shape) * (bytesOf(dtype) || 8);

/** A zeroed tensor of the type. */
export const emptyTensor = ({ dtype, shape }: TensorType): HostTensor => ({
  dtype,
  shape,
  data: allocate(dtype, sizeOf(shape)),
});

/** The same elements under another shape of the same size. Shares memory. */
export function reshaped(t: HostTensor, shape: Shape): HostTensor {
  if (sizeOf(shape) !== sizeOf(t.shape))
    throw new ShapeError(`reshape: ${formatType(t)} has ${sizeOf(t.shape)} elements, [${shape}] has ${sizeOf(shape)}`);
  if (t instanceof Weight) return t.reshaped(shape);
  return { dtype: t.dtype, shape, data: t.data };
}

const arrayDTypes: Readonly<Record<string, DType | undefined>> = {
  Float32Array: "f32",
  Float64Array: "f64",
  BigInt64Array: "i64",
  BigUint64Array: "u64",
  Int32Array: "i32",
  Uint32Array: "u32",
  Int16Array: "i16",
  Uint16Array: "u16",
  Int8Array: "i8",
  Uint8Array: "u8",
  Uint8ClampedArray: "u8",
};

/** The dtype that a typed array stands for when none is named. By its tag: frames have classes of their own. */
export function dtypeOfArray(data: unknown): DType | undefined {
  if (Array.isArray(data)) return "string";
  return ArrayBuffer.isView(data) ? arrayDTypes[(data as Uint8Array)[Symbol.toStringTag]] : undefined;
}

/** @throws DTypeError for an unknown dtype */
export function checkDType(dtype: DType, who: string): void {
  if (!isDType(dtype))
    throw new DTypeError(`${who}: unknown dtype ${JSON.stringify(dtype)}; known: ${Object.keys(dtypes).join(" ")}`);
}

/** @throws DTypeError, ShapeError */
export function checkTensorType({ dtype, shape }: TensorType, who: string): void {
  checkDType(dtype, who);
  if (!Array.isArray(shape) || !shape.every((d) => Number.isSafeInteger(d) && d >= 0))
    throw new ShapeError(`${who}: shape must be an array of whole numbers >= 0, got ${printed(shape)}`);
}

/** What is no shape. JSON has no bigints. */
export const printed = (shape: unknown): string =>
  JSON.stringify(shape, (_, d) => (typeof d === "bigint" ? `${d}n` : d));

/** Checks a `{ dtype, shape, data }` from outside, in which any byte but 0 is true. `who` names the input in messages. */
export function checkHostTensor(t: HostTensor, who: string): HostTensor {
  if (t.dtype === undefined) throw new DTypeError(`${who}: a tensor is { dtype, shape, data }; this one has no dtype`);
  checkTensorType(t, who);
  if (t.data === undefined || t.data === null) throw new InputError(`${who}: tensor without data`);
  const { array } = dtypes[t.dtype] as { array?: TypedArrayConstructor };
  const held = dtypeOfArray(t.data);
  if (array && held && !holds(t.dtype, t.data) && (dtypes[held] as { array?: unknown }).array === array) {
    // Clamped, or of another realm.
    const { buffer, byteOffset, length } = t.data as TypedArray;
    t = { ...t, data: new array(buffer, byteOffset, length) };
  }
  if (!holds(t.dtype, t.data))
    throw new DTypeError(
      `${who}: ${t.dtype} data must be a ${dtypes[t.dtype].array?.name ?? "string[]"}, got ${Object.prototype.toString.call(t.data).slice(8, -1)}`,
    );
  if (t.data.length !== sizeOf(t.shape))
    throw new ShapeError(`${who}: ${formatType(t)} needs ${sizeOf(t.shape)} elements, data has ${t.data.length}`);
  return t.dtype === "bool" ? { ...t, data: truths(t.data as Uint8Array) } : t;
}
