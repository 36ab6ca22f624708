/** Hugging Face folders: safetensors, `config.json` and a tokenizer beside each other. */

import { toF64 } from "../tensor/convert.ts";
import { isHalf } from "../tensor/dtype.ts";
import { FormatError, InputError } from "../tensor/errors.ts";
import { decodeHalves, halfWeight } from "../tensor/half-weight.ts";
import type { BinaryTensor, HostTensor } from "../tensor/tensor.ts";
import { heldSource } from "./decoder/weights.ts";
import { isSafetensors } from "./recognize.ts";
import { readSafetensors, readShardedSafetensors, type SafetensorsFile } from "./safetensors.ts";
import {
  type ByteSource,
  hasFileSystem,
  openSource,
  plainName,
  type SourceInput,
  type SourceOptions,
} from "./source.ts";
import { firstThere, ifThere } from "./sources/folder.ts";

/** JSON that a model brings along. */
export type Json = Readonly<Record<string, unknown>>;

const indexName = "model.safetensors.index.json";
const weightNames = [indexName, "model.safetensors"];
const isConfig = (name: string): boolean => name.endsWith("config.json");
const isWeights = (name: string): boolean => name.endsWith(".safetensors") || name.endsWith(".safetensors.index.json");
/** Addresses of models, in pages relative ones too: a folder is called otherwise. */
const isFile = (name: string): boolean =>
  (/^https?:/i.test(name) || !hasFileSystem()) && /\.(onnx|gguf|safetensors|bin|json)$/i.test(name);
