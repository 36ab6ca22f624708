/**
 * safetensors: an 8-byte header length, a JSON header, then the tensors' bytes without a gap.
 * Source: the format description in the README of huggingface/safetensors, and the checks its reference reader makes.
 */
import { aligned, type DType, dtypes, isHalf } from "../tensor/dtype.ts";
import { DTypeError, FormatError, InputError } from "../tensor/errors.ts";
import { formatType, sizeOf } from "../tensor/shape.ts";
import { type BinaryTensor, checkHostTensor, type HostTensor, type TensorType } from "../tensor/tensor.ts";
import type { StoredElements } from "../tensor/weight.ts";
import { isObject } from "./is-object.ts";
import { maxSafetensorsHeader } from "./recognize.ts";
import { type ByteSource, type HeldSource, openSource, type SourceInput } from "./source.ts";
import { storedElements } from "./stored-elements.ts";

export { isSafetensors } from "./recognize.ts";

/** The format's dtype names: bits of an element, and ours. Complex numbers have none; nobody says how 6-bit floats are packed. */
const storageTypes: Record<string, { bits: number; dtype?: DType }> = {
  BOOL: { bits: 8, dtype: "bool" },
  F4: { bits: 4, dtype: "f4e2m1" },
  F6_E2M3: { bits: 6 },
  F6_E3M2: { bits: 6 },
  U8: { bits: 8, dtype: "u8" },
  I8: { bits: 8, dtype: "i8" },
  F8_E5M2: { bits: 8, dtype: "f8e5m2" },
  F8_E4M3: { bits: 8, dtype: "f8e4m3fn" },
  F8_E8M0: { bits: 8, dtype: "f8e8m0" },
  F8_E4M3FNUZ: { bits: 8, dtype: "f8e4m3fnuz" },
  F8_E5M2FNUZ: { bits: 8, dtype: "f8e5m2fnuz" },
  I16: { bits: 16, dtype: "i16" },
  U16: { bits: 16, dtype: "u16" },
  F16: { bits: 16, dtype: "f16" },
  BF16: { bits: 16, dtype: "bf16" },
  I32: { bits: 32, dtype: "i32" },
  U32: { bits: 32, dtype: "u32" },
  F32: { bits: 32, dtype: "f32" },
  C64: { bits: 64 },
  F64: { bits: 64, dtype: "f64" },
  I64: { bits: 64, dtype: "i64" },
  U64: { bits: 64, dtype: "u64" },
};

const storageOf = new Map(Object.entries(storageTypes).flatMap(([name, { dtype }]) => (dtype ? [[dtype, name]] : [])));

export interface SafetensorsTensor {
  readonly name: string;
  /** Undefined where only `bytes` works: C64 has no dtype here, and how 6-bit floats are packed (F6_E2M3, F6_E3M2) is not laid down. */
  readonly dtype: DType | undefined;
  /** The format's own name of the type, `F8_E4M3`. */
  readonly storage: string;
  readonly shape: readonly number[];
  /** Where the bytes begin in their file. */
  readonly byteOffset: number;
  readonly byteLength: number;
  /** The raw bytes. Don't write to them: they may be a view of the file in memory. */
  bytes(signal?: AbortSignal): Promise<Uint8Array>;
  /**
   * The tensor: a view of the file in memory where the alignment allows, otherwise a copy. f4 elements take a byte each.
   * @throws DTypeError for a type that has no dtype here
   */
  read(signal?: AbortSignal): Promise<BinaryTensor>;
  /** The elements of floats, to be read when they are needed. Missing unless the file is held. */
  stored?(): StoredElements;
}

