/** Every architecture with small random weights, against the naive float64 implementation. */
import { describe, expect, test } from "vitest";
import { cpu } from "../../src/backends/cpu/index.ts";
import { wasm } from "../../src/backends/wasm/index.ts";
import { quantize } from "../../src/formats/gguf/index.ts";
import type { DecoderConfig, Weight } from "../../src/models/transformer/config.ts";
import { Decoder } from "../../src/models/transformer/sequence.ts";
import { dequantize } from "../../src/tensor/blocks/dequantize.ts";
import { FormatError, InputError } from "../../src/tensor/errors.ts";
import { tensorFrom } from "../cases/case.ts";
import { type Matrix, NaiveDecoder } from "../goldens/decoder.ts";

const base = {
  vocabSize: 50,
  width: 32,
  heads: 4,
  kvHeads: 2,
  headDim: 8,
  contextLength: 300,
  norm: { kind: "rms", epsilon: 1e-5 },
  activation: "silu",
  layers: [{}, {}],
  rope: { dim: 8, base: 10000, interleaved: false },
} satisfies Partial<DecoderConfig>;

interface Variant extends Partial<DecoderConfig> {
  hidden?: number;
  biases?: readonly string[];
  untied?: boolean;
  ungated?: boolean;
  headNorms?: boolean;
  postNorms?: boolean;
}

const variants: Record<string, Variant> = {
  "llama 2": { rope: { ...base.rope, interleaved: true }, kvHeads: 4, untied: true },
  "llama 3": {
    untied: true,
    rope: {
      ...base.rope,
      base: 500000,
      scaling: { kind: "llama3", factor: 8, lowFrequency: 1, highFrequency: 4, originalContext: 64 },
    },
  },
  "llama with one head for keys": { kvHeads: 1, rope: { ...base.rope, scaling: { kind: "linear", factor: 4 } } },
  mistral: { layers: [{ window: 5 }, { window: 5 }], untied: true },
  qwen2: { biases: ["attn_q", "attn_k", "attn_v"] },
  "qwen2 with yarn": { rope: { ...base.rope, scaling: { kind: "yarn", factor: 4, originalContext: 64 } } },
  qwen3: { headNorms: true, headDim: 16, rope: { ...base.rope, dim: 16 } },
  gemma: { activation: "geluTanh", embeddingScale: Math.sqrt(32), kvHeads: 1 },
  gemma2: {
    activation: "geluTanh",
    embeddingScale: Math.sqrt(32),
    attentionSoftcap: 5,
    logitSoftcap: 3,
    attentionScale: 0.25,
    postNorms: true,
    layers: [{ window: 6 }, {}],
  },
  gemma3: {
    activation: "geluTanh",
    embeddingScale: Math.sqrt(32),
    postNorms: true,
    headNorms: true,
    layers: [{ window: 6 }, { window: 6 }, {}],
    rope: { ...base.rope, base: 1e6, scaling: { kind: "linear", factor: 8 } },
    localRope: base.rope,
  },
  "phi3 with long factors": {
    headDim: 12,
    rope: {
      dim: 8,
      base: 10000,
      interleaved: false,
      scaling: { kind: "factors", factors: [1, 1.5, 3, 8], magnitude: 1.2 },
    },
  },
  gpt2: {
    norm: { kind: "layer", epsilon: 1e-5 },
    activation: "geluTanh",
    rope: undefined,
    kvHeads: 4,
    ungated: true,
    biases: ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"],
  },
};

function build(v: Variant): { config: DecoderConfig; weights: Map<string, Weight & Matrix> } {
  const { hidden = 40, biases = [], untied, ungated, headNorms, postNorms, ...rest } = v;
  const config: DecoderConfig = { architecture: "test", ...base, ...rest };
  const { width, heads, kvHeads, headDim, vocabSize } = config;
  const weights = new Map<string, Weight & Matrix>();
  let seed = 1;
  const put = (name: string, shape: number[], min = -0.4, max = 0.4): void => {
    const t = tensorFrom(seed++, "f32", shape, { min, max });
    weights.set(name, t as Weight & Matrix);
  };
  const norm = (name: string, n = width): void => {
    put(`${name}.weight`, [n], 0.5, 1.5);
    if (config.norm.kind === "layer") put(`${name}.bias`, [n]);
  };
  put("token_embd.weight", [vocabSize, width]);
  if (!config.rope) put("position_embd.weight", [config.contextLength, width]);
  norm("output_norm");
  if (untied) put("output.weight", [vocabSize, width]);
  config.layers.forEach((_, n) => {
    const linear = (part: string, shape: number[]): void => {
      put(`blk.${n}.${part}.weight`, shape);
      if (biases.includes(part)) put(`blk.${n}.${part}.bias`, [shape[0]]);
    };
    norm(`blk.${n}.attn_norm`);
    norm(`blk.${n}.ffn_norm`);
    if (postNorms) for (const part of ["post_attention_norm", "post_ffw_norm"]) norm(`blk.${n}.${part}`);
    if (headNorms)
      for (const part of ["attn_q_norm", "attn_k_norm"]) put(`blk.${n}.${part}.weight`, [headDim], 0.5, 1.5);
    linear("attn_q", [heads * headDim, width]);
    linear("attn_k", [kvHeads * headDim, width]);
    linear("attn_v", [kvHeads * headDim, width]);
    linear("attn_output", [width, heads * headDim]);
    if (!ungated) linear("ffn_gate", [hidden, width]);
    linear("ffn_up", [hidden, width]);
    linear("ffn_down", [width, hidden]);
  });
  return { config, weights };
}

