/**
 * Decoders whose states become vectors of texts: Qwen3-Embedding, E5-Mistral, EmbeddingGemma and the like, from folders and GGUF
 * files. Encoders: `encoder.ts`.
 */
import type { DecoderFile } from "../../formats/decoder/file.ts";
import { ggufVocabulary } from "../../formats/decoder/gguf-vocabulary.ts";
import { Metadata } from "../../formats/decoder/metadata.ts";
import { heldSource, storedWeights } from "../../formats/decoder/weights.ts";
import type { ModelFolder } from "../../formats/folder.ts";
import { headerBytes } from "../../formats/llama2c-config.ts";
import { isGguf } from "../../formats/recognize.ts";
import type { ByteSource } from "../../formats/source.ts";
import type { Graph } from "../../graph/ir.ts";
import { decoderStates } from "../../models/transformer/decoder.ts";
import { FormatError } from "../../tensor/errors.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { openTokenizer } from "../tokenizers/open.ts";
import { type EncoderFile, type EncoderOptions, encoderTypes, refuseOther, textRules } from "./encoder.ts";
import { ggufEncoders, ggufPooling } from "./gguf-encoder.ts";
import { matrixStep, type VectorStep } from "./sentence-modules.ts";

/** What gives the states of texts, from weights. */
export interface StatesModel extends Pick<EncoderFile, "tokenizer" | "maxTokens" | "pooling"> {
  readonly width: number;
  /** What a GGUF file has between pooling and the end. Beside folders: `sentence-modules.ts`. */
  readonly steps?: readonly VectorStep[];
  /** Outputs: `hidden` [batch, tokens, width] and, by the input `pool`, `pooled` [batch, 1, width]. */
  readonly graph: Graph;
  /** Its other inputs, for texts of at most `length` tokens, padded to it. */
  inputs(texts: readonly (readonly number[])[], length: number): Record<string, HostTensor>;
}

/**
 * @param other what the model is: its type in `config.json`, or its architecture
 * @throws UnsupportedOpError for none of the decoders either; FormatError, InputError as the files deserve
 */
export async function readDecoderStates(
  folder: ModelFolder,
  other: string,
  options: EncoderOptions,
): Promise<StatesModel> {
  const { anchor } = folder;
  const refuseUnless = (known: object, encoders: readonly string[]): void => {
    if (!Object.hasOwn(known, other)) refuseOther(folder, other, [...encoders, ...Object.keys(known)].join(", "));
  };
  if (isGguf(await anchor.read(0, Math.min(headerBytes, anchor.size)))) {
    const gguf = await import("../../formats/decoder/gguf.ts");
    refuseUnless(gguf.architectures, ggufEncoders);
    return inGguf(anchor, gguf, options);
  }
  const { decoderIn, modelTypes } = await import("../../formats/decoder/huggingface.ts");
  refuseUnless(modelTypes, encoderTypes);
  const { tokenizer, longest } = await textRules(folder, options.tokenizer);
  const decoder = await decoderIn(folder, await folder.json("config.json"), options, true);
  return { ...(await statesOf(decoder, options, longest)), tokenizer };
}

async function inGguf(
  source: ByteSource,
  { decoderIn }: typeof import("../../formats/decoder/gguf.ts"),
  options: EncoderOptions,
): Promise<StatesModel> {
  const { readGgufParts } = await import("../../formats/decoder/gguf-parts.ts");
  const file = await readGgufParts(heldSource(source));
  const meta = new Metadata(file, source.name);
  // Not the decoder's: vectors may be made of the token that ends a text.
  const vocabulary = options.tokenizer ? undefined : ggufVocabulary(meta);
  if (!options.tokenizer && !vocabulary)
    throw new FormatError(`${source.name}: there is no vocabulary in it; pass { tokenizer }`);
  const steps: VectorStep[] = [];
  // EmbeddingGemma's, where the file has them.
  for (const name of ["dense_2", "dense_3"]) {
    const matrix = file.tensors.get(`${name}.weight`);
    if (matrix) steps.push(matrixStep(name, { shape: matrix.shape, data: await matrix.dequantize(options.signal) }));
  }
  return {
    ...(await statesOf(await decoderIn(file, source.name, options), options)),
    tokenizer: options.tokenizer ?? (await openTokenizer(vocabulary!)),
    pooling: ggufPooling(meta),
    steps,
  };
}

async function statesOf(file: DecoderFile, { signal }: EncoderOptions, longest = Infinity) {
  const { config } = file;
  return {
    width: config.width,
    maxTokens: Math.min(longest, config.contextLength),
    graph: decoderStates(config, await storedWeights(file, signal)),
    inputs(texts: readonly (readonly number[])[], length: number): Record<string, HostTensor> {
      const shape = [texts.length, length];
      const tokens = new Int32Array(sizeOf(shape));
      texts.forEach((ids, b) => {
        tokens.set(ids, b * length);
      });
      // Texts of causal models see nothing of the padding behind them.
      if (!config.bidirectional) return { tokens: { dtype: "i32", shape, data: tokens } };
      const mask = new Uint8Array(tokens.length);
      texts.forEach((ids, b) => {
        mask.fill(1, b * length, b * length + ids.length);
      });
      return {
        tokens: { dtype: "i32", shape, data: tokens },
        mask: { dtype: "bool", shape: [texts.length, 1, 1, length], data: mask },
      };
    },
  };
}