export interface SafetensorsFile {
  /** The header's `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
}

/**
 * Reads the header; tensors are read when asked for.
 * @param input a path, URL, bytes, Blob or ByteSource
 * @throws FormatError (with byte offset) unless the header is valid and the tensors cover the rest of the file exactly;
 *   InputError for what can't be opened
 */
export async function readSafetensors(input: SourceInput): Promise<SafetensorsFile> {
  const source = await openSource(input);
  const fail = (message: string, offset: number, cause?: unknown): never => {
    throw new FormatError(`${source.name}: ${message}`, { offset, cause });
  };
  if (source.size < 8) fail(`${source.size} bytes are too few for a safetensors header`, 0);
  const lengthBytes = await source.read(0, 8);
  const headerBytes = new DataView(lengthBytes.buffer, lengthBytes.byteOffset).getBigUint64(0, true);
  if (headerBytes > BigInt(maxSafetensorsHeader)) fail(`header of ${headerBytes} bytes is too large`, 0);
  const dataStart = 8 + Number(headerBytes);
  if (dataStart > source.size) fail(`header of ${headerBytes} bytes does not fit in ${source.size}`, 0);

  let header: unknown;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await source.read(8, dataStart - 8));
    header = JSON.parse(text);
  } catch (cause) {
    fail(`header is not JSON in UTF-8: ${(cause as Error).message}`, 8, cause);
  }
  if (!isObject(header)) return fail("header is not a JSON object", 8);

  const metadata = new Map<string, string>();
  const tensors: SafetensorsTensor[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") {
      if (!isObject(entry)) return fail("__metadata__ is not an object", 8);
      for (const [key, value] of Object.entries(entry)) {
        if (typeof value !== "string") return fail(`__metadata__.${key} is not a string`, 8);
        metadata.set(key, value);
      }
    } else tensors.push(tensorOf(source, name, entry, dataStart, fail));
  }

  // In the order of their bytes they must follow one another without gap or overlap, to the end of the file.
  tensors.sort((a, b) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength);
  let end = dataStart;
  for (const t of tensors) {
    if (t.byteOffset !== end)
      fail(
        `tensor "${t.name}" begins at ${t.byteOffset}, ${t.byteOffset < end ? "inside" : "after a gap behind"} the one that ends at ${end}`,
        t.byteOffset,
      );
    end = t.byteOffset + t.byteLength;
  }
  if (end !== source.size) fail(`tensors end at ${end}, the file at ${source.size}`, Math.min(end, source.size));
  return { metadata, tensors: new Map(tensors.map((t) => [t.name, t])) };
}

const isWholeNumbers = (v: unknown): v is number[] =>
  Array.isArray(v) && v.every((d) => Number.isSafeInteger(d) && d >= 0 && !Object.is(d, -0));

function tensorOf(
  source: ByteSource,
  name: string,
  entry: unknown,
  dataStart: number,
  fail: (message: string, offset: number) => never,
): SafetensorsTensor {
  const what = `tensor ${JSON.stringify(name)}`;
  if (!isObject(entry)) return fail(`${what} is not an object`, 8);
  const { dtype: storage, shape, data_offsets: offsets } = entry;
  if (typeof storage !== "string" || !Object.hasOwn(storageTypes, storage))
    return fail(`${what}: unknown dtype ${JSON.stringify(storage)}`, 8);
  if (!isWholeNumbers(shape)) return fail(`${what}: shape ${JSON.stringify(shape)} is not a list of sizes`, 8);
  if (!isWholeNumbers(offsets) || offsets.length !== 2)
    return fail(`${what}: data_offsets ${JSON.stringify(offsets)} are not two positions`, 8);
  const [begin, end] = offsets;
  const byteOffset = dataStart + begin;
  if (begin > end) return fail(`${what}: begins at ${begin}, after its end ${end}`, 8);
  if (end > source.size - dataStart)
    return fail(
      `${what}: ends at ${dataStart + end}, beyond the file of ${source.size} bytes`,
      Math.min(byteOffset, source.size),
    );
  const { bits, dtype } = storageTypes[storage];
  const byteLength = end - begin;
  // Above 2^53 the product is rounded, but then it cannot equal the length of a file either.
  if (sizeOf(shape) * bits !== byteLength * 8)
    return fail(`${what}: ${storage}[${shape}] does not take the ${byteLength} bytes given`, byteOffset);
  const bytes = (signal?: AbortSignal) => source.read(byteOffset, byteLength, signal);
  const later = source.readSync && (dtype === "f32" || isHalf(dtype)) ? dtype : undefined;
  return {
    name,
    dtype,
    storage,
    shape,
    byteOffset,
    byteLength,
    bytes,
    async read(signal) {
      if (!dtype)
        throw new DTypeError(`${source.name}: ${what} is ${storage}, which has no dtype here`, { types: [storage] });
      return { dtype, shape, data: elementsOf(dtype, await bytes(signal), sizeOf(shape)) };
    },
    stored: later && (() => storedElements(later, source as HeldSource, byteOffset, byteLength)),
  };
}

function elementsOf(dtype: DType, bytes: Uint8Array, size: number): BinaryTensor["data"] {
  if (dtype === "f4e2m1") {
    // Two to a byte, the first in the low half.
    const out = new Uint8Array(size);
    for (let i = 0; i < size; i++) out[i] = (bytes[i >> 1] >> ((i & 1) * 4)) & 15;
    return out;
  }
  return aligned(dtype, bytes, size);
}

/**
 * Reads a checkpoint split over several files, described by `model.safetensors.index.json`.
 * @param open opens a file named by the index, beside it
 * @throws FormatError when the index is malformed, or a file lacks a tensor that the index says it has
 */
