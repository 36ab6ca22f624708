/** Weights that stay in their files, GGUF or safetensors: runs that cannot wait, and signals that are aborted when all is loaded. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { convert } from "../../src/formats/convert/index.ts";
import { writeSafetensors } from "../../src/formats/safetensors.ts";
import { load } from "../../src/load.ts";
import { embeddings } from "../../src/tasks/embed.ts";
import { textGeneration } from "../../src/tasks/text-generation.ts";
import { DeviceError } from "../../src/tensor/errors.ts";
import { encodeFloats } from "../../src/tensor/float.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { Weight } from "../../src/tensor/weight.ts";
import { send, TestServer } from "../formats/server.ts";
import { build } from "../models/tiny.ts";
import { bertWeights, randomWeights } from "../models/tiny-encoders.ts";
import { bertGguf, bertMetadata, wordPieceMetadata } from "./bert-gguf.ts";
import { bertJson, tokenizer, words } from "./encoder-folders.ts";
import { metadataOf, written } from "./gguf-files.ts";

const folder = await mkdtemp(join(tmpdir(), "forwardpass-stored-"));
const server = await TestServer.open();
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true });
});

/** The file by its path, its bytes, and a server. */
async function places(name: string, bytes: Uint8Array) {
  const path = join(folder, name);
  await writeFile(path, bytes);
  server.serve((request, response) => send(request, response, bytes, { etag: '"1"' }));
  return { path, bytes, blob: new Blob([bytes as BlobPart]), url: `${server.base}/${name}` };
}

const llama = build({ vocabSize: 600, hidden: 1024, untied: true, rope: { dim: 8, base: 10000, interleaved: true } });
const decoder = written(
  metadataOf("llama", llama.config),
  new Map(llama.weights as unknown as ReadonlyMap<string, HostTensor>),
);

const config = { vocabSize: words.length, width: 256, heads: 2, hidden: 1024, layers: 2, positions: 12, epsilon: 1e-5 };
const bert = randomWeights(bertWeights({ ...config, activation: "gelu" }, 3));

/** The encoder as a folder of Hugging Face. */
async function encoderFolder(dtype: "f32" | "f16" | "bf16"): Promise<string> {
  const path = join(folder, `encoder-${dtype}`);
  await mkdir(path, { recursive: true });
  const stored = [...bert].map(([name, t]): [string, HostTensor] => {
    if (dtype === "f32") return [name, t];
    const data = new Uint16Array(t.data.length);
    encodeFloats(dtype, t.data as Float32Array, data);
    return [name, { dtype, shape: t.shape, data }];
  });
  const { width, heads, hidden, layers, positions } = config;
  const sizes = {
    hidden_size: width,
    num_attention_heads: heads,
    intermediate_size: hidden,
    num_hidden_layers: layers,
  };
  await writeFile(join(path, "model.safetensors"), writeSafetensors(new Map(stored)));
  await writeFile(
    join(path, "config.json"),
    JSON.stringify({ ...bertJson, ...sizes, vocab_size: config.vocabSize, max_position_embeddings: positions }),
  );
  await writeFile(join(path, "tokenizer.json"), JSON.stringify(tokenizer));
  return path;
}

const inFloats = bertGguf(bertMetadata(config, { ...wordPieceMetadata(words), "bert.pooling_type": 1 }), bert);
const chunks: Uint8Array[] = [];
for await (const chunk of (await convert(inFloats, { to: "gguf", quant: "q8_0" })).chunks) chunks.push(chunk);
const encoder = new Uint8Array(Buffer.concat(chunks));

