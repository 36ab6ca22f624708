/** Vision transformers (https://arxiv.org/abs/2010.11929): patches of an image as tokens. */

import type { SymbolicValue } from "../../graph/builder.ts";
import { graph } from "../../graph/define.ts";
import type { Graph } from "../../graph/ir.ts";
import { add } from "../../ops/binary.ts";
import { concat } from "../../ops/concat.ts";
import { conv } from "../../ops/conv.ts";
import { gather } from "../../ops/gather.ts";
import { reshape } from "../../ops/reshape.ts";
import { transpose } from "../../ops/transpose.ts";
import type { Weights } from "../weights.ts";
import { type BlockConfig, Blocks } from "./blocks.ts";

export interface VitConfig extends BlockConfig {
  readonly layers: number;
  readonly channels: number;
  /** Pixels along a side of the image, and of a patch. */
  readonly imageSize: number;
  readonly patchSize: number;
  /** Outputs of the classifier. Without it there is none. */
  readonly classes?: number;
}

/**
 * Weights have the names of Hugging Face's ViTModel, `classifier` beside it. Input: `pixels` f32
 * [1, channels, imageSize, imageSize], one image. Outputs: `hidden` f32 [1, 1 + patches, width] after the last norm, and, with
 * classes, `logits` f32 [1, classes].
 * @throws InputError for a weight that is missing, ShapeError for one of another shape
 */
export function vit(config: VitConfig, weights: Weights): Graph {
  const { width, channels, imageSize, patchSize, classes } = config;
  const patches = (imageSize / patchSize) ** 2;
  return graph(
    (g): Record<string, SymbolicValue> => {
      const b = new Blocks(g, weights, config);
      const pixels = g.input("pixels", "f32", [1, channels, imageSize, imageSize]);
      const projection = "embeddings.patch_embeddings.projection";
      const planes = conv(
        pixels,
        b.named(`${projection}.weight`, [width, channels, patchSize, patchSize]),
        b.named(`${projection}.bias`, [width]),
        { strides: [patchSize, patchSize] },
      );
      const tokens = transpose(reshape(planes, [1, width, patches]), { perm: [0, 2, 1] });
      const first = b.named("embeddings.cls_token", [1, 1, width]);
      let x = add(
        concat(first, tokens, { axis: 1 }),
        b.named("embeddings.position_embeddings", [1, patches + 1, width]),
      );
      for (let n = 0; n < config.layers; n++) {
        const name = `encoder.layer.${n}`;
        const part = (p: string): string => `${name}.attention.attention.${p}`;
        const names = { q: part("query"), k: part("key"), v: part("value"), out: `${name}.attention.output.dense` };
        const h = b.selfAttention(names, b.norm(`${name}.layernorm_before`, x), x);
        const inner = b.norm(`${name}.layernorm_after`, h);
        x = b.feedForward(`${name}.intermediate.dense`, `${name}.output.dense`, inner, h);
      }
      const hidden = b.norm("layernorm", x);
      if (classes === undefined) return { hidden };
      const summary = gather(hidden, g.weight({ dtype: "i32", shape: [], data: Int32Array.of(0) }), { axis: 1 });
      return { hidden, logits: b.linear("classifier", summary, [classes, width]) };
    },
    { name: "vit" },
  );
}
