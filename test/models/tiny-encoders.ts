/** Names and shapes of encoders' weights, as their checkpoints have them. */
import type { EncoderConfig } from "../../src/models/transformer/encoder.ts";
import type { VitConfig } from "../../src/models/transformer/vit.ts";
import type { WhisperConfig, WhisperDecoderConfig } from "../../src/models/transformer/whisper.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { tensorFrom } from "../cases/case.ts";

export type Shapes = Record<string, number[]>;

/** Values that keep states about 1. */
export function randomWeights(shapes: Shapes): Map<string, HostTensor> {
  let seed = 1;
  return new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const isNorm = /norm.*\.weight$/i.test(name);
      return [name, tensorFrom(seed++, "f32", shape, isNorm ? { min: 0.5, max: 1.5 } : { min: -0.4, max: 0.4 })];
    }),
  );
}

const linear = (name: string, [n, k]: [number, number], bias = true): Shapes => ({
  [`${name}.weight`]: [n, k],
  ...(bias ? { [`${name}.bias`]: [n] } : {}),
});
const norm = (name: string, width: number): Shapes => ({ [`${name}.weight`]: [width], [`${name}.bias`]: [width] });
const layers = (n: number, of: (n: number) => Shapes): Shapes =>
  Object.assign({}, ...Array.from({ length: n }, (_, i) => of(i))) as Shapes;

export function bertWeights(c: EncoderConfig, classes: number): Shapes {
  const { width, hidden, vocabSize, positions } = c;
  return {
    "embeddings.word_embeddings.weight": [vocabSize, width],
    "embeddings.position_embeddings.weight": [positions, width],
    "embeddings.token_type_embeddings.weight": [2, width],
    ...norm("embeddings.LayerNorm", width),
    ...layers(c.layers, (n) => ({
      ...linear(`encoder.layer.${n}.attention.self.query`, [width, width]),
      ...linear(`encoder.layer.${n}.attention.self.key`, [width, width]),
      ...linear(`encoder.layer.${n}.attention.self.value`, [width, width]),
      ...linear(`encoder.layer.${n}.attention.output.dense`, [width, width]),
      ...norm(`encoder.layer.${n}.attention.output.LayerNorm`, width),
      ...linear(`encoder.layer.${n}.intermediate.dense`, [hidden, width]),
      ...linear(`encoder.layer.${n}.output.dense`, [width, hidden]),
      ...norm(`encoder.layer.${n}.output.LayerNorm`, width),
    })),
    ...linear("cls.predictions.transform.dense", [width, width]),
    ...norm("cls.predictions.transform.LayerNorm", width),
    "cls.predictions.bias": [vocabSize],
    ...linear("pooler.dense", [width, width]),
    ...linear("classifier", [classes, width]),
  };
}

export function vitWeights(c: VitConfig): Shapes {
  const { width, hidden, channels, imageSize, patchSize, classes = 1 } = c;
  return {
    "embeddings.cls_token": [1, 1, width],
    "embeddings.position_embeddings": [1, (imageSize / patchSize) ** 2 + 1, width],
    "embeddings.patch_embeddings.projection.weight": [width, channels, patchSize, patchSize],
    "embeddings.patch_embeddings.projection.bias": [width],
    ...layers(c.layers, (n) => ({
      ...norm(`encoder.layer.${n}.layernorm_before`, width),
      ...linear(`encoder.layer.${n}.attention.attention.query`, [width, width]),
      ...linear(`encoder.layer.${n}.attention.attention.key`, [width, width]),
      ...linear(`encoder.layer.${n}.attention.attention.value`, [width, width]),
      ...linear(`encoder.layer.${n}.attention.output.dense`, [width, width]),
      ...norm(`encoder.layer.${n}.layernorm_after`, width),
      ...linear(`encoder.layer.${n}.intermediate.dense`, [hidden, width]),
      ...linear(`encoder.layer.${n}.output.dense`, [width, hidden]),
    })),
    ...norm("layernorm", width),
    ...linear("classifier", [classes, width]),
  };
}

/** Keys have no bias. */
const whisperAttention = (name: string, width: number): Shapes => ({
  ...linear(`${name}.q_proj`, [width, width]),
  ...linear(`${name}.k_proj`, [width, width], false),
  ...linear(`${name}.v_proj`, [width, width]),
  ...linear(`${name}.out_proj`, [width, width]),
  ...norm(`${name}_layer_norm`, width),
});

export function whisperWeights(c: WhisperConfig & WhisperDecoderConfig): Shapes {
  const { width, hidden, melBands, frames, vocabSize, positions } = c;
  const feedForward = (name: string): Shapes => ({
    ...linear(`${name}.fc1`, [hidden, width]),
    ...linear(`${name}.fc2`, [width, hidden]),
    ...norm(`${name}.final_layer_norm`, width),
  });
  return {
    "encoder.conv1.weight": [width, melBands, 3],
    "encoder.conv1.bias": [width],
    "encoder.conv2.weight": [width, width, 3],
    "encoder.conv2.bias": [width],
    "encoder.embed_positions.weight": [frames, width],
    ...layers(c.layers, (n) => ({
      ...whisperAttention(`encoder.layers.${n}.self_attn`, width),
      ...feedForward(`encoder.layers.${n}`),
    })),
    ...norm("encoder.layer_norm", width),
    "decoder.embed_tokens.weight": [vocabSize, width],
    "decoder.embed_positions.weight": [positions, width],
    ...layers(c.layers, (n) => ({
      ...whisperAttention(`decoder.layers.${n}.self_attn`, width),
      ...whisperAttention(`decoder.layers.${n}.encoder_attn`, width),
      ...feedForward(`decoder.layers.${n}`),
    })),
    ...norm("decoder.layer_norm", width),
  };
}
