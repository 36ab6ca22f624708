/**
 * The element types, one row each. `bits` is the size of a packed element in files; in memory every element takes
 * `bytes` (4-bit and 2-bit integers take one byte each, fp8, fp6 and fp4 one byte of raw bits, f16 and bf16 two).
 */

export type TypedArray =
  | Float64Array
  | Float32Array
  | Uint16Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint32Array
  | Uint8Array
  | BigInt64Array
  | BigUint64Array;

/** Bytes in memory that no threads share. Before TypeScript 5.7 typed arrays took no parameter that says so. */
export type OwnBytes = ReturnType<typeof Uint8Array.of>;

/** What a host tensor holds: a typed array, or strings. */
export type TensorData = TypedArray | string[];

export type DTypeKind = "float" | "int" | "uint" | "bool" | "string";

interface DTypeRow {
  kind: DTypeKind;
  /** Bytes of one element in memory. 0 for strings. */
  bytes: number;
  /** Bits of one element when packed in a file. */
  bits: number;
  /** The array an element lives in. Undefined for strings. */
  array?: TypedArrayConstructor;
}

export interface TypedArrayConstructor {
  new (length: number): TypedArray;
  new (buffer: ArrayBufferLike, byteOffset?: number, length?: number): TypedArray;
  readonly BYTES_PER_ELEMENT: number;
}

const row = (kind: DTypeKind, bytes: number, array?: unknown, bits = bytes * 8): DTypeRow => ({
  kind,
  bytes,
  bits,
  array: array as TypedArrayConstructor | undefined,
});

export const dtypes = {
  f64: row("float", 8, Float64Array),
  f32: row("float", 4, Float32Array),
  f16: row("float", 2, Uint16Array),
  bf16: row("float", 2, Uint16Array),
  f8e4m3fn: row("float", 1, Uint8Array),
  f8e4m3fnuz: row("float", 1, Uint8Array),
  f8e5m2: row("float", 1, Uint8Array),
  f8e5m2fnuz: row("float", 1, Uint8Array),
  f8e8m0: row("float", 1, Uint8Array),
  f6e2m3: row("float", 1, Uint8Array, 6),
  f6e3m2: row("float", 1, Uint8Array, 6),
  f4e2m1: row("float", 1, Uint8Array, 4),
  i64: row("int", 8, BigInt64Array),
  i32: row("int", 4, Int32Array),
  i16: row("int", 2, Int16Array),
  i8: row("int", 1, Int8Array),
  i4: row("int", 1, Int8Array, 4),
  i2: row("int", 1, Int8Array, 2),
  u64: row("uint", 8, BigUint64Array),
  u32: row("uint", 4, Uint32Array),
  u16: row("uint", 2, Uint16Array),
  u8: row("uint", 1, Uint8Array),
  u4: row("uint", 1, Uint8Array, 4),
  u2: row("uint", 1, Uint8Array, 2),
  bool: row("bool", 1, Uint8Array),
  string: row("string", 0),
} as const satisfies Record<string, DTypeRow>;

export type DType = keyof typeof dtypes;
export type Half = "f16" | "bf16";

export const isDType = (name: unknown): name is DType => typeof name === "string" && Object.hasOwn(dtypes, name);
export const isHalf = (dtype: unknown): dtype is Half => dtype === "f16" || dtype === "bf16";
export const isFloat = (dtype: DType): boolean => dtypes[dtype].kind === "float";
export const isInteger = (dtype: DType): boolean => dtypes[dtype].kind === "int" || dtypes[dtype].kind === "uint";
/** i64 and u64: their elements are BigInt. */
export const isBig = (dtype: DType): boolean => dtype === "i64" || dtype === "u64";
export const bytesOf = (dtype: DType): number => dtypes[dtype].bytes;

/** A zeroed array (empty strings for `string`) that holds `size` elements of `dtype`. */
export function allocate(dtype: DType, size: number): TensorData {
  const { array } = dtypes[dtype] as DTypeRow;
  return array ? new array(size) : new Array<string>(size).fill("");
}

/** A view of `size` elements of `dtype` over `buffer` from `byteOffset`, which must be aligned. */
export function viewOf(dtype: DType, buffer: ArrayBufferLike, byteOffset: number, size: number): TypedArray {
  const { array } = dtypes[dtype] as DTypeRow;
  if (!array) throw new TypeError("strings have no binary view");
  return new array(buffer, byteOffset, size);
}

/** Whether `data` is the kind of array that holds `dtype`. */
export function holds(dtype: DType, data: unknown): data is TensorData {
  const { array } = dtypes[dtype] as DTypeRow;
  // Unlike `every`, it visits holes.
  if (!array) return Array.isArray(data) && data.findIndex((s) => typeof s !== "string") < 0;
  return data instanceof (array as unknown as new () => object);
}

/** Truth values: kernels count on 0 and 1. The same array where there is nothing else. */
export const truths = (bytes: Uint8Array): Uint8Array =>
  bytes.some((b) => b > 1) ? bytes.map((b) => Number(b > 0)) : bytes;

/** `size` elements in little-endian bytes: a view of them, or of a copy where they are not aligned or no truth values. */
export function aligned(dtype: DType, bytes: Uint8Array, size: number): TypedArray {
  if (dtype === "bool") return truths(bytes);
  const source = bytes.byteOffset % dtypes[dtype].bytes === 0 ? bytes : new Uint8Array(bytes);
  return viewOf(dtype, source.buffer, source.byteOffset, size);
}
