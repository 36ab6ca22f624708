/** Text classification: spam or not, how a text sounds, what it is about. */
import { openDevice } from "../device.ts";
import { ModelFolder } from "../formats/folder.ts";
import type { ByteSource, SourceInput } from "../formats/source.ts";
import { compile, type Session } from "../graph/session.ts";
import { sourceOptions } from "../load.ts";
import { transformerEncoder } from "../models/transformer/encoder.ts";
import { InputError, UnsupportedOpError } from "../tensor/errors.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { type LabelScore, labelsIn, numbered, ranked, type Scoring, scoringOf } from "./classes.ts";
import {
  batchesOf,
  type EncoderFile,
  encoderInputs,
  encodeText,
  readEncoder,
  tokenizerOf,
} from "./language/encoder.ts";
import { openGraph } from "./onnx-model.ts";
import type { TaskOptions } from "./options.ts";
import type { Tokenizer } from "./tokenizers/tokenizer.ts";

export interface TextClassificationOptions extends TaskOptions {
  /** In place of `tokenizer.json` or `vocab.txt` beside the model. */
  tokenizer?: Tokenizer;
  /** Names of the classes in order. Default: `id2label` of `config.json`. */
  labels?: readonly string[];
  /** Default: `sigmoid` where `config.json` says that a text may have several labels, else what the end of the graph asks for. */
  scoring?: Scoring;
}

/** Logits of texts, whatever runs them. */
interface Runner {
  readonly session: Session;
  readonly labels?: readonly string[];
  readonly scoring: (classes: number) => Scoring;
  run(texts: readonly string[], signal?: AbortSignal): Promise<Float32Array[]>;
}

/**
 * Loads a classifier of texts: a folder with safetensors, `config.json` and `tokenizer.json` (BERT, DistilBERT, RoBERTa with
 * a head for sequences), or an ONNX graph from `input_ids` to logits, with `tokenizer.json` or `vocab.txt` beside it.
 * @throws FormatError, InputError as the files deserve; UnsupportedOpError for other architectures; MissingPeerError
 * without `@huggingface/tokenizers`
 */
export async function textClassification(
  model: SourceInput,
  options: TextClassificationOptions = {},
): Promise<TextClassifier> {
  const folder = await ModelFolder.openConfigured(model, sourceOptions(options));
  const { anchor } = folder;
  if (anchor.name.endsWith(".onnx")) return new TextClassifier(await openExported(anchor, folder, options), options);
  if (await folder.hasWeights()) return new TextClassifier(await openNative(folder, options), options);
  const graph = await folder.graph("model");
  if (!graph) throw new InputError(`${folder.name}: there is neither model.safetensors nor model.onnx beside it`);
  return new TextClassifier(await openExported(graph, folder, options), options);
}

export class TextClassifier {
  constructor(
    private readonly runner: Runner,
    private readonly options: Pick<TextClassificationOptions, "labels" | "scoring">,
  ) {}

  get session(): Session {
    return this.runner.session;
  }

