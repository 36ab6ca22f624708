/** ModernBERT (https://arxiv.org/abs/2412.13663): norms before the halves of a layer, rotary positions, and windows in most layers. */

import type { SymbolicValue } from "../../graph/builder.ts";
import { graph } from "../../graph/define.ts";
import type { Graph } from "../../graph/ir.ts";
import type { Activation } from "../../ops/activation.ts";
import { div } from "../../ops/binary.ts";
import { cast } from "../../ops/cast.ts";
import { gather } from "../../ops/gather.ts";
import { layerNorm } from "../../ops/layer-norm.ts";
import { matmul } from "../../ops/matmul.ts";
import { reduceSum } from "../../ops/reduce.ts";
import { reshape } from "../../ops/reshape.ts";
import { type BlockActivation, Blocks, type BlockWeights } from "./blocks.ts";
import type { EncoderConfig, EncoderHead } from "./encoder.ts";
import type { RopeConfig } from "./rope.ts";

export interface ModernBertConfig extends EncoderConfig {
  /** Of layers that see everything. */
  readonly rope: RopeConfig;
  /** Of layers with a window. */
  readonly localRope: RopeConfig;
  /** Of each layer: tokens that one sees on either side. Undefined: all. */
  readonly windows: readonly (number | undefined)[];
  /** Of the layer before a head. */
  readonly headActivation: BlockActivation;
  /** What classes of texts are told by. */
  readonly pooling: "cls" | "mean";
}

/**
 * Inputs, outputs and heads are those of `transformerEncoder`, without `positions` and `types`; heads have their own activation.
 * Weights have the names of Hugging Face's ModernBertModel without `model.`; what it merges is apart: `attn.query`, `attn.key`,
 * `attn.value` for `attn.Wqkv`, `mlp.gate` and `mlp.up` for `mlp.Wi`.
 * @throws as `transformerEncoder`
 */
export function modernBert(config: ModernBertConfig, weights: BlockWeights, head: EncoderHead): Graph {
  const { vocabSize, width, epsilon, windows, positions } = config;
  return graph(
    (g): Record<string, SymbolicValue> => {
      const { input, weight } = g;
      const b = new Blocks(g, weights, config);
      const norm = (name: string, x: SymbolicValue): SymbolicValue => {
        const bias = weights.has(`${name}.bias`) ? b.named(`${name}.bias`, [width]) : undefined;
        return layerNorm(x, b.named(`${name}.weight`, [width]), bias, { epsilon });
      };
      const tokens = input("tokens", "i32", ["batch", "tokens"]);
      const mask = input("mask", "bool", ["batch", 1, 1, "tokens"]);
      const [everywhere, nearby] = [config.rope, config.localRope].map((rope) => b.rotation(rope, positions));
      const words = "embeddings.tok_embeddings.weight";
      let x = norm("embeddings.norm", b.rows(words, tokens, [vocabSize, width]));
      windows.forEach((window, n) => {
        const name = `layers.${n}`;
        const part = (p: string): string => `${name}.attn.${p}`;
        const names = { q: part("query"), k: part("key"), v: part("value"), out: part("Wo") };
        // What the first layer gets is normalised already.
        const before = n === 0 ? x : norm(`${name}.attn_norm`, x);
        x = b.selfAttention(names, before, x, { mask, window, rotate: window === undefined ? everywhere : nearby });
        const inner = norm(`${name}.mlp_norm`, x);
        x = b.feedForward(`${name}.mlp.up`, `${name}.mlp.Wo`, inner, x, `${name}.mlp.gate`);
      });
      const hidden = norm("final_norm", x);
      const activation = { kind: config.headActivation } as Activation;
      const judged = (y: SymbolicValue) => norm("head.norm", b.linear("head.dense", y, [width, width], { activation }));
      switch (head.kind) {
        case "pool":
          return { hidden, pooled: matmul(input("pool", "f32", ["batch", 1, "tokens"]), hidden) };
        case "words": {
          const rows = judged(gather(hidden, input("rows", "i32", ["rows"]), { axis: 1 }));
          const bias = weights.has("decoder.bias") ? b.named("decoder.bias", [vocabSize]) : undefined;
          const projection = weights.has("decoder.weight") ? "decoder.weight" : words;
          return { hidden, logits: b.product(projection, rows, [vocabSize, width], { bias }) };
        }
        case "tokens":
          return { hidden, logits: b.linear(head.name, judged(hidden), [head.classes, width]) };
        case "classes": {
          const first = (): SymbolicValue =>
            gather(hidden, weight({ dtype: "i32", shape: [1], data: Int32Array.of(0) }), { axis: 1 });
          const mean = (): SymbolicValue => {
            const counts = reshape(cast(mask, { to: "f32" }), [0, 1, -1]);
            return div(matmul(counts, hidden), reduceSum(counts, [-1], { keepDims: true }));
          };
          const pooled = config.pooling === "mean" ? mean() : first();
          return { hidden, logits: b.linear("classifier", judged(pooled), [head.classes, width]) };
        }
      }
    },
    { name: "modernbert" },
  );
}
