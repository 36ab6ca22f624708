/** llama2.c checkpoints as decoders: Llama 2 with neighbouring rotary pairs, SentencePiece pieces without kinds. */
import type { DecoderConfig } from "../../models/transformer/config.ts";
import { type Llama2cTensor, type Llama2cTokenizer, readLlama2c } from "../llama2c.ts";
import type { ByteSource } from "../source.ts";
import { StringList } from "../string-list.ts";
import type { DecoderFile, FileWeight } from "./file.ts";
import type { PieceKind, SentencePieceVocabulary } from "./vocabulary.ts";

/** Names of the tensors in a file: those of all layers lie in one. */
const layerNames: Record<string, string> = {
  attn_norm: "attention_norm",
  attn_q: "wq",
  attn_k: "wk",
  attn_v: "wv",
  attn_output: "wo",
  ffn_norm: "ffn_norm",
  ffn_gate: "w1",
  ffn_down: "w2",
  ffn_up: "w3",
};
const globalNames: Record<string, string> = {
  token_embd: "token_embedding",
  output_norm: "final_norm",
  output: "output",
};

export async function readLlama2cDecoder(source: ByteSource): Promise<DecoderFile> {
  const file = await readLlama2c(source);
  const { dim, heads, kvHeads, layers, maxLength, vocabSize } = file.config;
  const headDim = dim / heads;
  const config: DecoderConfig = {
    architecture: "llama",
    vocabSize,
    width: dim,
    heads,
    kvHeads,
    headDim,
    contextLength: maxLength,
    norm: { kind: "rms", epsilon: 1e-5 },
    activation: "silu",
    layers: Array.from({ length: layers }, () => ({})),
    rope: { dim: headDim, base: 10000, interleaved: true },
  };
  const weights = new Map<string, FileWeight>();
  for (const [name, theirs] of Object.entries(globalNames)) {
    const t = file.tensors.get(theirs);
    if (t) weights.set(`${name}.weight`, stored(t));
  }
  for (const [name, theirs] of Object.entries(layerNames))
    for (let n = 0; n < layers; n++) weights.set(`blk.${n}.${name}.weight`, stored(file.tensors.get(theirs)!.layer(n)));
  return { format: "llama2c", config, weights, vocabulary: file.tokenizer && vocabularyOf(file.tokenizer) };
}

const stored = (t: Llama2cTensor): FileWeight => ({
  shape: t.shape,
  stored: "F32",
  read: (signal) => t.read(signal),
  parts: t.parts && ((granule, signal) => t.parts!(granule, signal)),
});

/** llama2.c's vocabularies are Llama's: 0 unknown, 1 begin, 2 end, 3 to 258 the bytes. */
const firstByte = 3;
const afterBytes = firstByte + 256;

const hex = (byte: number): string => byte.toString(16).toUpperCase().padStart(2, "0");

function vocabularyOf({ tokens, scores }: Llama2cTokenizer): SentencePieceVocabulary {
  const kindOf = (id: number): PieceKind => {
    if (id === 0) return "unknown";
    if (id < firstByte) return "control";
    return id < afterBytes ? "byte" : "normal";
  };
  const encoder = new TextEncoder();
  const pieces = new StringList(tokens.length, new Uint8Array(8 * tokens.length));
  tokens.forEach((bytes, id) => {
    // What exporters write for these differs: line ends around names, bytes themselves.
    const name = id < firstByte ? ["<unk>", "<s>", "</s>"][id] : `<0x${hex(id - firstByte)}>`;
    const piece = id < afterBytes ? encoder.encode(name) : bytes;
    pieces.push(piece, 0, piece.length);
  });
  return {
    kind: "sentencepiece",
    pieces,
    scores,
    kinds: { length: tokens.length, at: kindOf },
    begin: 1,
    // run.c stops at 1 as well: stories follow each other in the training data, each with a begin token.
    end: [2, 1],
    unknown: 0,
  };
}
