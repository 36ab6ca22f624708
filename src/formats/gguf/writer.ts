import { type GgufType, ggufBytes, ggufTypes } from "../../tensor/blocks/types.ts";
import { InputError, ShapeError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import { defaultAlignment, ggufMagic } from "./reader.ts";
import { Bytes, type GgufValue, type GgufValueType, writeValue } from "./values.ts";

export interface GgufContents {
  metadata: ReadonlyMap<string, GgufValue>;
  /** Stored types where the one inferred from the value is not meant (a whole number becomes u32 or i32). */
  types?: ReadonlyMap<string, GgufValueType>;
  /** Row-major shapes; `bytes` as stored, for example by `quantize`. */
  tensors: ReadonlyMap<string, { type: GgufType; shape: readonly number[]; bytes: Uint8Array }>;
}

/**
 * A GGUF file, version 3. `general.alignment` in the metadata is followed.
 * @throws InputError for metadata that doesn't fit its type; ShapeError for bytes or rows that don't fit the tensor's type
 */
export function writeGguf({ metadata, types, tensors }: GgufContents): Uint8Array {
  const alignment = metadata.get("general.alignment") ?? defaultAlignment;
  if (typeof alignment !== "number" || alignment < 1 || !Number.isInteger(Math.log2(alignment)))
    throw new InputError(`gguf: general.alignment is ${String(alignment)}, not a power of two`);
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
  for (const [name, { type, shape, bytes }] of tensors) {
    const row = shape.at(-1) ?? 1;
    if (row % ggufTypes[type].blockSize || bytes.length !== ggufBytes(type, sizeOf(shape)))
      throw new ShapeError(`gguf: tensor "${name}": ${type}[${shape}] does not take ${bytes.length} bytes`);
    out.text(name);
    out.u32(shape.length);
    for (const d of [...shape].reverse()) out.u64(d);
    out.u32(ggufTypes[type].id);
    out.u64(end);
    end = aligned(end + bytes.length);
  }
  const dataStart = aligned(out.length);
  const file = new Uint8Array(dataStart + end);
  file.set(out.done());
  let at = dataStart;
  for (const { bytes } of tensors.values()) {
    file.set(bytes, at);
    at = aligned(at + bytes.length);
  }
  return file;
}
