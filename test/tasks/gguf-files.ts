/** Tiny decoders as GGUF files of every architecture. */
import { type GgufValue, writeGguf } from "../../src/formats/gguf/index.ts";
import type { DecoderConfig, DecoderLayer } from "../../src/models/transformer/config.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { type build, variants } from "../models/tiny.ts";

/** Tensors joined along their rows, under a new name. */
export function merge(weights: Map<string, HostTensor>, parts: string[], to: string): void {
  const all = parts.map((p) => weights.get(p)).filter((t) => t !== undefined);
  if (all.length === 0) return;
  const data = new Float32Array(all.reduce((n, t) => n + t.data.length, 0));
  let at = 0;
  for (const t of all) {
    data.set(t.data as Float32Array, at);
    at += t.data.length;
  }
  const rows = all.reduce((n, t) => n + t.shape[0], 0);
  for (const p of parts) weights.delete(p);
  weights.set(to, { dtype: "f32", shape: [rows, ...all[0].shape.slice(1)], data });
}

const factorsOf = (c: DecoderConfig) => ({
  embedding_scale: c.embeddingScale!,
  residual_scale: c.residualScale!,
  "attention.scale": c.attentionScale!,
  logit_scale: c.logitDivisor!,
});

export function metadataOf(arch: string, c: DecoderConfig, extra: Record<string, GgufValue> = {}) {
  const window = c.layers.find((l) => l.window)?.window;
  const entries: [string, GgufValue][] = [
    ["block_count", c.layers.length],
    ["context_length", c.contextLength],
    ["embedding_length", c.width],
    ["attention.head_count", c.heads],
    ["attention.head_count_kv", c.kvHeads],
    ["attention.key_length", c.headDim],
    [`attention.layer_norm_${c.norm.kind === "rms" ? "rms_" : ""}epsilon`, c.norm.epsilon],
    ...(c.rope
      ? ([
          ["rope.freq_base", c.rope.base],
          ["rope.dimension_count", c.rope.dim],
        ] as [string, GgufValue][])
      : []),
    ...(window ? ([["attention.sliding_window", window]] as [string, GgufValue][]) : []),
    ...(c.attentionSoftcap ? ([["attn_logit_softcapping", c.attentionSoftcap]] as [string, GgufValue][]) : []),
    ...(c.logitSoftcap ? ([["final_logit_softcapping", c.logitSoftcap]] as [string, GgufValue][]) : []),
    ...(arch === "granite" ? Object.entries(factorsOf(c)) : []),
    ...Object.entries(extra),
  ];
  return new Map<string, GgufValue>([
    ["general.architecture", arch],
    ...entries.map(([k, v]) => [`${arch}.${k}`, v] as [string, GgufValue]),
  ]);
}

export const written = (metadata: Map<string, GgufValue>, weights: Map<string, HostTensor>): Uint8Array =>
  writeGguf({
    metadata,
    tensors: new Map(
      [...weights].map(([name, t]) => [
        name,
        { type: "F32" as const, shape: t.shape, bytes: new Uint8Array((t.data as Float32Array).slice().buffer) },
      ]),
    ),
  });

export const halves = { dim: 8, base: 10000, interleaved: false };
const everyFourth = Array.from({ length: 5 }, (_, n): DecoderLayer => (n === 3 ? { rope: false } : {}));
/** Architecture, decoder, metadata beyond the usual. */
export const ggufCases: [string, Parameters<typeof build>[0], Record<string, GgufValue>?][] = [
  ["llama", variants["llama 2"]],
  [
    "llama",
    { rope: { ...halves, interleaved: true, scaling: { kind: "linear", factor: 4 } } },
    { "rope.scaling.type": "linear", "rope.scaling.factor": 4 },
  ],
  ["llama", { rope: { ...halves, interleaved: true }, layers: [{ window: 7 }, { window: 7 }] }],
  ["qwen2", variants["qwen2"]],
  ["qwen3", variants["qwen3"]],
  ["gemma", variants["gemma"]],
  ["gemma2", { ...variants["gemma2"], attentionScale: undefined }],
  [
    "gemma3",
    { ...variants["gemma3"], layers: Array.from({ length: 6 }, (_, n) => (n < 5 ? { window: 6 } : {})) },
    { "rope.scaling.type": "linear", "rope.scaling.factor": 8 },
  ],
  ["gpt2", variants["gpt2"]],
  ["phi3", { rope: halves, kvHeads: 4 }],
  ["granite", { ...variants["granite"], rope: { ...halves, interleaved: true } }],
  ["olmo2", variants["olmo2"]],
  [
    "olmo2",
    {
      ...variants["olmo3"],
      rope: { ...halves, scaling: { kind: "yarn", factor: 4, originalContext: 64, magnitude: 0.1 * Math.log(4) + 1 } },
      layers: Array.from({ length: 5 }, (_, n) => (n === 3 ? {} : { window: 6 })),
    },
    { "rope.scaling.type": "yarn", "rope.scaling.factor": 4, "rope.scaling.original_context_length": 64 },
  ],
  ["smollm3", { rope: { ...halves, interleaved: true }, layers: everyFourth }],
];

/** The file, with merged tensors where the architecture has them. */
export function ggufFile(
  arch: string,
  config: DecoderConfig,
  weights: ReadonlyMap<string, unknown>,
  extra?: Record<string, GgufValue>,
): Uint8Array {
  const stored = new Map<string, HostTensor>(weights as unknown as Map<string, HostTensor>);
  if (arch === "gpt2" || arch === "phi3")
    config.layers.forEach((_, n) => {
      for (const kind of ["weight", "bias"])
        merge(
          stored,
          ["q", "k", "v"].map((p) => `blk.${n}.attn_${p}.${kind}`),
          `blk.${n}.attn_qkv.${kind}`,
        );
      if (arch === "phi3")
        merge(stored, [`blk.${n}.ffn_gate.weight`, `blk.${n}.ffn_up.weight`], `blk.${n}.ffn_up.weight`);
    });
  return written(metadataOf(arch, config, extra), stored);
}
