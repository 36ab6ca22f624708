/** Bidirectional encoders, BERT (https://arxiv.org/abs/1810.04805) and its relatives: texts to vectors. */
import { graph, type SymbolicValue } from "../../graph/builder.ts";
import type { Graph } from "../../graph/ir.ts";
import type { Activation } from "../../ops/activation.ts";
import { attention } from "../../ops/attention.ts";
import { add } from "../../ops/binary.ts";
import { gather } from "../../ops/gather.ts";
import { layerNorm } from "../../ops/layer-norm.ts";
import { matmul } from "../../ops/matmul.ts";
import type { Weights } from "../weights.ts";
import { weightOf } from "../weights.ts";

export interface EncoderConfig {
  readonly vocabSize: number;
  readonly width: number;
  readonly heads: number;
  /** Of the feed-forward layers. */
  readonly hidden: number;
  readonly layers: number;
  /** Rows of the position table. */
  readonly positions: number;
  readonly epsilon: number;
  readonly activation: "gelu" | "geluTanh" | "relu" | "silu";
}

/**
 * Weights have the names of Hugging Face's BertModel. Inputs: `tokens` i32 [batch, tokens]; `positions` i32 [1, tokens], rows
 * of the position table; `mask` bool [batch, 1, 1, tokens], false for padding; `pool` f32 [batch, 1, tokens], the share of
 * each token in the vector of its text. Outputs: `hidden` f32 [batch, tokens, width] and `pooled` f32 [batch, 1, width].
 * @throws InputError for a weight that is missing, ShapeError for one of another shape
 */
export function transformerEncoder(config: EncoderConfig, weights: Weights): Graph {
  const { vocabSize, width, heads, hidden, positions, epsilon, activation: kind } = config;
  return graph(
    ({ input, weight }) => {
      const named = (name: string, shape: number[]): SymbolicValue => weight(weightOf(weights, name, shape));
      const norm = (name: string, x: SymbolicValue): SymbolicValue =>
        layerNorm(x, named(`${name}.weight`, [width]), named(`${name}.bias`, [width]), { epsilon });
      const linear = (
        name: string,
        x: SymbolicValue,
        [n, k]: [number, number],
        rest: { residual?: SymbolicValue; activation?: Activation } = {},
      ): SymbolicValue =>
        matmul(x, named(`${name}.weight`, [n, k]), named(`${name}.bias`, [n]), rest.residual, {
          transposeB: true,
          activation: rest.activation,
        });

      const tokens = input("tokens", "i32", ["batch", "tokens"]);
      const mask = input("mask", "bool", ["batch", 1, 1, "tokens"]);
      const words = gather(named("embeddings.word_embeddings.weight", [vocabSize, width]), tokens);
      const table = named("embeddings.position_embeddings.weight", [positions, width]);
      let x = add(words, gather(table, input("positions", "i32", [1, "tokens"])));
      if (weights.has("embeddings.token_type_embeddings.weight")) {
        // All tokens are of the first type.
        const types = weightOf(weights, "embeddings.token_type_embeddings.weight", [-1, width]);
        const first = (types.data as Float32Array).slice(0, width);
        x = add(x, weight({ dtype: "f32", shape: [width], data: first }));
      }
      x = norm("embeddings.LayerNorm", x);
      for (let n = 0; n < config.layers; n++) {
        const name = `encoder.layer.${n}`;
        const project = (part: string) => linear(`${name}.attention.self.${part}`, x, [width, width]);
        const attended = attention(project("query"), project("key"), project("value"), mask, { heads });
        const out = linear(`${name}.attention.output.dense`, attended, [width, width], { residual: x });
        const h = norm(`${name}.attention.output.LayerNorm`, out);
        const activation = { kind } as Activation;
        const inner = linear(`${name}.intermediate.dense`, h, [hidden, width], { activation });
        x = norm(`${name}.output.LayerNorm`, linear(`${name}.output.dense`, inner, [width, hidden], { residual: h }));
      }
      return { hidden: x, pooled: matmul(input("pool", "f32", ["batch", 1, "tokens"]), x) };
    },
    { name: "encoder" },
  );
}
