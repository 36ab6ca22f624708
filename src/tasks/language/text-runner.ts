/** Encoders with a head, from safetensors or as ONNX graphs: tokens of texts to logits. */

import { deviceFor } from "../../device.ts";
import { ModelFolder } from "../../formats/folder.ts";
import { whileLoading } from "../../formats/loading.ts";
import type { ByteSource, SourceInput } from "../../formats/source.ts";
import { compile } from "../../graph/compile.ts";
import type { Session } from "../../graph/session.ts";
import { sourceOptions } from "../../load.ts";
import type { EncoderHead } from "../../models/transformer/encoder.ts";
import { toF64 } from "../../tensor/convert.ts";
import { symbolDispose } from "../../tensor/dispose.ts";
import { InputError, UnsupportedOpError } from "../../tensor/errors.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { labelsIn, type Scoring, scoringOf } from "../classes.ts";
import { openGraph } from "../onnx-model.ts";
import { type OptionNames, type TaskOptions, taskOptions } from "../options.ts";
import { checkTokenizer, type Tokenizer } from "../tokenizers/tokenizer.ts";
import { batchesOf, type EncoderFile, encoderInputs, firstPositionIn, readEncoder, textRules } from "./encoder.ts";

/** A text, or a pair of texts with what tells them apart (0 and 1). */
export interface TokenizedText {
  readonly ids: readonly number[];
  readonly types?: readonly number[];
}

export interface TextRunner {
  readonly session: Session;
  readonly tokenizer: Tokenizer;
  /** Longer texts have to be cut. */
  readonly maxTokens: number;
  readonly labels?: readonly string[];
  /** Of exported graphs: the output that results are, or begin with. */
  readonly output?: string;
  scoring(classes: number): Scoring;
  /**
   * Logits of each text [classes], of its tokens' classes or words [tokens, classes], of its tokens as beginning and end
   * [tokens, 2]; or states [tokens, width], or the text's vector [width].
   */
  run(texts: readonly TokenizedText[], signal?: AbortSignal): Promise<Float32Array[]>;
}

/** What the head judges: whole texts, their tokens, or where an answer begins and ends. */
export type HeadKind = "classes" | "tokens" | "span";
/** Or each token's word; without a head there are the states of tokens, or what graphs made of them already. */
type GraphKind = HeadKind | "words" | "states" | "vectors";
/** The output with whole texts' vectors. */
export const sentenceOutput = "sentence_embedding";
const savedAs: Readonly<Record<HeadKind | "words", string>> = {
  classes: "ForSequenceClassification",
  tokens: "ForTokenClassification",
  span: "ForQuestionAnswering",
  words: "ForMaskedLM",
};

export interface RunnerOptions extends TaskOptions {
  /** In place of `tokenizer.json` or `vocab.txt` beside the model. */
  tokenizer?: Tokenizer;
}

export const runnerOptions: OptionNames<RunnerOptions> = { ...taskOptions, tokenizer: true };

/** What tasks with such a model are made on. */
export class TextTask {
  constructor(protected readonly runner: TextRunner) {}

  get session(): Session {
    return this.runner.session;
  }

  dispose(): void {
    this.session.dispose();
  }

  [symbolDispose](): void {
    this.dispose();
  }
}

/**
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other architectures; MissingPeerError
 * without `@huggingface/tokenizers`
 */
export async function openTextRunner(model: SourceInput, kind: HeadKind, options: RunnerOptions): Promise<TextRunner> {
  checkTokenizer("options", options.tokenizer);
  return whileLoading(options, async (options) => {
    const folder = await ModelFolder.openModel(model, sourceOptions(options));
    const graph = await folder.onlyGraph();
    return graph ? openExported(graph, folder, kind, options) : openNative(folder, kind, options);
  });
}

/** @throws InputError for a model that was saved for another task, as far as its `architectures` say */
export function checkKind(name: string, architectures: unknown, kind: HeadKind | "words"): void {
  const list = Array.isArray(architectures) ? architectures.map(String) : [];
  const other = Object.values(savedAs).filter((end) => end !== savedAs[kind]);
  if (list.some((a) => a.endsWith(savedAs[kind])) || !list.some((a) => other.some((end) => a.endsWith(end)))) return;
  throw new InputError(`${name}: the model is a ${list.join(", ")}; this task takes one "${savedAs[kind]}"`);
}

async function openNative(folder: ModelFolder, kind: HeadKind, options: RunnerOptions): Promise<TextRunner> {
  const file = await readEncoder(folder, options);
  checkKind(folder.name, file.architectures, kind);
  const name = kind === "span" ? "qa_outputs" : "classifier";
  const classes = file.weights.get(`${name}.weight`)?.shape[0];
  if (classes === undefined)
    throw new InputError(`${folder.name}: the model has no classifier ("${name}.weight"); is it made for this task?`);
  const head: EncoderHead =
    kind === "classes"
      ? { kind, classes, activation: file.classActivation, pairs: true }
      : { kind: "tokens", classes, name, pairs: true };
  const session = await compile(file.graph(head), {
    device: await deviceFor(options.device, options),
    ownsWeights: folder.local,
  });
  return {
    session,
    tokenizer: file.tokenizer,
    maxTokens: file.maxTokens,
    labels: file.labels,
    scoring: file.scoring,
    run: (texts, signal) => runBatches(session, file, kind === "classes" ? undefined : classes, texts, signal),
  };
}