  /**
   * All classes of a text, the likeliest first; of several texts, those of each. What exceeds the model's longest text is cut.
   * @throws InputError for anything but texts, or labels that do not fit; the signal's reason when aborted
   */
  async classify(text: string, options?: { signal?: AbortSignal }): Promise<LabelScore[]>;
  async classify(texts: readonly string[], options?: { signal?: AbortSignal }): Promise<LabelScore[][]>;
  async classify(
    texts: string | readonly string[],
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<LabelScore[] | LabelScore[][]> {
    const list = typeof texts === "string" ? [texts] : texts;
    if (!Array.isArray(list) || list.some((t) => typeof t !== "string"))
      throw new InputError("classify: takes a text or an array of texts");
    const { runner, options } = this;
    const results = (await runner.run(list, signal)).map((logits) => {
      const { labels = runner.labels ?? numbered(logits.length) } = options;
      return ranked(logits, labels, options.scoring ?? runner.scoring(logits.length));
    });
    return typeof texts === "string" ? results[0] : results;
  }

  dispose(): void {
    this.session.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

async function openNative(folder: ModelFolder, options: TextClassificationOptions): Promise<Runner> {
  const file = await readEncoder(folder, options);
  const classes = file.weights.get("classifier.weight")?.shape[0];
  if (classes === undefined)
    throw new InputError(`${folder.name}: the model has no classifier ("classifier.weight"); is it made for classes?`);
  const head = { kind: "classes", classes, activation: file.classActivation } as const;
  const session = await compile(transformerEncoder(file.config, file.weights, head), {
    device: await openDevice(options.device, options),
    ownsWeights: folder.local,
  });
  return {
    session,
    labels: file.labels,
    scoring: () => (file.severalLabels || classes === 1 ? "sigmoid" : "softmax"),
    run: (texts, signal) => runBatches(session, file, classes, texts, signal),
  };
}

/** Texts of about one length together. */
async function runBatches(
  session: Session,
  file: EncoderFile,
  classes: number,
  texts: readonly string[],
  signal?: AbortSignal,
): Promise<Float32Array[]> {
  const tokens = texts.map((t) => encodeText(file, t));
  const results = new Array<Float32Array>(texts.length);
  for (const { length, members } of batchesOf(tokens.map((t) => t.length))) {
    const inputs = encoderInputs(
      file,
      members.map((i) => tokens[i]),
      length,
    );
    const { logits } = await session.run(inputs, { signal });
    members.forEach((i, k) => {
      results[i] = (logits.data as Float32Array).slice(k * classes, (k + 1) * classes);
    });
  }
  return results;
}

/** What graphs of encoders call their inputs. */
const inputNames = ["input_ids", "attention_mask", "token_type_ids"];

async function openExported(
  source: ByteSource,
  folder: ModelFolder,
  options: TextClassificationOptions,
): Promise<Runner> {
  const config = (await folder.optionalJson("config.json")) ?? {};
  const tokenizer = options.tokenizer ?? (await tokenizerOf(folder));
  const { session } = await openGraph(source, options);
  const strange = session.inputs.find((p) => !inputNames.includes(p.name));
  if (strange || !session.inputs.some((p) => p.name === inputNames[0])) {
    session.dispose();
    const names = session.inputs.map((p) => p.name).join(", ");
    throw new UnsupportedOpError(
      `${source.name}: takes ${names}; a classifier of texts takes ${inputNames.join(", ")}`,
    );
  }
  const positions = typeof config["max_position_embeddings"] === "number" ? config["max_position_embeddings"] : 512;
  // RoBERTa's tables begin after the padding token's number.
  const maxTokens = String(config["model_type"]).includes("roberta") ? positions - 2 : positions;
  const { name: output } = session.outputs[0];
  const several = config["problem_type"] === "multi_label_classification";
  return {
    session,
    labels: labelsIn(config),
    scoring: (classes) => (several ? "sigmoid" : scoringOf(session, output, classes)),
    async run(texts, signal) {
      const results: Float32Array[] = [];
      // One by one, as long as they are: padding would change what dynamic quantisation rounds.
      for (const text of texts) {
        const inputs = tokenInputs(session, encodeText({ tokenizer, maxTokens }, text));
        const outputs = await session.run(inputs, { signal });
        results.push((outputs[output].data as Float32Array).slice());
      }
      return results;
    },
  };
}

function tokenInputs({ inputs }: Session, ids: readonly number[]): Record<string, HostTensor> {
  const values: Record<string, (id: number) => number> = {
    input_ids: (id) => id,
    attention_mask: () => 1,
    token_type_ids: () => 0,
  };
  return Object.fromEntries(
    inputs.map(({ name, dtype }): [string, HostTensor] => {
      const row = ids.map(values[name]);
      const shape = [1, row.length];
      return [
        name,
        dtype === "i32"
          ? { dtype, shape, data: Int32Array.from(row) }
          : { dtype: "i64", shape, data: BigInt64Array.from(row, BigInt) },
      ];
    }),
  );
}