describe.each(["cpu", "wasm"] as const)("on %s", (device) => {
  const options = { device, threads: 1 } as const;

  test("runSync is the first run of a decoder, wherever it came from", async () => {
    const { path, bytes, blob, url } = await places("decoder.gguf", decoder);
    const inputs = { tokens: { dtype: "i32", shape: [1, 3], data: Int32Array.of(3, 1, 4) } } as const;
    using first = await load(bytes, options);
    const want = await first.run(inputs);
    for (const place of [path, bytes, blob, url]) {
      using session = await load(place, options);
      expect(session.runSync(inputs)).toEqual(want);
    }
  });

  test("runSync is the first run of an encoder, or says what to do", async () => {
    const { path, bytes, blob, url } = await places("encoder.gguf", encoder);
    const inputs = {
      tokens: { dtype: "i32", shape: [1, 4], data: Int32Array.of(2, 6, 7, 3) },
      positions: { dtype: "i32", shape: [1, 4], data: Int32Array.of(0, 1, 2, 3) },
      mask: { dtype: "bool", shape: [1, 1, 1, 4], data: Uint8Array.of(1, 1, 1, 1) },
      pool: { dtype: "f32", shape: [1, 1, 4], data: new Float32Array(4).fill(0.25) },
    } as const;
    using first = await embeddings(bytes, options);
    const want = await first.session.run(inputs);
    for (const place of [path, bytes]) {
      using model = await embeddings(place, options);
      expect(model.session.runSync(inputs)).toEqual(want);
    }
    for (const place of [blob, url]) {
      using model = await embeddings(place, options);
      expect(() => model.session.runSync(inputs)).toThrow(DeviceError);
      expect(() => model.session.runSync(inputs)).toThrow(/weights from a URL or Blob: run\(\) once before/);
      expect(await model.session.run(inputs)).toEqual(want);
      expect(model.session.runSync(inputs)).toEqual(want);
    }
  });

  test.each(["f32", "f16", "bf16"] as const)("safetensors in %s are read by the first run", async (dtype) => {
    const path = await encoderFolder(dtype);
    server.serve(async ({ url }, response) =>
      readFile(path + url).then(
        (bytes) => response.end(bytes),
        () => response.writeHead(404).end(),
      ),
    );
    using whole = await embeddings(`${server.base}/model.safetensors`, { ...options, cache: false });
    const want = await whole.embed(["the cat sat", "the mat"]);
    using model = await embeddings(path, options);
    const pending = () => [...model.session.graph.constants.values()].filter((t) => (t as Weight).elements.pending);
    expect(pending().every((t) => t instanceof Weight && t.shape.reduce((n, d) => n * d, 1) >= 1 << 14)).toBe(true);
    // Attention, two matrices of each feed-forward: of the tables only short ones are left.
    expect(pending().length).toBeGreaterThanOrEqual(config.layers * 6);
    // It is held, whatever its name stands for.
    await rm(join(path, "model.safetensors"));
    expect(await model.embed(["the cat sat", "the mat"])).toEqual(want);
    if (device === "wasm") expect(pending()).toHaveLength(0);
  });

  test("a signal that is aborted after loading changes nothing", async () => {
    const { path, bytes, url } = await places("encoder.gguf", encoder);
    using plain = await embeddings(bytes, options);
    const want = await plain.embed("the cat sat");
    for (const place of [path, url]) {
      const controller = new AbortController();
      using model = await embeddings(place, { ...options, signal: controller.signal });
      controller.abort();
      expect(await model.embed("the cat sat")).toEqual(want);
    }
    const inputs = { tokens: { dtype: "i32", shape: [1, 3], data: Int32Array.of(3, 1, 4) } } as const;
    const other = await places("decoder.gguf", decoder);
    for (const place of [other.path, other.url]) {
      const controller = new AbortController();
      using session = await load(place, { ...options, signal: controller.signal });
      using model = await textGeneration(place, { ...options, signal: controller.signal });
      controller.abort();
      expect((await session.run(inputs)).logits.shape).toEqual([1, 3, llama.config.vocabSize]);
      expect((await model.generate([3, 1, 4], { maxTokens: 3 })).tokens).toHaveLength(3);
    }
  });

  test("a signal that is aborted before, or meanwhile, stops loading", async () => {
    const { url } = await places("encoder.gguf", encoder);
    for (const open of [embeddings, textGeneration, load]) {
      await expect(open(url, { ...options, signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
      const controller = new AbortController();
      const reason = new Error("enough");
      server.serve((request, response) => {
        controller.abort(reason);
        send(request, response, encoder, { etag: '"1"' });
      });
      await expect(open(url, { ...options, signal: controller.signal })).rejects.toBe(reason);
    }
  });
});
