import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isLlama2c, readLlama2c } from "../../src/formats/llama2c.ts";
import { bytesSource } from "../../src/formats/source.ts";
import { FormatError } from "../../src/tensor/errors.ts";

interface Tiny {
  dim: number;
  hidden: number;
  layers: number;
  heads: number;
  kvHeads: number;
  vocab: number;
  length: number;
  shared: boolean;
}
const tiny: Tiny = { dim: 8, hidden: 12, layers: 2, heads: 2, kvHeads: 1, vocab: 5, length: 6, shared: true };

const floats = (t: Tiny) => {
  const kv = (t.dim / t.heads) * t.kvHeads;
  const layer = 2 * t.dim + 2 * t.dim * t.dim + 2 * kv * t.dim + 3 * t.hidden * t.dim;
  return t.vocab * t.dim * (t.shared ? 1 : 2) + t.layers * layer + t.dim + t.length * (t.dim / t.heads);
};

/** Weights count up from 0, so that each element tells its position. */
function model(t: Tiny): Uint8Array {
  const out = new Uint8Array(28 + floats(t) * 4);
  new Int32Array(out.buffer, 0, 7).set([
    t.dim,
    t.hidden,
    t.layers,
    t.heads,
    t.kvHeads,
    t.shared ? t.vocab : -t.vocab,
    t.length,
  ]);
  new Float32Array(out.buffer, 28).set(Float32Array.from({ length: floats(t) }, (_, i) => i));
  return out;
}

const words = ["<unk>", "\n", "", "é", " the"].map((w) => new TextEncoder().encode(w));
function tokenizer(withLongest: boolean): Uint8Array {
  const parts = words.map((w, i) => {
    const part = new Uint8Array(8 + w.length);
    const view = new DataView(part.buffer);
    view.setFloat32(0, -i / 2, true);
    view.setInt32(4, w.length, true);
    part.set(w, 8);
    return part;
  });
  return Buffer.concat(withLongest ? [Uint8Array.of(5, 0, 0, 0), ...parts] : parts);
}
const join = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts));
const read = (bytes: Uint8Array) => readLlama2c(bytesSource(bytes));

describe("llama2.c", () => {
  test("configuration, order and shapes of the weights, shared output", async () => {
    const bytes = model(tiny);
    expect(isLlama2c(bytes.subarray(0, 28), bytes.length)).toBe(true);
    const { config, tensors, tokenizer } = await read(bytes);
    expect(config).toEqual({
      dim: 8,
      hiddenDim: 12,
      layers: 2,
      heads: 2,
      kvHeads: 1,
      vocabSize: 5,
      maxLength: 6,
      sharedOutput: true,
    });
    expect(tokenizer).toBeUndefined();
    expect([...tensors].map(([name, t]) => [name, t.shape])).toEqual([
      ["token_embedding", [5, 8]],
      ["attention_norm", [2, 8]],
      ["wq", [2, 8, 8]],
      ["wk", [2, 4, 8]],
      ["wv", [2, 4, 8]],
      ["wo", [2, 8, 8]],
      ["ffn_norm", [2, 8]],
      ["w1", [2, 12, 8]],
      ["w2", [2, 8, 12]],
      ["w3", [2, 12, 8]],
      ["final_norm", [8]],
      ["rope_cos", [6, 2]],
      ["rope_sin", [6, 2]],
    ]);
    let next = 0;
    for (const t of tensors.values()) {
      const { data } = await t.read();
      expect(data.buffer).toBe(bytes.buffer);
      expect(data.every((v) => v === next++)).toBe(true);
    }
    expect(next).toBe(floats(tiny));
  });

  test("an output projection of its own, from an unaligned view", async () => {
    const own = { ...tiny, shared: false };
    const bytes = join(Uint8Array.of(0), model(own)).subarray(1);
    const { config, tensors } = await read(bytes);
    expect(config.sharedOutput).toBe(false);
    const { shape, data } = await tensors.get("output")!.read();
    expect(shape).toEqual([5, 8]);
    expect(Array.from(data)).toEqual(Array.from({ length: 40 }, (_, i) => floats(own) - 40 + i));
  });

  test.each([true, false])("a tokenizer appended, with its longest length: %s", async (withLongest) => {
    const bytes = join(model(tiny), tokenizer(withLongest));
    expect(isLlama2c(bytes, bytes.length)).toBe(true);
    const file = await read(bytes);
    expect(file.tokenizer!.tokens.map((t) => [...t])).toEqual(words.map((w) => [...w]));
    expect(Array.from(file.tokenizer!.scores)).toEqual([-0, -0.5, -1, -1.5, -2]);
  });

  test("sizes that do not add up are refused", async () => {
    const bytes = model(tiny);
    for (const bad of [
      bytes.subarray(0, 27),
      bytes.subarray(0, bytes.length - 1),
      join(bytes, Uint8Array.of(1)),
      join(bytes, tokenizer(true).subarray(1)),
      join(bytes, tokenizer(false), Uint8Array.of(0)),
      join(bytes, new Uint8Array(1000).fill(255)),
    ])
      await expect(read(bad)).rejects.toThrow(FormatError);
    for (const [at, value] of [
      [0, 0],
      [0, -8],
      [3, 3],
      [4, 3],
      [2, 2 ** 31 - 1],
      [5, 0],
      [6, -1],
    ]) {
      const edited = bytes.slice();
      new Int32Array(edited.buffer, 0, 7)[at] = value;
      expect(isLlama2c(edited, edited.length)).toBe(false);
      await expect(read(edited)).rejects.toThrow(FormatError);
    }
    expect(isLlama2c(new TextEncoder().encode("GGUF and more than twenty-eight bytes"), 1e6)).toBe(false);
  });

  test("any mutation of header and tokenizer gives FormatError or a consistent file", async () => {
    const valid = join(model(tiny), tokenizer(true));
    const end = model(tiny).length;
    const place = fc.oneof(fc.nat(27), fc.integer({ min: end, max: valid.length - 1 }));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(place, fc.nat(255)), { minLength: 1, maxLength: 3 }), async (edits) => {
        const bytes = valid.slice();
        for (const [at, value] of edits) bytes[at] = value;
        try {
          const file = await read(bytes);
          let total = 28;
          for (const t of file.tensors.values()) total += (await t.read()).data.byteLength;
          expect(total).toBeLessThanOrEqual(bytes.length);
        } catch (error) {
          if (!(error instanceof FormatError)) throw error;
        }
      }),
      { numRuns: 5000 },
    );
  }, 60_000);
});
