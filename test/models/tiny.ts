/** Decoders of every architecture with a handful of random weights. */
import type { DecoderConfig, Weight } from "../../src/models/transformer/config.ts";
import { tensorFrom } from "../cases/case.ts";
import type { Matrix } from "../goldens/decoder.ts";

export const base = {
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

export interface Variant extends Partial<DecoderConfig> {
  hidden?: number;
  biases?: readonly string[];
  untied?: boolean;
  ungated?: boolean;
  headNorms?: boolean;
  postNorms?: boolean;
}

const olmo2: Variant = {
  norm: { kind: "rms", epsilon: 1e-5, behind: true, acrossHeads: true },
  headNorms: true,
  postNorms: true,
  untied: true,
};
export const variants: Record<string, Variant> = {
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
  "llama with dynamic positions": {
    rope: { ...base.rope, scaling: { kind: "dynamic", factor: 3, originalContext: 20 } },
  },
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
  smollm3: { layers: [{}, { rope: false }, { window: 6, rope: false }, { window: 6 }] },
  granite: { embeddingScale: 6, residualScale: 0.25, attentionScale: 0.125, logitDivisor: 0.5 },
  olmo2: olmo2,
  olmo3: {
    ...olmo2,
    layers: [{ window: 6 }, {}],
    rope: { ...base.rope, scaling: { kind: "yarn", factor: 4, originalContext: 64 } },
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
  "gpt2 with scores scaled layer by layer": {
    rope: undefined,
    norm: { kind: "layer", epsilon: 1e-5 },
    layers: [{ attentionScale: 1 }, { attentionScale: 0.5 }],
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

export function build(v: Variant): { config: DecoderConfig; weights: Map<string, Weight & Matrix> } {
  const { hidden = 40, biases = [], untied, ungated, headNorms, postNorms, ...rest } = v;
  const config: DecoderConfig = { architecture: "test", ...base, ...rest };
  const { width, heads, kvHeads, headDim, vocabSize } = config;
  const weights = new Map<string, Weight & Matrix>();
  let seed = 1;
  const put = (name: string, shape: number[], min = -0.4, max = 0.4): void => {
    const t = tensorFrom(seed++, "f32", shape, { min, max });
    weights.set(name, t as Weight & Matrix);
  };
  const norm = (name: string): void => {
    put(`${name}.weight`, [width], 0.5, 1.5);
    if (config.norm.kind === "layer") put(`${name}.bias`, [width]);
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
    if (!config.norm.behind) for (const part of ["attn_norm", "ffn_norm"]) norm(`blk.${n}.${part}`);
    if (postNorms) for (const part of ["post_attention_norm", "post_ffw_norm"]) norm(`blk.${n}.${part}`);
    if (headNorms)
      for (const [part, all] of [
        ["attn_q_norm", heads],
        ["attn_k_norm", kvHeads],
      ] as const)
        put(`blk.${n}.${part}.weight`, [config.norm.acrossHeads ? all * headDim : headDim], 0.5, 1.5);
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

/** Texts of more than 20 tokens are turned by other factors. */
export const longRope: Variant = {
  contextLength: 60,
  rope: {
    ...base.rope,
    scaling: {
      kind: "factors",
      factors: [1, 1.1, 1.3, 1.5],
      longFactors: [1.2, 3, 7, 20],
      originalContext: 20,
      magnitude: 1.1,
    },
  },
};

/** Any tokens. */
export const text = (n: number): number[] =>
  Array.from({ length: n }, (_, i) => (i * i * 7 + i * 3 + 1) % base.vocabSize);
