/** Whisper (https://arxiv.org/abs/2212.04356): speech to text by an encoder of sound and a decoder of words. */

import type { SymbolicValue } from "../../graph/builder.ts";
import { type GraphDefinition, graph } from "../../graph/define.ts";
import type { Graph } from "../../graph/ir.ts";
import { add } from "../../ops/binary.ts";
import { cachedAttention } from "../../ops/cached-attention.ts";
import { conv } from "../../ops/conv.ts";
import { gather } from "../../ops/gather.ts";
import { kvAppend } from "../../ops/kv-append.ts";
import { matmul } from "../../ops/matmul.ts";
import { transpose } from "../../ops/transpose.ts";
import type { Weights } from "../weights.ts";
import { type AttentionNames, type BlockConfig, Blocks } from "./blocks.ts";

export interface WhisperConfig extends BlockConfig {
  readonly layers: number;
  /** The encoder's positions: each is two frames of the spectrogram. */
  readonly frames: number;
  readonly melBands: number;
}

export interface WhisperDecoderConfig extends BlockConfig {
  readonly layers: number;
  readonly vocabSize: number;
  /** Longest text in tokens, and positions of the encoder. */
  readonly positions: number;
  readonly frames: number;
}

const attentionNames = (name: string): AttentionNames => ({
  q: `${name}.q_proj`,
  k: `${name}.k_proj`,
  v: `${name}.v_proj`,
  out: `${name}.out_proj`,
});

/**
 * Weights have the names of Hugging Face's WhisperModel, `encoder.layers.0.fc1.weight`. Input: `mel` f32
 * [1, melBands, 2 * frames]. Output: `hidden` f32 [1, frames, width].
 * @throws InputError for a weight that is missing, ShapeError for one of another shape
 */
export function whisperEncoder(config: WhisperConfig, weights: Weights): Graph {
  const { width, melBands, frames, layers } = config;
  return graph(
    (g) => {
      const b = new Blocks(g, weights, config);
      const convolve = (name: string, x: SymbolicValue, channels: number, stride: number): SymbolicValue => {
        const w = b.named(`encoder.${name}.weight`, [width, channels, 3]);
        const bias = b.named(`encoder.${name}.bias`, [width]);
        return conv(x, w, bias, undefined, { strides: [stride], pads: [1, 1], activation: { kind: "gelu" } });
      };
      const mel = g.input("mel", "f32", [1, melBands, 2 * frames]);
      const sound = convolve("conv2", convolve("conv1", mel, melBands, 1), width, 2);
      let x = add(transpose(sound, { perm: [0, 2, 1] }), b.named("encoder.embed_positions.weight", [frames, width]));
      for (let n = 0; n < layers; n++) {
        const name = `encoder.layers.${n}`;
        const inner = b.norm(`${name}.self_attn_layer_norm`, x);
        const h = b.selfAttention(attentionNames(`${name}.self_attn`), inner, x);
        x = b.feedForward(`${name}.fc1`, `${name}.fc2`, b.norm(`${name}.final_layer_norm`, h), h);
      }
      return { hidden: b.norm("encoder.layer_norm", x) };
    },
    { name: "whisper encoder" },
  );
}

/** Where it is not the embedding again. */
export const wordProjection = "proj_out.weight";

/**
 * The decoder for one token after the other. Inputs: `token` i32 [1, 1]; `position` i32 [1], its place; `hidden` f32
 * [1, rows, width], what the encoder gave, at the first token of a text, and no rows after it: keys and values of the sound
 * are state, like those of the text. Output: `logits` f32 [1, 1, vocabSize].
 * @throws InputError for a weight that is missing, ShapeError for one of another shape
 */
export function whisperDecoder(config: WhisperDecoderConfig, weights: Weights): Graph {
  return graph((g) => ({ logits: new WhisperDecoder(g, config, weights).logits() }), { name: "whisper decoder" });
}

class WhisperDecoder {
  private readonly b: Blocks;
  private readonly position: SymbolicValue;
  private readonly hidden: SymbolicValue;

  constructor(
    private readonly g: GraphDefinition,
    private readonly config: WhisperDecoderConfig,
    private readonly weights: Weights,
  ) {
    this.b = new Blocks(g, weights, config);
    this.position = g.input("position", "i32", [1]);
    this.hidden = g.input("hidden", "f32", [1, "rows", config.width]);
  }

  logits(): SymbolicValue {
    const { b, g, config, position } = this;
    const { width, vocabSize, positions, layers } = config;
    const embeddings = b.named("decoder.embed_tokens.weight", [vocabSize, width]);
    const places = gather(b.named("decoder.embed_positions.weight", [positions, width]), position);
    let x = add(gather(embeddings, g.input("token", "i32", [1, 1])), places);
    for (let n = 0; n < layers; n++) {
      const name = `decoder.layers.${n}`;
      const heard = this.crossAttention(n, this.selfAttention(n, x));
      x = b.feedForward(`${name}.fc1`, `${name}.fc2`, b.norm(`${name}.final_layer_norm`, heard), heard);
    }
    const projection = this.weights.has(wordProjection) ? b.named(wordProjection, [vocabSize, width]) : embeddings;
    return matmul(b.norm("decoder.layer_norm", x), projection, undefined, undefined, { transposeB: true });
  }

  private selfAttention(n: number, x: SymbolicValue): SymbolicValue {
    const { config, position } = this;
    const name = `decoder.layers.${n}.self_attn`;
    const inner = this.b.norm(`${name}_layer_norm`, x);
    return this.attention(name, inner, x, position, {
      from: inner,
      at: position,
      state: `self.${n}`,
      rows: config.positions,
    });
  }

  /** To all of the sound: a token after its last row sees every row. */
  private crossAttention(n: number, x: SymbolicValue): SymbolicValue {
    const { config, g, hidden } = this;
    const { frames } = config;
    const name = `decoder.layers.${n}.encoder_attn`;
    const index = (i: number): SymbolicValue => g.weight({ dtype: "i32", shape: [1], data: Int32Array.of(i) });
    return this.attention(name, this.b.norm(`${name}_layer_norm`, x), x, index(frames - 1), {
      from: hidden,
      at: index(0),
      state: `cross.${n}`,
      rows: frames,
    });
  }

  private attention(
    name: string,
    x: SymbolicValue,
    residual: SymbolicValue,
    last: SymbolicValue,
    memory: { from: SymbolicValue; at: SymbolicValue; state: string; rows: number },
  ): SymbolicValue {
    const { b, g, config } = this;
    const { width, heads } = config;
    const names = attentionNames(name);
    const kept = (kind: "k" | "v"): SymbolicValue => {
      const state = g.state(`${kind}.${memory.state}`, "f32", [memory.rows, width]);
      return kvAppend(state, b.linear(names[kind], memory.from, [width, width]), memory.at);
    };
    const q = b.linear(names.q, x, [width, width]);
    const attended = cachedAttention(q, kept("k"), kept("v"), last, { heads });
    return b.linear(names.out, attended, [width, width], { residual });
  }
}
