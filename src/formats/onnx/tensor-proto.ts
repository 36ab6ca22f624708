/** TensorProto and its kin as host values. */
import { aligned, allocate, type DType, dtypes, isBig, type TypedArray, viewOf } from "../../tensor/dtype.ts";
import { DTypeError, FormatError } from "../../tensor/errors.ts";
import { formatType, stridesOf } from "../../tensor/shape.ts";
import type { HostTensor, HostValue } from "../../tensor/tensor.ts";
import { decodeUtf8 } from "../../tensor/utf8.ts";
import { Elements, inBytes, Weight } from "../../tensor/weight.ts";
import { readSparse, readTensor, type SparseTensorProto, type TensorProto } from "./proto.ts";
import { decodeVarints, WireReader } from "./wire.ts";

/** Bytes from which data is left where it is until somebody needs it. */
export const largeData = 1 << 16;

/** TensorProto.DataType, by number. Complex numbers have no dtype here. */
const dataTypes: readonly (DType | undefined)[] = [
  undefined,
  "f32",
  "u8",
  "i8",
  "u16",
  "i16",
  "i32",
  "i64",
  "string",
  "bool",
  "f16",
  "f64",
  "u32",
  "u64",
  undefined,
  undefined,
  "bf16",
  "f8e4m3fn",
  "f8e4m3fnuz",
  "f8e5m2",
  "f8e5m2fnuz",
  "u4",
  "i4",
  "f4e2m1",
  "f8e8m0",
  "u2",
  "i2",
  "f6e2m3",
  "f6e3m2",
];

/** The dtype of a TensorProto.DataType number. Undefined for complex numbers and numbers that mean nothing. */
export const dtypeOfOnnx = (dataType: number): DType | undefined => dataTypes[dataType];

/** The TensorProto.DataType number of a dtype. */
export const onnxOfDType = (dtype: DType): number => dataTypes.indexOf(dtype);

/**
 * The tensor: a view of the file's bytes where they are aligned, otherwise a copy; a Weight that is pending where either
 * is made later. Nothing is allocated before the data is known to fill the declared shape.
 * @throws FormatError when the data doesn't, DTypeError for a data type without a dtype
 */
export function tensorOf(t: TensorProto): HostTensor {
  const dtype = dtypeOfOnnx(t.dataType);
  const who = `onnx: tensor "${t.name}"`;
  if (!dtype) throw new DTypeError(`${who} has data type ${t.dataType}, which is not supported`);
  const shape = dimsOf(who, t.dims, t.offset);
  const size = shape.reduce((a, b) => a * b, 1);
  const type = { dtype, shape };
  const fail = (have: string): never => {
    throw new FormatError(`${who}: ${formatType(type)} needs ${size} elements, the file has ${have}`, {
      offset: t.offset,
    });
  };
  if (t.external) throw new FormatError(`${who}: its data is in an external file that was not loaded`);
  if (dtype === "string") {
    if (t.strings.length !== size) fail(`${t.strings.length}`);
    return { dtype, shape, data: t.strings.map(decodeUtf8) };
  }
  const { bits } = dtypes[dtype];
  const packed = bits < 8;
  const want = Math.ceil((size * bits) / 8);
  if (t.stored) return new Weight(dtype, shape, Elements.stored(t.stored));
  const raw = t.raw ?? fixedField(t, dtype);
  if (raw) {
    if (raw.length !== want) fail(`${raw.length} bytes, not ${want}`);
    if (packed) return { dtype, shape, data: unpack(dtype, raw, size) };
    const isAligned = raw.byteOffset % dtypes[dtype].bytes === 0;
    if (!isAligned && want >= largeData) return new Weight(dtype, shape, Elements.stored(inBytes(raw, dtype)));
    return { dtype, shape, data: aligned(dtype, raw, size) };
  }
  // A varint takes at least one byte, so the field bounds what is allocated.
  const wide = isBig(dtype) || (dtype === "u32" && t.int32s.length === 0);
  const chunks = wide ? (t.int64s.length > 0 ? t.int64s : t.uint64s) : t.int32s;
  const count = packed ? want : size;
  const bytes = chunks.reduce((n, c) => n + c.length, 0);
  if (bytes < count) fail(`${bytes} bytes`);
  const words = new Int32Array(count * (wide ? 2 : 1));
  const found = decodeVarints(chunks, words, wide ? 2 : 1);
  if (found !== count) fail(`${found}`);
  if (isBig(dtype)) return { dtype, shape, data: viewOf(dtype, words.buffer, 0, size) };
  if (packed) return { dtype, shape, data: unpack(dtype, Uint8Array.from(words), size) };
  const data = allocate(dtype, size) as Int32Array;
  // Typed arrays keep the low bits, which is how narrower types are stored.
  if (wide) for (let i = 0; i < size; i++) data[i] = words[2 * i];
  else data.set(dtype === "bool" ? words.map(Boolean as never) : words);
  return { dtype, shape, data };
}

