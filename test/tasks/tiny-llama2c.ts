/** A llama2.c checkpoint of a few random weights. */
import { build, variants } from "../models/tiny.ts";

/** The tiny "llama 2" as a llama2.c checkpoint. */
export function tinyLlama2c(): Uint8Array<ArrayBuffer> {
  const { config, weights } = build(variants["llama 2"]);
  const { width, heads, kvHeads, headDim, vocabSize, contextLength, layers } = config;
  const hidden = weights.get("blk.0.ffn_up.weight")!.shape[0];
  const header = Int32Array.of(width, hidden, layers.length, heads, kvHeads, -vocabSize, contextLength);
  const parts: ArrayLike<number>[] = [weights.get("token_embd.weight")!.data];
  const each = (part: string) => layers.map((_, n) => weights.get(`blk.${n}.${part}.weight`)!.data);
  for (const part of ["attn_norm", "attn_q", "attn_k", "attn_v", "attn_output"]) parts.push(...each(part));
  for (const part of ["ffn_norm", "ffn_gate", "ffn_down", "ffn_up"]) parts.push(...each(part));
  parts.push(weights.get("output_norm.weight")!.data, new Float32Array(contextLength * headDim));
  parts.push(weights.get("output.weight")!.data);
  return new Uint8Array(
    Buffer.concat([header, ...parts.map((p) => Float32Array.from(p))].map((a) => Buffer.from(a.buffer))),
  );
}
