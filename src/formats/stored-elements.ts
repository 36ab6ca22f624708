import { aligned, type DType, dtypes, type TypedArray } from "../tensor/dtype.ts";
import type { StoredElements } from "../tensor/weight.ts";
import type { HeldSource } from "./source.ts";

/** Elements of whole bytes that are read from their file when they are needed. */
export function storedElements(dtype: DType, file: HeldSource, offset: number, length: number): StoredElements {
  const { bytes } = dtypes[dtype];
  const elements = (part: Uint8Array): TypedArray => aligned(dtype, part, part.length / bytes);
  const { parts } = file;
  return {
    fetch: async () => elements(await file.read(offset, length)),
    read: () => elements(file.readSync(offset, length)),
    parts:
      parts &&
      async function* (granule) {
        for await (const part of parts(offset, length, granule * bytes)) yield elements(part);
      },
  };
}
