/** Hugging Face folders: safetensors, `config.json` and a tokenizer beside each other. */

import { toF64 } from "../tensor/convert.ts";
import { FormatError, InputError } from "../tensor/errors.ts";
import { decodeTable } from "../tensor/float.ts";
import type { BinaryTensor } from "../tensor/tensor.ts";
import { readSafetensors, readShardedSafetensors, type SafetensorsFile } from "./safetensors.ts";
import { type ByteSource, openSource, type SourceInput, type SourceOptions } from "./source.ts";

/** JSON that a model brings along. */
export type Json = Readonly<Record<string, unknown>>;

export class ModelFolder {
  private constructor(private readonly weightsSource: ByteSource) {}

  /**
   * @param input a folder, its path or URL (with a slash at the end), or one of its safetensors files or their index
   * @throws InputError when it can't be read
   */
  static async open(input: SourceInput, options: SourceOptions = {}): Promise<ModelFolder> {
    return ModelFolder.at(await openSource(input, options));
  }

  static at(weights: ByteSource): ModelFolder {
    return new ModelFolder(weights);
  }

  get name(): string {
    return this.weightsSource.name;
  }

  /** Whether what is read from it belongs to the reader. */
  get local(): boolean | undefined {
    return this.weightsSource.local;
  }

  async weights(): Promise<SafetensorsFile> {
    const source = this.weightsSource;
    if (!source.name.endsWith(".json")) return readSafetensors(source);
    return readShardedSafetensors(source, (file) => this.sibling(file));
  }

  /** @throws FormatError for a file that is not JSON, InputError for one that is missing */
  async json(name: string): Promise<Json> {
    const source = await this.sibling(name);
    const text = new TextDecoder().decode(await source.read(0, source.size));
    try {
      return JSON.parse(text) as Json;
    } catch (cause) {
      throw new FormatError(`${source.name}: not JSON: ${(cause as Error).message}`, { cause });
    }
  }

  /** Undefined where there is no such file. */
  async optionalJson(name: string): Promise<Json | undefined> {
    try {
      return await this.json(name);
    } catch (e) {
      if (e instanceof InputError) return undefined;
      throw e;
    }
  }

  async optionalText(name: string): Promise<string | undefined> {
    const source = await this.sibling(name).catch(() => undefined);
    return source && new TextDecoder().decode(await source.read(0, source.size));
  }

  private async sibling(name: string): Promise<ByteSource> {
    if (!this.weightsSource.sibling)
      throw new InputError(`${this.name}: "${name}" has to lie beside the weights: pass a path or URL, not bytes`);
    return this.weightsSource.sibling(name);
  }
}

/** Float weights as f32: the same array where it is that already. */
export function asF32(t: BinaryTensor): BinaryTensor & { data: Float32Array } {
  const { dtype, shape, data } = t;
  if (dtype === "f32") return { dtype, shape, data: data as Float32Array };
  const out = new Float32Array(data.length);
  if (dtype === "f16") {
    const table = decodeTable("f16");
    for (let i = 0; i < out.length; i++) out[i] = table[data[i] as number];
  } else if (dtype === "bf16") {
    const bits = new Uint32Array(out.buffer);
    for (let i = 0; i < out.length; i++) bits[i] = (data[i] as number) << 16;
  } else out.set(toF64(t));
  return { dtype: "f32", shape, data: out };
}