export async function readShardedSafetensors(
  index: ByteSource,
  open: (fileName: string) => Promise<ByteSource>,
): Promise<SafetensorsFile> {
  const fail = (message: string, cause?: unknown): never => {
    throw new FormatError(`${index.name}: ${message}`, { offset: 0, cause });
  };
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(await index.read(0, index.size)));
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    fail(`not JSON in UTF-8: ${(cause as Error).message}`, cause);
  }
  if (!isObject(json) || !isObject(json.weight_map)) return fail("no weight_map");
  const shards = new Map<string, string[]>();
  for (const [tensor, file] of Object.entries(json.weight_map)) {
    // A file beside the index: never a path that leads elsewhere.
    if (typeof file !== "string" || !/^[^/\\:]+$/.test(file) || file === "." || file === "..")
      return fail(`weight_map: tensor "${tensor}" is in ${JSON.stringify(file)}, which is not a file name`);
    shards.set(file, [...(shards.get(file) ?? []), tensor]);
  }
  const metadata = new Map<string, string>();
  const tensors = new Map<string, SafetensorsTensor>();
  for (const [file, names] of shards) {
    const shard = await readSafetensors(await open(file));
    for (const [key, value] of shard.metadata) metadata.set(key, value);
    for (const name of names) {
      const tensor = shard.tensors.get(name);
      if (!tensor) return fail(`tensor "${name}" is not in ${file}`);
      tensors.set(name, tensor);
    }
  }
  return { metadata, tensors };
}

/**
 * The beginning of a safetensors file, up to the first tensor's bytes; the tensors follow without gaps, in the order given.
 * It is padded so that the data begins at a multiple of 8.
 * @throws DTypeError for a dtype that the format lacks, or 4-bit elements that do not fill bytes; InputError for metadata that is
 * no text
 */
export function safetensorsHeader(
  tensors: ReadonlyMap<string, TensorType>,
  metadata?: ReadonlyMap<string, string>,
): Uint8Array {
  for (const [key, value] of metadata ?? [])
    if (typeof key !== "string" || typeof value !== "string")
      throw new InputError(
        `safetensors: metadata ${JSON.stringify(key)} is ${JSON.stringify(value)}; it holds texts only`,
      );
  const entries: [string, unknown][] = metadata?.size ? [["__metadata__", Object.fromEntries(metadata)]] : [];
  let end = 0;
  for (const [name, t] of tensors) {
    const storage = storageOf.get(t.dtype);
    const bytes = storage ? (sizeOf(t.shape) * storageTypes[storage].bits) / 8 : undefined;
    if (bytes === undefined || !Number.isInteger(bytes) || name === "__metadata__")
      throw new DTypeError(`safetensors cannot hold ${JSON.stringify(name)}: ${formatType(t)}`, {
        types: [formatType(t)],
      });
    entries.push([name, { dtype: storage, shape: t.shape, data_offsets: [end, (end += bytes)] }]);
  }
  // Built entry by entry: an object would reorder names like "1", and lose "__proto__".
  const json = `{${entries.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(",")}}`;
  const text = new TextEncoder().encode(json);
  const out = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20, 8 + text.length);
  new DataView(out.buffer).setBigUint64(0, BigInt(out.length - 8), true);
  out.set(text, 8);
  return out;
}

/**
 * A safetensors file. Tensors are laid out by falling alignment, then by name, as the reference writer does: readers can view
 * every tensor in place.
 * @throws DTypeError and InputError as `safetensorsHeader`; InputError for anything but Maps; ShapeError for data that doesn't
 * fill its shape
 */
export function writeSafetensors(
  tensors: ReadonlyMap<string, HostTensor>,
  metadata?: ReadonlyMap<string, string>,
): Uint8Array {
  for (const [what, map] of Object.entries({ tensors, metadata: metadata ?? new Map() }))
    if (!(map instanceof Map)) throw new InputError(`safetensors: ${what} are a Map, as new Map([["name", ...]])`);
  for (const [name, t] of tensors) checkHostTensor(t, name);
  const ordered = new Map(
    [...tensors].sort(([a, s], [b, t]) => dtypes[t.dtype].bits - dtypes[s.dtype].bits || (a < b ? -1 : 1)),
  );
  const parts = [safetensorsHeader(ordered, metadata)];
  for (const t of ordered.values()) parts.push(bytesOfElements(t as BinaryTensor));
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function bytesOfElements(t: BinaryTensor): Uint8Array {
  const { data } = t;
  if (t.dtype !== "f4e2m1") return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return Uint8Array.from(
    { length: data.length / 2 },
    (_, i) => ((data[2 * i] as number) & 15) | ((data[2 * i + 1] as number) << 4),
  );
}
