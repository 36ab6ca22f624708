/** Models in several files, GGUF and safetensors, wherever they come from. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { convert } from "../../src/formats/convert/index.ts";
import { type GgufFile, type GgufTensor, readGguf, writeGguf } from "../../src/formats/gguf/index.ts";
import { readSafetensors } from "../../src/formats/safetensors.ts";
import { bytesSource } from "../../src/formats/source.ts";
import { FormatError, InputError, load } from "../../src/index.ts";
import { textGeneration } from "../../src/tasks/text-generation.ts";
import { tinyGguf } from "../tasks/tiny-gguf.ts";
import { send, TestServer } from "./server.ts";

const model = tinyGguf();
const partName = (n: number, count = 3): string => `tiny-0000${n + 1}-of-0000${count}.gguf`;

/** Metadata of part n that is not as it should be. */
type Change = (n: number) => { readonly [key in `split.${"no" | "count" | "tensors.count"}`]?: number };

/** As gguf-split writes them: metadata in the first part, tensors in the others too. */
async function partsOf(change: Change = () => ({})): Promise<Uint8Array[]> {
  const { metadata, tensors }: GgufFile = await readGguf(bytesSource(model));
  const stored = await Promise.all(
    [...tensors.values()].map(async (t: GgufTensor) => [t.name, { ...t, bytes: await t.bytes() }] as const),
  );
  return [0, 1, 2].map((n) =>
    writeGguf({
      metadata: new Map([
        ...(n === 0 ? metadata : []),
        ...Object.entries({ "split.no": n, "split.count": 3, "split.tensors.count": stored.length, ...change(n) }),
      ]),
      tensors: new Map(stored.filter((_, i) => i % 3 === n)),
    }),
  );
}

let folder: string;
let server: TestServer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "split-"));
  server = await TestServer.open();
  server.serve(async (q, r) => {
    const bytes = await readFile(join(folder, decodeURI(q.url!).replace(/\?.*/, ""))).catch(() => undefined);
    return bytes ? send(q, r, bytes, { etag: `"${bytes.length}"` }) : r.writeHead(404).end();
  });
});
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

async function logits(input: string | Uint8Array, options: object = {}): Promise<ArrayLike<number>> {
  using session = await load(input, { device: "cpu", retries: 0, ...options });
  return (await session.run({ tokens: Int32Array.of(1, 2, 3, 4) }))["logits"].data as Float32Array;
}

describe("a GGUF model in three files", () => {
  const write = async (parts: readonly Uint8Array[]): Promise<void> => {
    for (const [n, bytes] of parts.entries()) await writeFile(join(folder, partName(n)), bytes);
  };

  test("is the whole model, by any of them, by their folder and by an address", async () => {
    await write(await partsOf());
    const want = await logits(model);
    for (const input of [0, 1, 2].map((n) => join(folder, partName(n)))) expect(await logits(input)).toEqual(want);
    expect(await logits(folder)).toEqual(want);
    expect(await logits(`${server.base}/${partName(1)}?download=true`)).toEqual(want);
    const whole = await textGeneration(model, { device: "cpu" });
    const split = await textGeneration(join(folder, partName(2)), { device: "wasm" });
    const options = { maxTokens: 8, temperature: 0 };
    expect((await split.generate("a b", options)).tokens).toEqual((await whole.generate("a b", options)).tokens);
    whole.dispose();
    split.dispose();
  });

  test("is one file when it is converted", async () => {
    await write(await partsOf());
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await convert(join(folder, partName(1)), { to: "gguf" })).chunks) chunks.push(chunk);
    const whole = await readGguf(bytesSource(Buffer.concat(chunks)));
    const want = await readGguf(bytesSource(model));
    expect([...whole.tensors.keys()].sort()).toEqual([...want.tensors.keys()].sort());
    expect(whole.metadata).toEqual(want.metadata);
    expect(await logits(Buffer.concat(chunks))).toEqual(await logits(model));
  });

  test("needs all of its parts, of the same model", async () => {
    const refused = async (change: Change, message: RegExp): Promise<void> => {
      await write(await partsOf(change));
      await expect(logits(join(folder, partName(0)))).rejects.toThrow(message);
      await expect(logits(join(folder, partName(0)))).rejects.toThrow(FormatError);
    };
    await refused((n) => (n === 1 ? { "split.no": 2 } : {}), /"tiny-00002-of-00003.gguf" is a part of another model/);
    await refused(
      (n) => (n === 2 ? { "split.count": 4 } : {}),
      /"tiny-00003-of-00003.gguf" is a part of another model/,
    );
    await refused(() => ({ "split.tensors.count": 99 }), /tensors of 99/);
    const parts = await partsOf();
    await expect(logits(parts[0])).rejects.toThrow(/part 1 of 3 of a model: its name has no numbers/);
    await write(parts);
    await rm(join(folder, partName(2)));
    await expect(logits(join(folder, partName(0)))).rejects.toThrow(
      /part 1 of 3 of a model: "tiny-00003-of-00003.gguf" is not beside it/,
    );
    for (const file of await readdir(folder)) await rm(join(folder, file));
  });
});

test("safetensors from an address, kept in a cache, are read beside their config.json", async () => {
  const { chunks, beside } = await convert(model, { to: "safetensors", quant: "f32" });
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  await writeFile(join(folder, "model.safetensors"), Buffer.concat(parts));
  for (const [name, content] of beside) await writeFile(join(folder, name), content);
  const want = await logits(folder);
  const cache = await mkdtemp(join(tmpdir(), "split-cache-"));
  for (const address of ["/", "/model.safetensors"])
    for (const offline of [false, true]) expect(await logits(server.base + address, { cache, offline })).toEqual(want);
  await rm(cache, { recursive: true });
});

test("readers take what a user has: a path, an address, bytes", async () => {
  const path = join(folder, "whole.gguf");
  await writeFile(path, model);
  for (const input of [path, `${server.base}/whole.gguf`, model, new Blob([model as BlobPart])])
    expect((await readGguf(input)).tensors.size).toBeGreaterThan(10);
  for (const input of [join(folder, "model.safetensors"), `${server.base}/model.safetensors`])
    expect((await readSafetensors(input)).tensors.size).toBeGreaterThan(10);
  await expect(readGguf(5 as never)).rejects.toThrow(InputError);
});
