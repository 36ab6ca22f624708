import { type GgufType, ggufBytes, ggufLayout } from "../../tensor/blocks/types.ts";
import { InputError, ShapeError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { defaultAlignment, ggufMagic, isAlignment, maxAlignment, maxDimensions } from "./reader.ts";
import { Bytes, type GgufValue, type GgufValueType, writeValue } from "./values.ts";

type TensorTypes = ReadonlyMap<string, { type: GgufType; shape: readonly number[] }>;

export interface GgufHeader {
  metadata: ReadonlyMap<string, GgufValue>;
  /** Stored types where the one inferred from the value is not meant (a whole number becomes u32 or i32). */
  types?: ReadonlyMap<string, GgufValueType>;
  /** Row-major shapes, in the order of the file. */
  tensors: TensorTypes;
}

export interface GgufContents extends GgufHeader {
  /** `bytes` as stored, for example by `quantize`. */
  tensors: ReadonlyMap<string, { type: GgufType; shape: readonly number[]; bytes: Uint8Array }>;
}

function alignmentOf(metadata: GgufHeader["metadata"]): number {
  const alignment = metadata.get("general.alignment") ?? defaultAlignment;
  if (!isAlignment(alignment))
    throw new InputError(`gguf: general.alignment is ${String(alignment)}, not a power of two up to ${maxAlignment}`);
  return alignment;
}

function checkShape(name: string, shape: readonly number[]): void {
  if (!Array.isArray(shape) || !shape.every((d) => Number.isSafeInteger(d) && d >= 0))
    throw new ShapeError(`gguf: tensor "${name}": ${JSON.stringify(shape)} is not a list of sizes`);
  if (shape.length > maxDimensions)
    throw new ShapeError(`gguf: tensor "${name}" has ${shape.length} dimensions, files have ${maxDimensions} at most`);
}

/**
 * The beginning of a GGUF file, version 3, up to the first tensor's bytes; the tensors follow, each filled up with zeros to a
 * multiple of `alignment`. `general.alignment` in the metadata is followed.
 * @throws InputError for metadata that doesn't fit its type, types that are none, and anything but Maps; ShapeError for sizes
 * that are none, and rows that don't fill blocks
 */
export function ggufHeader(header: GgufHeader): { bytes: Uint8Array; alignment: number } {
  if (typeof header !== "object" || header === null)
    throw new InputError("gguf: what is written is an object { metadata, tensors } of Maps");
  const { metadata, types, tensors } = header;
  for (const [what, map] of Object.entries({ metadata, types: types ?? new Map(), tensors }))
    if (!(map instanceof Map)) throw new InputError(`gguf: ${what} are a Map, as new Map([["name", ...]])`);
  const alignment = alignmentOf(metadata);
  const aligned = (n: number) => Math.ceil(n / alignment) * alignment;
  const out = new Bytes();
  out.u32(ggufMagic);
  out.u32(3);
  out.u64(tensors.size);
  out.u64(metadata.size);
  for (const [key, value] of metadata) {
    out.text(key);
    writeValue(out, key, value, types?.get(key));
  }
  let end = 0;
  for (const [name, { type, shape }] of tensors) {
    checkShape(name, shape);
    const { id, blockSize } = ggufLayout(type);
    const row = shape.at(-1) ?? 1;
    if (row % blockSize) throw new ShapeError(`gguf: tensor "${name}": rows of ${type}[${shape}] do not fill blocks`);
    out.text(name);
    out.u32(shape.length);
    for (const d of [...shape].reverse()) out.u64(d);
    out.u32(id);
    out.u64(end);
    end = aligned(end + ggufBytes(type, sizeOf(shape)));
  }
  const bytes = new Uint8Array(aligned(out.length));
  bytes.set(out.done());
  return { bytes, alignment };
}

/**
 * A GGUF file.
 * @throws as `ggufHeader`; ShapeError for bytes that don't fit the tensor's type
 */
export function writeGguf(contents: GgufContents): Uint8Array {
  const { bytes: head, alignment } = ggufHeader(contents);
  let size = head.length;
  for (const [name, { type, shape, bytes }] of contents.tensors) {
    if (!(bytes instanceof Uint8Array)) throw new InputError(`gguf: tensor "${name}" has no bytes in a Uint8Array`);
    if (bytes.length !== ggufBytes(type, sizeOf(shape)))
      throw new ShapeError(`gguf: tensor "${name}": ${type}[${shape}] does not take ${bytes.length} bytes`);
    size += Math.ceil(bytes.length / alignment) * alignment;
  }
  const file = new Uint8Array(size);
  file.set(head);
  let at = head.length;
  for (const { bytes } of contents.tensors.values()) {
    file.set(bytes, at);
    at += Math.ceil(bytes.length / alignment) * alignment;
  }
  return file;
}