const text = (n: number, vocabulary = base.vocabSize): number[] =>
  Array.from({ length: n }, (_, i) => (i * i * 7 + i * 3 + 1) % vocabulary);

function expectClose(got: ArrayLike<number>, want: ArrayLike<number>, bound: number): void {
  expect(got.length).toBe(want.length);
  let worst = 0;
  for (let i = 0; i < want.length; i++) worst = Math.max(worst, Math.abs(got[i] - want[i]));
  expect(worst).toBeLessThan(bound);
}

const devices = { cpu: () => cpu(), wasm: () => wasm({ threads: 1 }) };

for (const [device, open] of Object.entries(devices))
  describe(`decoders on ${device}`, () => {
    for (const [name, variant] of Object.entries(variants))
      test(name, async () => {
        const { config, weights } = build(variant);
        const naive = new NaiveDecoder(config, weights);
        const tokens = text(60);
        const want = tokens.map((t) => naive.next(t));
        using model = await Decoder.open(config, weights, open());
        const s = model.sequence();
        expectClose(
          await s.feedAll(tokens.slice(0, 41)),
          want.slice(0, 41).flatMap((l) => [...l]),
          2e-4,
        );
        for (let i = 41; i < 50; i++) expectClose(await s.feed([tokens[i]]), want[i], 2e-4);
        expectClose(await s.feed(tokens.slice(50)), want[59], 2e-4);
      });

    test("weights in quantised blocks", async () => {
      const { config, weights } = build({ width: 64, hidden: 96, headDim: 16, rope: { ...base.rope, dim: 16 } });
      const blocks = new Map<string, Weight>();
      const rounded = new Map<string, Matrix>();
      for (const [name, w] of weights) {
        const type = name === "token_embd.weight" ? "Q8_0" : "Q4_0";
        if (w.shape.length === 1) {
          blocks.set(name, w);
          rounded.set(name, w);
          continue;
        }
        const bytes = quantize(type, w.data as Float32Array);
        blocks.set(name, { type: type === "Q8_0" ? "q8_0" : "q4_0", shape: w.shape, bytes });
        rounded.set(name, { shape: w.shape, data: dequantize(type, bytes, w.data.length) });
      }
      const naive = new NaiveDecoder(config, rounded);
      const tokens = text(20);
      const want = tokens.map((t) => naive.next(t));
      using model = await Decoder.open(config, blocks, open());
      // Activations may be rounded to 8 bits.
      const got = await model.sequence().feedAll(tokens);
      expectClose(
        got,
        want.flatMap((l) => [...l]),
        0.15,
      );
    });
  });

describe("sequences", () => {
  const { config, weights } = build({ contextLength: 40 });
  const open = () => Decoder.open(config, weights, wasm({ threads: 1 }));

  test("truncated, forked and fed at once they give the same logits", async () => {
    using model = await open();
    const tokens = text(30);
    const a = model.sequence();
    const want = await a.feed(tokens);
    const b = model.sequence();
    const c = model.sequence();
    await Promise.all([b.feed(tokens.slice(0, 10)), c.feed(text(20).reverse())]);
    const [fork] = [await b.fork(10)];
    c.truncate(0);
    const [x, y, z] = await Promise.all([b.feed(tokens.slice(10)), fork.feed(tokens.slice(10)), c.feed(tokens)]);
    for (const got of [x, y, z]) expectClose(got, want, 1e-4);
    expect(b.length).toBe(30);
  });

  test("a context can be filled to the last token, and no further", async () => {
    using model = await open();
    const s = model.sequence();
    const naive = new NaiveDecoder(config, weights as never);
    let want = new Float64Array(0);
    for (const t of text(40)) want = naive.next(t) as Float64Array<ArrayBuffer>;
    expectClose(await s.feed(text(40)), want, 2e-4);
    await expect(s.feed([1])).rejects.toThrow(InputError);
    await expect(model.sequence().feed(text(41))).rejects.toThrow(/context of 40/);
  });

  test("tokens that are none are refused", async () => {
    using model = await open();
    const s = model.sequence();
    for (const bad of [[], [-1], [50], [1.5], [Number.NaN]]) await expect(s.feed(bad)).rejects.toThrow(InputError);
    expect(() => s.truncate(1)).toThrow(InputError);
  });

  test("an aborted feed leaves a sequence that goes on", async () => {
    using model = await open();
    const s = model.sequence();
    await expect(s.feed(text(20), { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expectClose(await s.feed(text(20).slice(s.length)), await model.sequence().feed(text(20)), 1e-4);
  });

  test("weights that are missing or of another shape are told by name", async () => {
    const without = new Map(weights);
    without.delete("blk.1.ffn_down.weight");
    await expect(Decoder.open(config, without, cpu())).rejects.toThrow(/blk\.1\.ffn_down\.weight" is missing/);
    const wrong = new Map(weights).set("blk.0.attn_q.weight", weights.get("blk.0.ffn_up.weight")!);
    await expect(Decoder.open(config, wrong, cpu())).rejects.toThrow(FormatError);
  });
});
