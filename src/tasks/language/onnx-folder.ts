/** Language models in folders with ONNX graphs, as Hugging Face Optimum exports them and transformers.js runs them. */
import type { Backend } from "../../backends/backend.ts";
import { contextOf, type ReadOptions } from "../../formats/decoder/file.ts";
import { readVocabulary } from "../../formats/decoder/huggingface.ts";
import { type Json, ModelFolder } from "../../formats/folder.ts";
import { statefulDecoder } from "../../formats/onnx/stateful/index.ts";
import type { ByteSource, SourceInput, SourceOptions } from "../../formats/source.ts";
import { compile } from "../../graph/compile.ts";
import type { Graph } from "../../graph/ir.ts";
import type { KvCache } from "../../models/transformer/decoder.ts";
import type { DecoderSizes } from "../../models/transformer/feed-checks.ts";
import type { RunSizes } from "../../models/transformer/run-sizes.ts";
import { Decoder } from "../../models/transformer/sequence.ts";
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import { readGraph } from "../onnx-model.ts";
import type { LanguageModel, LanguageModelFile } from "./model.ts";
import { GraphModel } from "./onnx-graph.ts";

/** Where the model does not say how long texts may be. */
const usualContext = 2048;
/** Plans that are kept: of prompts that are run whole, and of growing caches, each length has its own. */
const keptPlans = 64;

/**
 * @param input what `source` was opened as: `config.json` is beside the graph, or beside the folder `onnx` around it
 * @throws FormatError for a file that is corrupt, UnsupportedOpError for a graph that is no language model, and for operators
 *   that are missing
 */
export async function readOnnxModel(
  input: SourceInput,
  source: ByteSource,
  options: ReadOptions & SourceOptions & { kvCache?: KvCache },
): Promise<LanguageModelFile> {
  const folder = await folderAround(input, options);
  const json = (await folder?.optionalJson("config.json")) ?? {};
  const { graph } = await readGraph(source, options.signal);
  checkDecoder(source.name, graph);
  const config = sizesOf(source.name, graph, json, options);
  const { kvCache = "f32" } = options;
  return {
    open: (device) => openModel(graph, config, { device, ownsWeights: source.local, kvCache }),
    ...(folder && (await readVocabulary(folder, json))),
  };
}

/** Classifiers have input_ids and logits too, but not of every token. */
function checkDecoder(name: string, { inputs, outputs }: Graph): void {
  const logits = outputs.find((p) => p.name === "logits");
  if (logits && (logits.shape?.length ?? 3) === 3 && inputs.some((p) => p.name === "input_ids")) return;
  throw new UnsupportedOpError(
    `${name}: no language model that can be generated from: those have input_ids and logits [batch, tokens, vocabulary]`,
  );
}

async function folderAround(input: SourceInput, options: SourceOptions): Promise<ModelFolder | undefined> {
  if (typeof input !== "string" && !(input instanceof URL)) return undefined;
  const quiet = { ...options, onProgress: undefined, sha256: undefined };
  const folder = await ModelFolder.openConfigured(input, quiet).catch(() => undefined);
  return (await folder?.has("config.json")) ? folder : undefined;
}

function sizesOf(name: string, graph: Graph, json: Json, options: ReadOptions): DecoderSizes {
  const text = (json["text_config"] as Json | undefined) ?? json;
  const number = (...keys: string[]): number | undefined =>
    keys.map((k) => text[k]).find((v) => typeof v === "number") as number | undefined;
  const last = graph.outputs.find((p) => p.name === "logits")?.shape?.at(-1);
  const vocabSize = typeof last === "number" ? last : number("vocab_size");
  if (vocabSize === undefined)
    throw new FormatError(`${name}: neither the graph nor config.json says how many tokens there are`);
  const trained = number("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len") ?? usualContext;
  const architecture = String(text["model_type"] ?? "onnx");
  return { architecture, vocabSize, contextLength: contextOf(trained, options) };
}

async function openModel(
  graph: Graph,
  config: DecoderSizes,
  { device, ownsWeights, kvCache }: { device: Backend; ownsWeights?: boolean; kvCache: KvCache },
): Promise<LanguageModel> {
  const stateful = statefulDecoder(graph, { contextLength: config.contextLength, kvCache });
  let reason = "reason" in stateful ? stateful.reason : "";
  if ("graph" in stateful)
    try {
      const session = await compile(stateful.graph, { device, plans: keptPlans });
      const decoder = Decoder.of(config, session, stateful.severalTokens ? runSizesOf(stateful.graph) : "one");
      await decoder.prepare();
      return decoder;
    } catch (e) {
      if (!(e instanceof UnsupportedOpError)) throw e;
      reason = e.message;
    }
  console.warn(`${graph.name}: generating is slow: the graph is run as it comes, because ${reason}`);
  return new GraphModel(config, await compile(graph, { device, ownsWeights, plans: keptPlans }));
}

/** Activations that are quantised together depend on all tokens of a run, those that fill it up too. */
const runSizesOf = (graph: Graph): RunSizes =>
  graph.nodes.some((n) => n.op.name === "dynamicQuantizeLinear" && !n.attrs["perRow"]) ? "exact" : "few";
