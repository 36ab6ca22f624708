/** Models that were converted, and what they say. */
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import type { Converted } from "../../src/formats/convert/index.ts";
import { load } from "../../src/index.ts";

export async function bytesOf(model: Converted): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of model.chunks) parts.push(chunk);
  const bytes = new Uint8Array(Buffer.concat(parts));
  expect(bytes.length).toBe(model.size);
  return bytes;
}

/** A folder in `root` with the safetensors and what belongs beside them. */
export async function savedIn(root: string, model: Converted): Promise<string> {
  const path = await mkdtemp(join(root, "st-"));
  await writeFile(join(path, "model.safetensors"), await bytesOf(model));
  for (const [name, content] of model.beside) await writeFile(join(path, name), content);
  return path;
}

export const jsonOf = async (path: string): Promise<Record<string, unknown>> =>
  JSON.parse(await readFile(join(path, "config.json"), "utf8"));

/** Changes fields of `config.json`; what is undefined is left out. */
export async function edit(path: string, fields: object): Promise<string> {
  await writeFile(join(path, "config.json"), JSON.stringify({ ...(await jsonOf(path)), ...fields }));
  return path;
}

/** After each of the tokens. */
export async function logits(model: Uint8Array | string, tokens: readonly number[]): Promise<Float32Array> {
  using session = await load(model, { device: "cpu" });
  return (await session.run({ tokens: Int32Array.from(tokens) }))["logits"].data as Float32Array;
}

export const worst = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  a.length === b.length
    ? Array.from(a).reduce((m, v, i) => Math.max(m, Math.abs(v - b[i])), 0)
    : Number.POSITIVE_INFINITY;
