/**
 * GGUF versions 2 and 3, little-endian: a header with typed key-value metadata and tensor descriptions, then aligned data.
 * Source: the GGUF specification (ggml, docs/gguf.md). Every count is checked against the file's size before it is
 * believed, so that a corrupt file costs no more memory than it has bytes.
 */

import { dequantize } from "../../tensor/blocks/dequantize.ts";
import { type GgufType, ggufBytes, ggufTypeOf, ggufTypes } from "../../tensor/blocks/types.ts";
import { type ByteSource, openSource, type SourceInput } from "../source.ts";
import { Cursor } from "./cursor.ts";
import { type GgufValue, type GgufValueType, type PackedValue, plainValue, readValue } from "./values.ts";

export interface GgufTensor {
  readonly name: string;
  readonly type: GgufType;
  /** Row-major: the file's order reversed, so that the last dimension is the one whose elements share blocks. */
  readonly shape: readonly number[];
  /** Where the bytes begin in the file. */
  readonly byteOffset: number;
  readonly byteLength: number;
  /** The stored bytes. Don't write to them: they may be a view of the file in memory. */
  bytes(signal?: AbortSignal): Promise<Uint8Array>;
  /** The same at once, where the source need not wait. */
  bytesSync?(): Uint8Array;
  /** The same part by part, where the source can: see `ByteSource.parts`. */
  parts?(granule: number, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** All elements as f32, row-major. */
  dequantize(signal?: AbortSignal): Promise<Float32Array>;
}

export interface GgufFile<Value = GgufValue> {
  readonly version: number;
  /** In bytes: data and tensors begin at multiples of it. */
  readonly alignment: number;
  /** Keys in file order. */
  readonly metadata: ReadonlyMap<string, Value>;
  /** The stored type of each metadata value. */
  readonly types: ReadonlyMap<string, GgufValueType>;
  readonly tensors: ReadonlyMap<string, GgufTensor>;
}

export const ggufMagic = 0x46554747; // "GGUF", little-endian
export const defaultAlignment = 32;
/** Each tensor is filled up to a multiple of the alignment: by larger ones files become zeros. */
export const maxAlignment = 2 ** 20;
export const maxDimensions = 8;
const smallestEntry = 8 + 4 + 1; // a key's length, a type, a byte
const smallestInfo = 8 + 4 + 4 + 8; // a name's length, the number of dimensions, a type, an offset

/**
 * Reads metadata and tensor descriptions; tensor data is read when asked for.
 * @param input a path, URL, bytes, Blob or ByteSource
 * @throws FormatError with byte offset for anything malformed or truncated, InputError for what can't be opened
 */
export async function readGguf(input: SourceInput): Promise<GgufFile> {
  const file = await readPackedGguf(await openSource(input));
  return { ...file, metadata: new Map([...file.metadata].map(([key, value]) => [key, plainValue(value)])) };
}

/** The same, with arrays of strings as lists that decode them when asked for. */
export async function readPackedGguf(source: ByteSource): Promise<GgufFile<PackedValue>> {
  const c = new Cursor(source);
  const { version, tensorCount, entryCount } = await c.whole(() => counts(c));
  const metadata = new Map<string, PackedValue>();
  const types = new Map<string, GgufValueType>();
  for (let i = 0; i < entryCount; i++) {
    const { at } = c;
    const key = await c.whole(() => c.name("key"));
    if (metadata.has(key)) c.fail(`key ${JSON.stringify(key)} appears twice`, at);
    const { type, value } = await readValue(c);
    types.set(key, type);
    metadata.set(key, value);
  }
  const alignment = metadata.get("general.alignment") ?? defaultAlignment;
  if (!isAlignment(alignment))
    return c.fail(`general.alignment is ${alignment}, not a power of two up to ${maxAlignment}`, c.at);

  const infos = new Map<string, TensorInfo>();
  for (let i = 0; i < tensorCount; i++) {
    const info = await c.whole(() => tensorInfo(c, alignment));
    if (infos.has(info.name)) c.fail(`tensor ${JSON.stringify(info.name)} appears twice`, info.infoAt);
    infos.set(info.name, info);
  }
  const dataStart = Math.ceil(c.at / alignment) * alignment;
  const tensors = new Map<string, GgufTensor>();
  for (const { infoAt, ...info } of infos.values()) {
    const byteOffset = dataStart + info.byteOffset;
    if (byteOffset + info.byteLength > c.size)
      c.fail(
        `tensor ${JSON.stringify(info.name)} ends at ${byteOffset + info.byteLength}, beyond the file of ${c.size} bytes`,
        infoAt,
      );
    tensors.set(info.name, tensorOf(source, { ...info, byteOffset }));
  }
  checkOverlap(c, [...tensors.values()]);
  return { version, alignment, metadata, types, tensors };
}

/** A tensor by its description. Who holds it holds nothing else of the header. */
function tensorOf(source: ByteSource, info: Omit<TensorInfo, "infoAt">): GgufTensor {
  const { type, byteOffset, byteLength } = info;
  const bytes = (signal?: AbortSignal) => source.read(byteOffset, byteLength, signal);
  const elements = (byteLength / ggufTypes[type].blockBytes) * ggufTypes[type].blockSize;
  return {
    ...info,
    bytes,
    bytesSync: source.readSync && (() => source.readSync!(byteOffset, byteLength)),
    parts: source.parts && ((granule, signal) => source.parts!(byteOffset, byteLength, granule, signal)),
    dequantize: async (signal) => dequantize(type, await bytes(signal), elements),
  };
}

export const isAlignment = (value: unknown): value is number =>
  typeof value === "number" && value >= 1 && value <= maxAlignment && Number.isInteger(Math.log2(value));

/** What stands before the metadata. */
function counts(c: Cursor) {
  if (c.u32() !== ggufMagic) c.fail("does not begin with GGUF", 0);
  const version = c.u32();
  if (version !== 2 && version !== 3)
    c.fail(version & 0xffff ? `GGUF version ${version}; known: 2 and 3` : "big-endian GGUF is not supported", 4);
  const tensorCount = c.count(smallestInfo, "tensors");
  const entryCount = c.count(smallestEntry, "metadata entries");
  return { version, tensorCount, entryCount };
}

type TensorInfo = Omit<GgufTensor, "bytes" | "bytesSync" | "parts" | "dequantize"> & { readonly infoAt: number };

/** One tensor description; `byteOffset` is still relative to the data. */
function tensorInfo(c: Cursor, alignment: number): TensorInfo {
  const infoAt = c.at;
  const name = c.name("tensor name");
  const what = `tensor ${JSON.stringify(name)}`;
  const rank = c.u32();
  if (rank > maxDimensions) c.fail(`${what} has ${rank} dimensions`, infoAt);
  const shape: number[] = [];
  let elements = 1;
  for (let d = 0; d < rank; d++) {
    const size = c.u64(`a dimension of ${what}`);
    shape.unshift(size);
    elements *= size;
  }
  const typeAt = c.at;
  const id = c.u32();
  const type = ggufTypeOf(id);
  if (!type) return c.fail(`${what} has the unknown type ${id}`, typeAt);
  const byteOffset = c.u64(`the offset of ${what}`);
  if (byteOffset % alignment)
    c.fail(`${what} begins at ${byteOffset}, which is not a multiple of ${alignment}`, infoAt);
  const { blockSize } = ggufTypes[type];
  const row = shape.at(-1) ?? 1;
  if (row % blockSize) c.fail(`${what}: rows of ${row} elements do not fill ${type} blocks of ${blockSize}`, infoAt);
  const byteLength = ggufBytes(type, elements);
  // In this order also a product that left the exact integers, or became infinite, is refused.
  if (!(byteLength <= c.size)) c.fail(`${what}: ${type}[${shape}] needs more bytes than the file has`, infoAt);
  return { name, type, shape, byteOffset, byteLength, infoAt };
}

/** Tensors that share bytes would let a small file ask for much memory. */
function checkOverlap(c: Cursor, tensors: GgufTensor[]): void {
  let end = 0;
  for (const t of tensors.filter((t) => t.byteLength > 0).sort((a, b) => a.byteOffset - b.byteOffset)) {
    if (t.byteOffset < end) c.fail(`tensor ${JSON.stringify(t.name)} overlaps the one before it`, t.byteOffset);
    end = t.byteOffset + t.byteLength;
  }
}
