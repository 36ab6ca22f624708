/** Decoder-only transformers from GGUF, llama2.c and safetensors files. */
import type { Graph } from "../../graph/ir.ts";
import { statelessDecoder } from "../../models/transformer/decoder.ts";
import { whileLoading } from "../loading.ts";
import type { ByteSource } from "../source.ts";
import type { ReadOptions } from "./file.ts";
import { readDecoder } from "./read.ts";
import { heldSource, storedWeights } from "./weights.ts";

/**
 * The graph of a decoder: `tokens` i32 [batch, tokens] to `logits` f32 [batch, tokens, vocabSize].
 * @throws FormatError for a file that is corrupt or no decoder, UnsupportedOpError for an architecture that is not known
 */
export async function importDecoder(source: ByteSource, options: ReadOptions = {}): Promise<Graph> {
  return whileLoading(options, async (options) => {
    const file = await readDecoder(heldSource(source), options);
    return statelessDecoder(file.config, await storedWeights(file, options.signal, true));
  });
}
