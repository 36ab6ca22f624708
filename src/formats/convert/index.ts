/** From one format to another, tensor by tensor: a model larger than memory passes through. */
import type { BlockType, GgufType } from "../../tensor/blocks/types.ts";
import { ggufBytes, ggufTypes } from "../../tensor/blocks/types.ts";
import type { DType } from "../../tensor/dtype.ts";
import { FormatError, InputError, UnsupportedOpError } from "../../tensor/errors.ts";
import { checkOptions, type OptionNames } from "../../tensor/options.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { DecoderFile, FileWeight } from "../decoder/file.ts";
import { readGgufParts } from "../decoder/gguf-parts.ts";
import { readDecoder } from "../decoder/read.ts";
import { fetchOptionNames } from "../fetch-options.ts";
import { ModelFolder } from "../folder.ts";
import { ggufHeader } from "../gguf/index.ts";
import { recognize } from "../recognize.ts";
import { safetensorsHeader } from "../safetensors.ts";
import { type ByteSource, type FetchOptions, openSource, type SourceInput } from "../source.ts";
import { contentsOfDecoder, contentsOfGguf } from "./gguf.ts";
import { besideOf, besideOfFolder, huggingFaceWeights } from "./huggingface.ts";
import { encode, type Quantization, quantizations, staysF32, typeFor } from "./types.ts";

export { type Quantization, quantizations } from "./types.ts";

export interface ConvertOptions extends FetchOptions {
  to: "gguf" | "safetensors";
  /**
   * Type of the matrices; vectors are f32. Default: what they are; blocks become f16 in safetensors, which holds only f32, f16 and
   * bf16.
   */
  quant?: Quantization;
  /** Default true: take the vocabulary and chat template along. */
  tokenizer?: boolean;
  signal?: AbortSignal;
  /** Bytes of the source as they are received; the total is 0 while unknown. */
  onProgress?: (progress: { phase: "read"; loaded: number; total: number }) => void;
}

const known: OptionNames<ConvertOptions> = {
  to: true,
  quant: true,
  tokenizer: true,
  signal: true,
  onProgress: true,
  ...fetchOptionNames,
};

/** A file as it is made. */
export interface Converted {
  /** Bytes of the whole file. */
  readonly size: number;
  /** Its bytes in order. To be read once: weights are read and quantised on the way. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Types of the tensors in it, and how many have each. */
  readonly types: ReadonlyMap<string, number>;
  /**
   * Texts of the files that belong beside a safetensors file: `config.json`, and those of the tokenizer. Those of a folder are its
   * own, but for the type of the weights.
   */
  readonly beside: ReadonlyMap<string, string>;
  /** Whether the vocabulary is in it, or beside it. */
  readonly tokenizer: boolean;
}

/**
 * A model in another format: from GGUF (any architecture to GGUF, those that are known to safetensors), a folder with
 * safetensors and `config.json`, or llama2.c.
 * @throws FormatError for a file that is corrupt or holds no language model; UnsupportedOpError for what the other format cannot
 * say; InputError for a type that it cannot hold, and for an option of another name. Reading `chunks` throws FormatError for a
 * weight that its type cannot hold
 */
export async function convert(input: SourceInput, options: ConvertOptions): Promise<Converted> {
  checkOptions("convert", options, known);
  const { to, quant, onProgress } = options;
  if (to !== "gguf" && to !== "safetensors")
    throw new InputError(`convert: writes { to: "gguf" } or { to: "safetensors" }, not ${JSON.stringify(to)}`);
  if (quant !== undefined && !quantizations.includes(quant))
    throw new InputError(`convert: "${quant}" is none of ${quantizations.join(", ")}`);
  const progress = onProgress && ((loaded: number, total: number) => onProgress({ phase: "read", loaded, total }));
  const source = await openSource(input, { ...options, onProgress: progress });
  return to === "gguf" ? toGguf(source, options) : toSafetensors(source, options);
}

/** As long as the model was made for: nothing is computed with it here. @throws FormatError also for weights that are missing */
async function read(source: ByteSource, { signal }: ConvertOptions): Promise<DecoderFile> {
  const file = await readDecoder(source, { signal, contextLimit: Number.POSITIVE_INFINITY });
  checkWeights(file);
  if (file.config.bidirectional)
    throw new UnsupportedOpError(`${source.name}: only language models that write texts are converted`, {
      missing: ["bidirectional attention"],
    });
  return file;
}

/** @throws UnsupportedOpError for a folder of sentence-transformers: the file would give other vectors */
async function checkWrites(source: ByteSource): Promise<void> {
  if (!source.sibling || !(await ModelFolder.at(source).has("modules.json"))) return;
  throw new UnsupportedOpError(
    `${source.name}: the model makes vectors of sentences, and how (modules.json) is not written into GGUF files: use the folder`,
    { missing: ["modules.json"] },
  );
}

const inLayers = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"];

/** @throws FormatError for a weight that no decoder goes without */
function checkWeights({ config: { architecture, layers, rope, norm }, weights }: DecoderFile): void {
  const names = ["token_embd", ...(rope ? [] : ["position_embd"]), "output_norm"];
  const norms = norm.behind ? ["post_attention_norm", "post_ffw_norm"] : ["attn_norm", "ffn_norm"];
  if (norm.acrossHeads) norms.push("attn_q_norm", "attn_k_norm");
  for (const n of layers.keys()) names.push(...[...norms, ...inLayers].map((part) => `blk.${n}.${part}`));
  const has = (name: string): boolean => weights.has(`${name}.weight`);
  const missing = names.find((name) => !has(name) && !has(name.replace(/_[qkv]$/, "_qkv")));
  if (missing) throw new FormatError(`${architecture}: weight "${missing}.weight" is missing`);
}

