import { fromF64 } from "./convert.ts";
import { DeviceTensor } from "./device-tensor.ts";
import { allocate, type DType, dtypes, holds, isDType, type TensorData, type TypedArray } from "./dtype.ts";
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

/** Nested arrays, one number, or flat elements, as users write them. */
export type NestedArray = number | bigint | boolean | string | readonly NestedArray[];

const arrayDTypes: [new () => object, DType][] = [
  [Float32Array, "f32"],
  [Float64Array, "f64"],
  [BigInt64Array, "i64"],
  [BigUint64Array, "u64"],
  [Int32Array, "i32"],
  [Uint32Array, "u32"],
  [Int16Array, "i16"],
  [Uint16Array, "u16"],
  [Int8Array, "i8"],
  [Uint8Array, "u8"],
  [Uint8ClampedArray as unknown as new () => object, "u8"],
];

/** The dtype that a typed array stands for when none is named. */
export function dtypeOfArray(data: unknown): DType | undefined {
  if (Array.isArray(data)) return "string";
  for (let i = 0; i < arrayDTypes.length; i++) if (data instanceof arrayDTypes[i][0]) return arrayDTypes[i][1];
  return undefined;
}

/**
 * A host tensor from nested arrays or a typed array.
 * @param dtype default: from the typed array; for plain numbers f32, bigints i64, booleans bool, strings string
 * @throws ShapeError for ragged nesting or a size that doesn't fit; DTypeError for elements that don't fit the dtype
 */
export function hostTensor(
  values: NestedArray | TypedArray,
  options: { dtype?: DType; shape?: Shape } = {},
): HostTensor {
  if (ArrayBuffer.isView(values)) {
    const dtype = options.dtype ?? dtypeOfArray(values);
    const data = values as TypedArray;
    if (!dtype) throw new DTypeError(`tensor: ${Object.prototype.toString.call(values)} is not a supported array`);
    return checkHostTensor({ dtype, shape: options.shape ?? [data.length], data }, "tensor");
  }
  const flat: (number | bigint | boolean | string)[] = [];
  const shape: number[] = [];
  flatten(values as NestedArray, 0, shape, flat);
  const dtype = options.dtype ?? defaultDType(flat[0]);
  const t = emptyTensor({ dtype, shape: options.shape ?? shape });
  if (t.data.length !== flat.length)
    throw new ShapeError(`tensor: ${flat.length} elements do not fill ${formatType(t)}`);
  if (dtype === "string") for (let i = 0; i < flat.length; i++) (t.data as string[])[i] = String(flat[i]);
  else if (t.data instanceof BigInt64Array || t.data instanceof BigUint64Array)
    for (let i = 0; i < flat.length; i++) t.data[i] = BigInt(flat[i]);
  else fromF64(flat.map(Number), t);
  return t;
}

function defaultDType(first: unknown): DType {
  if (typeof first === "bigint") return "i64";
  if (typeof first === "boolean") return "bool";
  return typeof first === "string" ? "string" : "f32";
}

function flatten(v: NestedArray, depth: number, shape: number[], out: (number | bigint | boolean | string)[]): void {
  if (typeof v !== "object") {
    if (depth !== shape.length) throw new ShapeError(`tensor: nested arrays are ragged at depth ${depth}`);
    out.push(v);
    return;
  }
  if (depth === shape.length) {
    if (out.length > 0) throw new ShapeError(`tensor: nested arrays are ragged at depth ${depth}`);
    shape.push(v.length);
  } else if (shape[depth] !== v.length)
    throw new ShapeError(
      `tensor: nested arrays are ragged at depth ${depth}: ${v.length} and ${shape[depth]} elements`,
    );
  for (const e of v as readonly NestedArray[]) flatten(e, depth + 1, shape, out);
}

/** Checks a `{ dtype, shape, data }` from outside. `who` names the input in messages. */
export function checkHostTensor(t: HostTensor, who: string): HostTensor {
  if (t.dtype === undefined) throw new DTypeError(`${who}: a tensor is { dtype, shape, data }; this one has no dtype`);
  if (!isDType(t.dtype))
    throw new DTypeError(`${who}: unknown dtype ${JSON.stringify(t.dtype)}; known: ${Object.keys(dtypes).join(" ")}`);
  if (!Array.isArray(t.shape) || !t.shape.every((d) => Number.isSafeInteger(d) && d >= 0))
    throw new ShapeError(`${who}: shape must be an array of whole numbers >= 0, got ${JSON.stringify(t.shape)}`);
  if (t.data === undefined || t.data === null) throw new InputError(`${who}: tensor without data`);
  if (t.data instanceof Uint8ClampedArray && t.dtype === "u8") {
    const clamped = t.data as Uint8ClampedArray;
    t = { ...t, data: new Uint8Array(clamped.buffer, clamped.byteOffset, clamped.length) };
  }
  if (!holds(t.dtype, t.data))
    throw new DTypeError(
      `${who}: ${t.dtype} data must be a ${dtypes[t.dtype].array?.name ?? "string[]"}, got ${Object.prototype.toString.call(t.data).slice(8, -1)}`,
    );
  if (t.data.length !== sizeOf(t.shape))
    throw new ShapeError(`${who}: ${formatType(t)} needs ${sizeOf(t.shape)} elements, data has ${t.data.length}`);
  return t;
}
