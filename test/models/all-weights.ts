/** The weights of a file, read. */
import type { DecoderFile } from "../../src/formats/decoder/file.ts";
import { storedWeights } from "../../src/formats/decoder/weights.ts";
import type { Weight } from "../../src/models/transformer/config.ts";

export async function readWeights(file: DecoderFile): Promise<Map<string, Weight>> {
  const all = new Map<string, Weight>();
  for (const [name, w] of await storedWeights(file)) all.set(name, "read" in w ? await w.read() : w);
  return all;
}
