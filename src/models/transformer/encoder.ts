/** Bidirectional encoders, BERT (https://arxiv.org/abs/1810.04805) and its relatives: texts to vectors. */

import type { SymbolicValue } from "../../graph/builder.ts";
import { graph } from "../../graph/define.ts";
import type { Graph } from "../../graph/ir.ts";
import type { Activation } from "../../ops/activation.ts";
import { add } from "../../ops/binary.ts";
import { gather } from "../../ops/gather.ts";
import { matmul } from "../../ops/matmul.ts";
import { type BlockConfig, Blocks, type BlockWeights } from "./blocks.ts";
import type { RopeConfig } from "./rope.ts";

export interface EncoderConfig extends BlockConfig {
  readonly vocabSize: number;
  readonly layers: number;
  /** Rows of the position table, or the longest text. */
  readonly positions: number;
  /** Rotary positions in place of a table, as Nomic's BERT has them (https://arxiv.org/abs/2402.01613). */
  readonly rope?: RopeConfig;
}

/** What comes after the last layer. */
export type EncoderHead =
  /** `pooled` f32 [batch, 1, width] by the input `pool` f32 [batch, 1, tokens], the share of each token in its text's vector. */
  | { readonly kind: "pool" }
  /**
   * `logits` f32 [batch, rows, vocabSize]: what words could stand at the tokens that the input `rows` i32 [rows] names. With the
   * layers' activation unless it has its own.
   */
  | { readonly kind: "words"; readonly activation?: Activation["kind"] }
  /** `logits` f32 [batch, 1, classes] of each text, from its first token. */
  | {
      readonly kind: "classes";
      readonly classes: number;
      readonly activation: "tanh" | "relu";
      readonly pairs?: boolean;
    }
  /** `logits` f32 [batch, tokens, classes] of each token, by the weights of this name. */
  | {
      readonly kind: "tokens";
      readonly classes: number;
      readonly name: "classifier" | "qa_outputs";
      readonly pairs?: boolean;
    };

/** Where it is not the embedding again. */
export const wordProjection = "cls.predictions.decoder.weight";

/**
 * Weights have the names of Hugging Face's BertModel; heads those of BertForMaskedLM and BertForSequenceClassification.
 * A feed-forward layer with `intermediate.gate` is a gated one.
 * Matrices of layers and heads, and the words', may be in the blocks of GGUF files. Inputs: `tokens` i32 [batch, tokens];
 * `positions` i32 [batch, tokens], rows of the position table, where there is one; `mask` bool [batch, 1, 1, tokens], false for padding. Where the
 * head takes `pairs` and the model tells their texts apart, `types` i32 [batch, tokens], 0 for the first text and 1 for the
 * second. Outputs: `hidden` f32 [batch, tokens, width] and what the head gives.
 * @throws InputError for a weight that is missing, ShapeError for one of another shape, DTypeError for blocks elsewhere
 */
export function transformerEncoder(config: EncoderConfig, weights: BlockWeights, head: EncoderHead): Graph {
  const { vocabSize, width, positions, rope } = config;
  return graph(
    (g): Record<string, SymbolicValue> => {
      const { input, weight } = g;
      const b = new Blocks(g, weights, config);
      const tokens = input("tokens", "i32", ["batch", "tokens"]);
      const mask = input("mask", "bool", ["batch", 1, 1, "tokens"]);
      const words = "embeddings.word_embeddings.weight";
      let x = b.rows(words, tokens, [vocabSize, width]);
      let rotate: ((x: SymbolicValue) => SymbolicValue) | undefined;
      if (rope) rotate = b.rotation(rope, positions);
      else {
        const table = b.named("embeddings.position_embeddings.weight", [positions, width]);
        x = add(x, gather(table, input("positions", "i32", ["batch", "tokens"])));
      }
      const typeCount = weights.get("embeddings.token_type_embeddings.weight")?.shape[0] ?? 0;
      if (typeCount > 1 && "pairs" in head && head.pairs) {
        const types = b.named("embeddings.token_type_embeddings.weight", [typeCount, width]);
        x = add(x, gather(types, input("types", "i32", ["batch", "tokens"])));
      } else if (typeCount > 0) {
        // All tokens are of the first type.
        const types = b.floats("embeddings.token_type_embeddings.weight", [-1, width]);
        const first = (types.data as Float32Array).slice(0, width);
        x = add(x, weight({ dtype: "f32", shape: [width], data: first }));
      }
      x = b.norm("embeddings.LayerNorm", x);
      for (let n = 0; n < config.layers; n++) {
        const name = `encoder.layer.${n}`;
        const part = (p: string): string => `${name}.attention.self.${p}`;
        const names = { q: part("query"), k: part("key"), v: part("value"), out: `${name}.attention.output.dense` };
        const h = b.norm(`${name}.attention.output.LayerNorm`, b.selfAttention(names, x, x, { mask, rotate }));
        x = b.norm(
          `${name}.output.LayerNorm`,
          b.feedForward(`${name}.intermediate.dense`, `${name}.output.dense`, h, h, `${name}.intermediate.gate`),
        );
      }
      switch (head.kind) {
        case "pool":
          return { hidden: x, pooled: matmul(input("pool", "f32", ["batch", 1, "tokens"]), x) };
        case "words": {
          const rows = gather(x, input("rows", "i32", ["rows"]), { axis: 1 });
          const name = "cls.predictions.transform";
          const activation = { kind: head.activation ?? config.activation } as Activation;
          const y = b.norm(`${name}.LayerNorm`, b.linear(`${name}.dense`, rows, [width, width], { activation }));
          const bias = b.named("cls.predictions.bias", [vocabSize]);
          const projection = weights.has(wordProjection) ? wordProjection : words;
          return { hidden: x, logits: b.product(projection, y, [vocabSize, width], { bias }) };
        }
        case "tokens":
          return { hidden: x, logits: b.linear(head.name, x, [head.classes, width]) };
        case "classes": {
          const first = gather(x, weight({ dtype: "i32", shape: [1], data: Int32Array.of(0) }), { axis: 1 });
          const y = b.linear("pooler.dense", first, [width, width], { activation: { kind: head.activation } });
          return { hidden: x, logits: b.linear("classifier", y, [head.classes, width]) };
        }
      }
    },
    { name: "encoder" },
  );
}
