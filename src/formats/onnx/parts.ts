/**
 * Models by parts: the data of large initialisers is left out at first, as if it were in an external file. So the file is
 * never in memory as one piece, may be larger than an array, and a weight is read when a device is about to take it.
 */
import { FormatError } from "../../tensor/errors.ts";
import type { ByteSource } from "../source.ts";
import { importOnnx, type OnnxModel, type OnnxOptions } from "./import.ts";

/** Bytes from which a local file is read by parts, and up to which it can be read whole. */
const partsFrom = 1 << 20;
const wholeUpTo = 2 ** 31;

/** `importOnnx` from a source: larger local files by parts, others whole. */
export async function importOnnxSource(source: ByteSource, options: OnnxOptions = {}): Promise<OnnxModel> {
  const { signal, loadExternal } = options;
  if (source.local && source.size >= partsFrom)
    try {
      const { ownFile, withoutWeights } = await import("./scan.ts");
      return await importOnnx(await withoutWeights(source, signal), {
        ...options,
        loadExternal: (path) => (path === ownFile ? source : loadExternal?.(path)),
      });
    } catch (e) {
      // Read whole, the error says where in the file it is.
      if (!(e instanceof FormatError) || source.size > wholeUpTo) throw e;
    }
  return importOnnx(await source.read(0, source.size, signal), options);
}