/** The numbers that GGUF files have for the type that most of their matrices are. */
const fileTypes: Partial<Record<Quantization, number>> = {
  f32: 0,
  f16: 1,
  q4_0: 2,
  q8_0: 7,
  q4_k: 15,
  q6_k: 18,
  bf16: 32,
};

async function toGguf(source: ByteSource, options: ConvertOptions): Promise<Converted> {
  const { quant, signal, tokenizer = true } = options;
  const isGguf = (await recognize(source)) === "gguf";
  if (!isGguf) await checkWrites(source);
  const contents = isGguf
    ? contentsOfGguf(await readGgufParts(source))
    : contentsOfDecoder(await read(source, options), nameOf(source), tokenizer);
  const { metadata, weights } = contents;
  if (!tokenizer) for (const key of [...metadata.keys()]) if (key.startsWith("tokenizer.")) metadata.delete(key);
  if (quant) {
    metadata.set("general.file_type", fileTypes[quant]!);
    metadata.set("general.quantization_version", 2);
  }
  const output = weights.has("output.weight") ? "output.weight" : "token_embd.weight";
  const tensors = new Map(
    [...weights].map(([name, { shape, stored: type }]): [string, { type: GgufType; shape: readonly number[] }] => {
      const unasked = !isGguf && staysF32(name, shape) ? "F32" : type;
      const wanted = quant && isWeight(type) ? typeFor(quant, name, shape, name === output) : unasked;
      return [name, { type: wanted, shape }];
    }),
  );
  const { bytes: head, alignment } = ggufHeader({ metadata, types: contents.types, tensors });
  const aligned = (n: number): number => Math.ceil(n / alignment) * alignment;
  const sizes = [...tensors.values()].map((t) => aligned(ggufBytes(t.type, sizeOf(t.shape))));
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield head;
    for (const [name, stored] of weights) {
      const bytes = await encoded(name, stored, tensors.get(name)!.type, signal);
      yield bytes;
      if (bytes.length % alignment) yield new Uint8Array(alignment - (bytes.length % alignment));
    }
  }
  return {
    size: sizes.reduce((a, b) => a + b, head.length),
    chunks: chunks(),
    types: counted([...tensors.values()].map((t) => t.type.toLowerCase())),
    beside: new Map(),
    tokenizer: metadata.has("tokenizer.ggml.tokens"),
  };
}

/** Tables of integers are no weights. */
const isWeight = (type: GgufType): boolean => !/^(I\d+|F64)$/.test(type);

const plainTypes = { F32: "f32", F16: "f16", BF16: "bf16" } as const satisfies Partial<Record<GgufType, DType>>;
type PlainType = keyof typeof plainTypes;

async function toSafetensors(source: ByteSource, options: ConvertOptions): Promise<Converted> {
  const { quant, signal, tokenizer = true } = options;
  if (quant && !Object.hasOwn(plainTypes, quant.toUpperCase()))
    throw new InputError(`convert: safetensors hold f32, f16 and bf16, not ${quant}; write a .gguf file for that`);
  const file = await read(source, options);
  const weights = huggingFaceWeights(file);
  const typeOf = ({ shape, stored: type }: FileWeight): PlainType => {
    if (shape.length < 2) return "F32";
    if (quant) return quant.toUpperCase() as PlainType;
    return Object.hasOwn(plainTypes, type) ? (type as PlainType) : "F16";
  };
  // By falling size of elements, so that all are aligned.
  const ordered = [...weights].sort(
    ([, a], [, b]) => ggufTypes[typeOf(b)].blockBytes - ggufTypes[typeOf(a)].blockBytes,
  );
  const types = new Map(ordered.map(([name, w]) => [name, { dtype: plainTypes[typeOf(w)], shape: w.shape }] as const));
  const head = safetensorsHeader(types, new Map([["format", "pt"]]));
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield head;
    for (const [name, w] of ordered) yield await encoded(name, w, typeOf(w), signal);
  }
  const folder = file.format === "safetensors" ? ModelFolder.at(source) : undefined;
  const beside = await (folder ? besideOfFolder(folder, quant, tokenizer) : besideOf(file, tokenizer));
  return {
    size: [...types.values()].reduce((n, t) => n + sizeOf(t.shape) * (t.dtype === "f32" ? 4 : 2), head.length),
    chunks: chunks(),
    types: counted([...types.values()].map((t) => t.dtype)),
    beside,
    tokenizer: beside.has("tokenizer.json"),
  };
}

async function encoded(name: string, w: FileWeight, type: GgufType, signal?: AbortSignal): Promise<Uint8Array> {
  signal?.throwIfAborted();
  try {
    return encode(type, await w.read(signal));
  } catch (cause) {
    if (cause instanceof InputError) throw new FormatError(`"${name}": ${cause.message}`, { cause });
    throw cause;
  }
}

/** A file's name without what comes before and after. */
const nameOf = (source: ByteSource): string => {
  const parts = source.name.split(/[/\\]/);
  const last = parts.pop()!;
  return (/^model\b/.test(last) ? (parts.pop() ?? last) : last).replace(/\.[a-z0-9]+$/i, "");
};

function counted(names: readonly (BlockType | string)[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return counts;
}