function dimsOf(who: string, dims: readonly (number | bigint)[], offset: number): number[] {
  let size = 1;
  const shape = dims.map(Number);
  for (const d of shape) size *= d;
  if (shape.some((d) => d < 0) || !Number.isSafeInteger(size * 8))
    throw new FormatError(`${who}: impossible dimensions [${shape}]`, { offset });
  return shape;
}

/** Typed fields of fixed width have the layout of raw data. */
function fixedField(t: TensorProto, dtype: DType): Uint8Array | undefined {
  const chunks = dtype === "f32" ? t.floats : dtype === "f64" ? t.doubles : undefined;
  if (!chunks) return undefined;
  if (chunks.length === 1) return chunks[0];
  const out = new Uint8Array(chunks.reduce((n, c) => n + c.length, 0));
  let at = 0;
  for (const c of chunks) {
    out.set(c, at);
    at += c.length;
  }
  return out;
}

/** Elements of less than a byte, a stream of bits from the lowest of the first byte on, one to each entry. */
function unpack(dtype: DType, bytes: Uint8Array, size: number): TypedArray {
  const { bits, kind } = dtypes[dtype];
  const out = allocate(dtype, size) as Int8Array;
  const mask = (1 << bits) - 1;
  const spare = kind === "int" ? 32 - bits : 0;
  for (let i = 0; i < size; i++) {
    const bit = i * bits;
    const at = Math.floor(bit / 8);
    const v = ((bytes[at] | (bytes[at + 1] << 8)) >> (bit % 8)) & mask;
    out[i] = (v << spare) >> spare;
  }
  return out;
}

/** The most elements that a sparse tensor may unfold to: its file doesn't bound them. */
const maxDense = 2 ** 28;

/** A sparse tensor made dense. Indices are linear, or one row of coordinates for each value. */
export function denseOf(s: SparseTensorProto): HostTensor {
  const who = `onnx: sparse tensor "${s.values.name}"`;
  const values = tensorOf(s.values);
  const indices = tensorOf(s.indices);
  const shape = dimsOf(who, s.dims, s.values.offset);
  const size = shape.reduce((a, b) => a * b, 1);
  const count = values.data.length;
  const rank = shape.length;
  const linear = indices.shape.length === 1;
  const fail = (what: string): never => {
    throw new FormatError(`${who}: ${what}`, { offset: s.values.offset });
  };
  if (size > maxDense) fail(`[${shape}] is more than ${maxDense} elements`);
  if (indices.dtype !== "i64" || indices.data.length !== (linear ? count : count * rank))
    fail(`${formatType(indices)} are no indices for ${count} values of rank ${rank}`);
  const strides = linear ? [1] : stridesOf(shape);
  const data = allocate(values.dtype, size) as unknown as number[];
  for (let i = 0; i < count; i++) {
    let at = 0;
    strides.forEach((stride, d) => {
      at += Number(indices.data[i * strides.length + d]) * stride;
    });
    if (!(at >= 0 && at < size)) fail(`index ${at} is outside [${shape}]`);
    data[at] = values.data[i] as number;
  }
  return { dtype: values.dtype, shape, data: data as unknown as TypedArray };
}

/** A tensor from the bytes of a `.pb` file. FormatError when it isn't one. */
export const decodeTensorProto = (bytes: Uint8Array): HostTensor =>
  tensorOf(WireReader.read(bytes, "onnx", readTensor));

/** A sequence from the bytes of a SequenceProto. */
export const decodeSequenceProto = (bytes: Uint8Array): HostValue[] => WireReader.read(bytes, "onnx", readSequence);

/** A tensor, a sequence or null from the bytes of an OptionalProto. */
export const decodeOptionalProto = (bytes: Uint8Array): HostValue => WireReader.read(bytes, "onnx", readOptional);

function readSequence(wire: WireReader): HostValue[] {
  const out: HostValue[] = [];
  wire.fields((field) => {
    if (field === 3) out.push(tensorOf(wire.message(readTensor)));
    else if (field === 4) out.push(denseOf(wire.message(readSparse)));
    else if (field === 5) out.push(wire.message(readSequence));
    else if (field === 6) wire.fail("maps are not supported");
    else if (field === 7) out.push(wire.message(readOptional));
  });
  return out;
}

function readOptional(wire: WireReader): HostValue {
  let value: HostValue = null;
  wire.fields((field) => {
    if (field === 3) value = tensorOf(wire.message(readTensor));
    else if (field === 4) value = denseOf(wire.message(readSparse));
    else if (field === 5) value = wire.message(readSequence);
    else if (field === 6) wire.fail("maps are not supported");
    else if (field === 7) value = wire.message(readOptional);
  });
  return value;
}