/** Addresses without a name, or with half of one: what is put behind it would become the other half. */
const isNameless = (name: string): boolean => /^([a-z]{2,}:\/*(@[^/]*)?|hf:\/*[^/]*)\/?$/i.test(name);

/** Endings of exported graphs, the most exact first. */
const graphVariants = ["", "_fp32", "_quantized", "_int8", "_uint8"];
const graphNames = (name: string): string[] =>
  ["onnx/", ""].flatMap((folder) => graphVariants.map((v) => `${folder}${name}${v}.onnx`));

/** Optimum puts graphs into a folder within the model's. What comes before it is no host. */
const graphInOnnx = /^([/\\]?|.*[^:/\\][/\\])onnx[/\\][^/\\]+\.onnx$/is;

/** One of these is there where a model has more than its graph. */
const besideGraphs = ["config.json", "preprocessor_config.json", "labels.json", "tokenizer.json", "vocab.txt"];

export class ModelFolder {
  /**
   * @param anchor any file of the folder: the others are found beside it
   * @param around of the folder that the anchor's is in, where that is a part of the model: for what isn't beside the anchor
   * @param checked opens the file that is the model, where the caller gave a checksum and the anchor is another file
   */
  private constructor(
    readonly anchor: ByteSource,
    private readonly around?: ByteSource,
    private readonly checked?: (name: string) => Promise<ByteSource>,
  ) {}

  /**
   * @param input a folder, its path or URL (with a slash at the end), or one of its safetensors files, whatever it is called, or
   * their index
   * @throws InputError when it can't be read
   */
  static async open(input: SourceInput, options: SourceOptions = {}): Promise<ModelFolder> {
    return ModelFolder.at(await openSource(input, options));
  }

  /**
   * A folder that need not hold safetensors, by its `config.json`. A graph in `onnx/`, which a path names or a folder leads to,
   * stands for the model around it, where there is something of that.
   * @param input a folder, or any file in it
   */
  static async openConfigured(input: SourceInput, options: SourceOptions = {}): Promise<ModelFolder> {
    if (typeof input !== "string" && !(input instanceof URL)) return ModelFolder.open(input, options);
    const name = plainName(String(input));
    const inside = (file: string, given: SourceOptions) => openSource(`${name.replace(/\/$/, "")}/${file}`, given);
    const others = { ...options, sha256: undefined };
    const config = isFile(name) || isNameless(name) ? undefined : await ifThere(inside("config.json", others));
    if (config && options.sha256 !== undefined)
      return new ModelFolder(config, undefined, (file) => inside(file, options));
    const folder = ModelFolder.at(config ?? (await openSource(input, options)));
    const [, outer] = graphInOnnx.exec(folder.name) ?? [];
    if (outer === undefined || (await folder.has("config.json"))) return folder;
    const own = { ...others, name: undefined };
    return new ModelFolder(folder.anchor, await firstThere(besideGraphs, (name) => openSource(outer + name, own)));
  }

  /**
   * A folder by its `config.json` where usual names lie beside it or in `onnx/`, else by the model in it.
   * @throws InputError when there is neither
   */
  static async openModel(input: SourceInput, options: SourceOptions = {}): Promise<ModelFolder> {
    const folder = await ModelFolder.openConfigured(input, options);
    const named = !isConfig(folder.name) || (await folder.hasWeights());
    return named || (await folder.graph("model")) ? folder : ModelFolder.open(input, options);
  }

  static at(file: ByteSource): ModelFolder {
    return new ModelFolder(file);
  }

  get name(): string {
    return plainName(this.anchor.name);
  }

  /** Whether what is read from it belongs to the reader. */
  get local(): boolean | undefined {
    return this.anchor.local;
  }

  /**
   * @param later files on disk are held, for tensors that are read when they are needed
   * @throws InputError where there are none
   */
  async weights(later = false): Promise<SafetensorsFile> {
    const held = (source: ByteSource): ByteSource => (later ? heldSource(source) : source);
    const source = (await this.isWeights()) ? this.anchor : await this.model(weightNames);
    if (!source) throw new InputError(`${this.name}: there is neither ${weightNames.join(" nor ")} beside it`);
    if (!plainName(source.name).endsWith(".json")) return readSafetensors(held(source));
    return readShardedSafetensors(source, async (file) => held(await this.sibling(file)));
  }

  /** The first of the files that is there. @throws what else keeps one from being opened */
  async first(names: readonly string[]): Promise<ByteSource | undefined> {
    return firstThere(names, (name) => this.sibling(name));
  }

  /** The same of names of the model. @throws FormatError for one with another checksum than the caller's */
  private async model(names: readonly string[]): Promise<ByteSource | undefined> {
    if (!this.checked) return this.first(names);
    for (const name of names) if (await this.has(name)) return this.checked(name);
    return undefined;
  }

  /** @throws InputError for a model in several files where the caller gave a checksum, which is that of one */
  checkParts(...files: readonly ByteSource[]): void {
    if (!this.checked) return;
    const names = files.map((file) => plainName(file.name)).join(" and ");
    throw new InputError(`${this.name}: the model is ${names}, and sha256 is the checksum of one file: leave it out`);
  }

  async has(...names: string[]): Promise<boolean> {
    return (await this.first(names)) !== undefined;
  }

  /** Whether there are safetensors. */
  async hasWeights(): Promise<boolean> {
    return (await this.isWeights()) || (await this.has(...weightNames));
  }

  /** Whether the anchor is safetensors, by content where the name does not say it: those that lie beside it are others. */
  private async isWeights(): Promise<boolean> {
    const { name, anchor } = this;
    if (isWeights(name) || isConfig(name)) return isWeights(name);
    return isSafetensors(await anchor.read(0, Math.min(16, anchor.size)), anchor.size);
  }

  /**
   * An ONNX graph as Optimum names and places it, the most exact of its variants: `model.onnx`, `onnx/model_quantized.onnx`.
   * @param name without ending
   */
  async graph(name: string): Promise<ByteSource | undefined> {
    return this.first(graphNames(name));
  }

  /** The graph "model" where it is what there is of the model: the file itself, or a folder's without safetensors. */
  async onlyGraph(): Promise<ByteSource | undefined> {
    if (this.name.endsWith(".onnx")) return this.anchor;
    return isConfig(this.name) && !(await this.hasWeights()) ? this.model(graphNames("model")) : undefined;
  }

  /**
   * The graph "model", whatever else there is of the model, or the file that was opened.
   * @throws InputError for a folder without it
   */
  async graphOrFile(): Promise<ByteSource> {
    if (!isConfig(this.name) && !isWeights(this.name)) return this.anchor;
    const graph = await this.model(graphNames("model"));
    if (!graph)
      throw new InputError(
        `${this.name}: there is no ONNX graph beside it, model.onnx or onnx/model.onnx, and this task runs nothing else; ` +
          "make one, as with `optimum-cli export onnx`, or pass the path of one that is named otherwise",
      );
    return graph;
  }

  /** @throws FormatError for a file that is not JSON, InputError for one that is missing */
  async json(name: string): Promise<Json> {
    const source = await this.sibling(name).catch(async (cause) => {
      const bare = name === "config.json" && this.anchor.sibling && !this.name.endsWith(".json");
      if (!bare || !(cause instanceof InputError && cause.notFound) || !(await this.isWeights())) throw cause;
      // What else is wrong with the file comes first.
      await readSafetensors(this.anchor);
      throw new InputError(
        `${this.name}: there is no config.json beside it, which says what model its tensors are of; readSafetensors of "forwardpass/safetensors" reads the tensors alone`,
        { cause, notFound: true },
      );
    });
    return jsonOf(source);
  }

  /** Undefined where there is no such file. @throws FormatError for one that is not JSON, InputError for one that can't be read */
  async optionalJson(name: string): Promise<Json | undefined> {
    const source = await this.first([name]);
    return source && jsonOf(source);
  }

  async optionalText(name: string): Promise<string | undefined> {
    const source = await this.first([name]);
    return source && new TextDecoder().decode(await source.read(0, source.size));
  }

  private async sibling(name: string): Promise<ByteSource> {
    if (!this.anchor.sibling)
      throw new InputError(`${this.name}: "${name}" has to lie beside it: pass a path or URL, not bytes`, {
        notFound: true,
      });
    const beside = this.anchor.sibling(name);
    return this.around?.sibling ? ((await ifThere(beside)) ?? this.around.sibling(name)) : beside;
  }
}

/** @throws FormatError for a file that is not JSON */
async function jsonOf(source: ByteSource): Promise<Json> {
  const text = new TextDecoder().decode(await source.read(0, source.size));
  try {
    // What has no properties is a file without entries to whoever reads them.
    return (JSON.parse(text) ?? {}) as Json;
  } catch (cause) {
    throw new FormatError(`${source.name}: not JSON: ${(cause as Error).message}`, { cause });
  }
}

/** Float weights as f32: the same tensor where it is that already. */
export function asF32(t: BinaryTensor): BinaryTensor & { data: Float32Array } {
  if (t.dtype === "f32") return t as BinaryTensor & { data: Float32Array };
  const { dtype, shape, data } = t;
  if (isHalf(dtype)) return { dtype: "f32", shape, data: decodeHalves(data as Uint16Array, dtype) };
  return { dtype: "f32", shape, data: Float32Array.from(toF64(t)) };
}

/** The same for graphs: large ones of 16-bit floats stay that in memory. @param owned nobody else has the array */
export const f32Weight = (t: BinaryTensor, owned: boolean): HostTensor =>
  isHalf(t.dtype) ? halfWeight(t, t.dtype, owned) : asF32(t);
