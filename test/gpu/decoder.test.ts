/** Decoders on a GPU: every architecture gives the logits of the naive implementation, in few dispatches a token. */
import { afterAll, describe, expect, test } from "vitest";
import { openWebgpu } from "../../src/backends/webgpu/index.ts";
import { quantize } from "../../src/formats/gguf/index.ts";
import { compile } from "../../src/graph/compile.ts";
import type { DecoderConfig, DecoderWeights, Weight } from "../../src/models/transformer/config.ts";
import { statelessDecoder } from "../../src/models/transformer/decoder.ts";
import { Decoder } from "../../src/models/transformer/sequence.ts";
import { dequantize } from "../../src/tensor/blocks/dequantize.ts";
import { UnsupportedOpError } from "../../src/tensor/errors.ts";
import { type Matrix, NaiveDecoder } from "../goldens/decoder.ts";
import { base, build, longRope, text, variants } from "../models/tiny.ts";

const device = await openWebgpu();
afterAll(() => device.dispose());

const tokens = text(24);

/** A text in one piece of 20 tokens, then token by token. */
async function expectEqual(config: DecoderConfig, weights: DecoderWeights, naive: NaiveDecoder): Promise<Decoder> {
  const model = await Decoder.open(config, weights, device);
  const want = tokens.map((t) => naive.next(t));
  const sequence = model.sequence();
  for (const [from, to] of [
    [0, 20],
    [20, 21],
    [21, 22],
    [22, 24],
  ]) {
    const got = await sequence.feed(tokens.slice(from, to));
    const worst = got.reduce((m, v, i) => Math.max(m, Math.abs(v - want[to - 1][i])), 0);
    expect(worst, `after ${to} tokens`).toBeLessThan(2e-4);
  }
  return model;
}

describe("decoders on webgpu", () => {
  test("keys and values in f16 are refused, and sequences fed together take turns", async () => {
    const { config, weights } = build({});
    await expect(Decoder.open(config, weights, device, { kvCache: "f16" })).rejects.toThrow(UnsupportedOpError);
    using model = await Decoder.open(config, weights, device);
    const feeds = [tokens, tokens.slice(3)].map((t) => ({ sequence: model.sequence(), tokens: t }));
    for (const [i, logits] of (await model.feed(feeds)).entries()) {
      const naive = new NaiveDecoder(config, weights as never);
      const want = feeds[i].tokens.map((t) => naive.next(t)).at(-1)!;
      expect(logits.reduce((m, v, j) => Math.max(m, Math.abs(v - want[j])), 0)).toBeLessThan(2e-4);
    }
  }, 300_000);

  // What scores are multiplied by is a number in the shader that the others have, too.
  for (const [name, variant] of Object.entries(variants).filter(([, v]) => !v.layers?.some((l) => l.attentionScale)))
    test(name, async () => {
      const { config, weights } = build(variant);
      using _ = await expectEqual(config, weights, new NaiveDecoder(config, weights));
    }, 300_000);

  test("LongRoPE: a text that becomes a long one, and whole texts", async () => {
    const { config, weights } = build(longRope);
    const wanted = (length: number): Float64Array[] => {
      const naive = new NaiveDecoder(config, weights, length);
      return tokens.slice(0, length).map((t) => naive.next(t));
    };
    using model = await Decoder.open(config, weights, device);
    const sequence = model.sequence();
    using whole = await compile(statelessDecoder(config, weights), { device });
    const check = (got: Float32Array, n: number) => {
      const want = wanted(n).at(-1)!;
      expect(
        got.reduce((m, v, i) => Math.max(m, Math.abs(v - want[i])), 0),
        `after ${n} tokens`,
      ).toBeLessThan(2e-4);
    };
    // Of as few sizes as there can be: each is a plan, and shaders of its own.
    for (const n of [20, 21]) check(await sequence.feed(tokens.slice(sequence.length, n)), n);
    const { logits } = await whole.run({ tokens: Int32Array.from(tokens.slice(0, 21)) });
    check((logits.data as Float32Array).slice(-config.vocabSize), 21);
  }, 300_000);

  test("a layer of a Llama takes seven dispatches at most, and all around them four", async () => {
    const { config, weights } = build({
      untied: true,
      layers: [{}, {}, {}],
      contextLength: 2048,
      width: 64,
      hidden: 96,
    });
    using model = await Decoder.open(config, weights, device);
    const sequence = model.sequence();
    const naive = new NaiveDecoder(config, weights);
    for (const t of tokens.slice(0, 3)) {
      const want = naive.next(t);
      const worst = (await sequence.feed([t])).reduce((m, v, i) => Math.max(m, Math.abs(v - want[i])), 0);
      expect(worst).toBeLessThan(2e-4);
    }
    const dispatches = model.session.explain().reduce((n, s) => n + (s.dispatches ?? 0), 0);
    expect(dispatches).toBeGreaterThan(3);
    expect(dispatches).toBeLessThanOrEqual(7 * 3 + 4);
  }, 300_000);

  for (const type of ["Q8_0", "Q4_0", "Q4_K"] as const)
    test(`weights in ${type} blocks, multiplied as they are`, async () => {
      const { config, weights } = build({ width: 256, hidden: 256, headDim: 64, rope: { ...base.rope, dim: 64 } });
      const blocks = new Map<string, Weight>();
      const rounded = new Map<string, Matrix>();
      for (const [name, w] of weights) {
        if (w.shape.length === 1) {
          blocks.set(name, w);
          rounded.set(name, w);
          continue;
        }
        const bytes = quantize(
          type,
          Float32Array.from(w.data, (v) => v / 4),
        );
        const data = dequantize(type, bytes, w.data.length);
        blocks.set(name, { type: type.toLowerCase(), shape: w.shape, bytes } as Weight);
        rounded.set(name, { shape: w.shape, data } as Matrix);
      }
      const model = await Decoder.open(config, blocks, device);
      const naive = new NaiveDecoder(config, rounded);
      const want = tokens.map((t) => naive.next(t));
      const sequence = model.sequence();
      // Of twenty tokens at once the activations are rounded to 8 bits; what follows is exact but for that.
      for (const [from, to] of [
        [0, 20],
        [20, 21],
        [21, 22],
      ]) {
        const got = await sequence.feed(tokens.slice(from, to));
        const scale = Math.max(...want[to - 1].map(Math.abs));
        const worst = got.reduce((m, v, i) => Math.max(m, Math.abs(v - want[to - 1][i])), 0);
        expect(worst / scale, `after ${to} tokens`).toBeLessThan(0.03);
      }
      model.dispose();
    }, 300_000);
});