/** Texts of about one length together. With `perToken` classes of each token, else one row a text. */
async function runBatches(
  session: Session,
  file: EncoderFile,
  perToken: number | undefined,
  texts: readonly TokenizedText[],
  signal?: AbortSignal,
): Promise<Float32Array[]> {
  const results = new Array<Float32Array>(texts.length);
  const typed = session.inputs.some((p) => p.name === "types");
  const lengths = texts.map((t) => t.ids.length);
  for (const { length, members } of batchesOf(lengths, file.maxTokens)) {
    const batch = members.map((i) => texts[i]);
    const inputs: Record<string, HostTensor> = encoderInputs(
      file,
      batch.map((t) => t.ids),
      length,
    );
    if (typed) {
      const types = new Int32Array(batch.length * length);
      batch.forEach((t, b) => {
        if (t.types) types.set(t.types, b * length);
      });
      inputs["types"] = { dtype: "i32", shape: [batch.length, length], data: types };
    }
    const { logits } = await session.run(inputs, { signal });
    const size = logits.data.length / batch.length;
    members.forEach((i, k) => {
      const used = perToken === undefined ? size : texts[i].ids.length * perToken;
      results[i] = (logits.data as Float32Array).slice(k * size, k * size + used);
    });
  }
  return results;
}

/** What graphs of encoders call their inputs. */
const inputNames = ["input_ids", "attention_mask", "token_type_ids"];

/** An encoder of texts as an ONNX graph, with its tokenizer beside it. Throws as `openTextRunner`. */
export async function openExported(
  source: ByteSource,
  folder: ModelFolder,
  kind: GraphKind,
  options: RunnerOptions,
): Promise<TextRunner> {
  const config = (await folder.optionalJson("config.json")) ?? {};
  const ofSentences = kind === "states" || kind === "vectors";
  if (!ofSentences) checkKind(source.name, config["architectures"], kind);
  const { tokenizer, longest } = await textRules(
    folder,
    options.tokenizer,
    ofSentences ? config["model_type"] : undefined,
  );
  const { session } = await openGraph(source, options);
  const fail = (message: string): never => {
    session.dispose();
    throw new UnsupportedOpError(`${source.name}: ${message}`);
  };
  const strange = session.inputs.find((p) => !inputNames.includes(p.name));
  if (strange || !session.inputs.some((p) => p.name === inputNames[0]))
    fail(`takes ${session.inputs.map((p) => p.name).join(", ")}; an encoder of texts takes ${inputNames.join(", ")}`);
  // The beginning before the end, as graphs name them.
  const outputs = session.outputs.map((p) => p.name).sort((a, b) => Number(/end/.test(a)) - Number(/end/.test(b)));
  const states = outputs.find((name) => /^(last_hidden_state|token_embeddings)$/.test(name));
  const whole = kind === "vectors" ? outputs.find((name) => name === sentenceOutput) : undefined;
  if (kind === "states" && states === undefined && outputs.includes(sentenceOutput))
    fail(`gives ${outputs.join(", ")}, which is pooled already: leave out { pooling }`);
  if (ofSentences && !(whole ?? states))
    fail(
      `gives ${outputs.join(", ")}; vectors are made of last_hidden_state or token_embeddings, or are ${sentenceOutput}`,
    );
  // Graphs may give the states that they judge by as well.
  const judged = outputs.find((name) => name === "logits") ?? outputs[0];
  const output = ofSentences ? (whole ?? states!) : kind === "span" ? outputs[0] : judged;
  if (kind === "classes") {
    const shape = session.outputs.find((p) => p.name === output)?.shape;
    if (shape?.length === 3) fail(notOfTexts(output, shape));
  }
  if (kind === "span" && outputs.length !== 2) fail(`gives ${outputs.join(", ")}; answers have a beginning and an end`);
  const positions = typeof config["max_position_embeddings"] === "number" ? config["max_position_embeddings"] : 512;
  return {
    session,
    tokenizer,
    maxTokens: Math.min(longest, positions - firstPositionIn(config)),
    labels: labelsIn(config),
    output,
    scoring: (classes) => scoringOf(session, output, classes, config),
    async run(texts, signal) {
      const results: Float32Array[] = [];
      // One by one, as long as they are: padding would change what dynamic quantisation rounds.
      for (const text of texts) {
        const given = await session.run(tokenInputs(session, text), { signal });
        const floatsOf = (name: string): Float32Array => Float32Array.from(toF64(given[name]));
        const { shape } = given[output];
        if (kind === "classes" && shape.length === 3)
          throw new UnsupportedOpError(`${source.name}: ${notOfTexts(output, shape)}`);
        results.push(kind === "span" ? interleaved(floatsOf(output), floatsOf(outputs[1])) : floatsOf(output));
      }
      return results;
    },
  };
}

const notOfTexts = (output: string, shape: readonly (string | number)[]): string =>
  `gives ${output} [${shape.join(", ")}]: classes of each token, and this task takes those of whole texts [batch, classes]`;

const interleaved = (a: Float32Array, b: Float32Array): Float32Array =>
  Float32Array.from({ length: 2 * a.length }, (_, i) => (i % 2 ? b : a)[i >> 1]);

function tokenInputs({ inputs }: Session, { ids, types }: TokenizedText): Record<string, HostTensor> {
  const values: Record<string, (id: number, i: number) => number> = {
    input_ids: (id) => id,
    attention_mask: () => 1,
    token_type_ids: (_, i) => types?.[i] ?? 0,
  };
  return Object.fromEntries(
    inputs.map(({ name, dtype = "i64" }) => [name, hostTensor([ids.map(values[name])], { dtype })]),
  );
}
