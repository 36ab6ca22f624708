/**
 * BERT, ViT and Whisper a second time: plain loops in float64, written from the papers and the layout of their checkpoints
 * without the engine's operators. What the engine computes is compared with this.
 */
import type { RopeConfig } from "../../src/models/transformer/rope.ts";
import { activations, concat, heads, type Matrices, type Matrix, rotate } from "./decoder.ts";

/** Rows of numbers, one a token. */
export type Rows = Float64Array[];

export interface EncoderShape {
  readonly heads: number;
  readonly layers: number;
  readonly epsilon: number;
  readonly activation: keyof typeof activations;
  /** Of BERT's layers, in place of a table. */
  readonly rope?: RopeConfig;
}

export class NaiveEncoder {
  constructor(
    private readonly c: EncoderShape,
    private readonly w: Matrices,
  ) {}

  /**
   * BertModel: the states after the last layer. Positions beginning with `first`, of tokens but that of padding, which is the
   * number before and stays there (RoBERTa's create_position_ids_from_input_ids); types 0 unless given. Nomic's BERT has rotary
   * positions and gated layers.
   */
  bert(tokens: readonly number[], first = 0, types?: readonly number[]): Rows {
    const isText = tokens.map((t) => Number(t !== first - 1));
    let x: Rows = tokens.map((t, i) => {
      const word = this.row("embeddings.word_embeddings.weight", t);
      const counted = isText.slice(0, i + 1).reduce((a, b) => a + b, 0);
      const place = this.c.rope
        ? new Float64Array(word.length)
        : this.row("embeddings.position_embeddings.weight", first - 1 + counted * isText[i]);
      const type = this.w.has("embeddings.token_type_embeddings.weight")
        ? this.row("embeddings.token_type_embeddings.weight", types?.[i] ?? 0)
        : new Float64Array(word.length);
      return this.norm(
        "embeddings.LayerNorm",
        word.map((v, j) => v + place[j] + type[j]),
      );
    });
    for (let n = 0; n < this.c.layers; n++) {
      const name = `encoder.layer.${n}`;
      const self = `${name}.attention.self`;
      const attended = this.attend(x, x, [`${self}.query`, `${self}.key`, `${self}.value`]);
      x = x.map((v, i) =>
        this.norm(
          `${name}.attention.output.LayerNorm`,
          plus(v, this.linear(`${name}.attention.output.dense`, attended[i])),
        ),
      );
      x = x.map((v) => {
        const act = activations[this.c.activation];
        const up = this.linear(`${name}.intermediate.dense`, v);
        const gate = this.w.has(`${name}.intermediate.gate.weight`) && this.linear(`${name}.intermediate.gate`, v);
        const inner = gate ? gate.map((g, i) => act(g) * up[i]) : up.map(act);
        return this.norm(`${name}.output.LayerNorm`, plus(v, this.linear(`${name}.output.dense`, inner)));
      });
    }
    return x;
  }

  /** BertForMaskedLM: logits of every word at one token. */
  word(state: Float64Array): Float64Array {
    const name = "cls.predictions.transform";
    const inner = this.linear(`${name}.dense`, state).map(activations[this.c.activation]);
    const y = this.norm(`${name}.LayerNorm`, inner);
    const projection = this.w.get("cls.predictions.decoder.weight") ?? this.need("embeddings.word_embeddings.weight");
    const logits = multiply(projection, y);
    return plus(logits, Float64Array.from(this.need("cls.predictions.bias").data));
  }

  /** ModernBertModel: layers of `windows` see so many tokens on either side, and turn by `localRope`. */
  modernBert(tokens: readonly number[], windows: readonly (number | undefined)[], localRope: RopeConfig): Rows {
    let x: Rows = tokens.map((t) => this.norm("embeddings.norm", this.row("embeddings.tok_embeddings.weight", t)));
    const act = activations[this.c.activation];
    windows.forEach((window, n) => {
      const name = `layers.${n}`;
      const before = n === 0 ? x : x.map((v) => this.norm(`${name}.attn_norm`, v));
      const parts = ["query", "key", "value"].map((part) => `${name}.attn.${part}`);
      const near = window === undefined ? {} : { rope: localRope, window };
      const attended = this.attend(before, before, parts, near);
      x = x.map((v, i) => plus(v, this.linear(`${name}.attn.Wo`, attended[i])));
      x = x.map((v) => {
        const h = this.norm(`${name}.mlp_norm`, v);
        const up = this.linear(`${name}.mlp.up`, h);
        const inner = this.linear(`${name}.mlp.gate`, h).map((g, i) => act(g) * up[i]);
        return plus(v, this.linear(`${name}.mlp.Wo`, inner));
      });
    });
    return x.map((v) => this.norm("final_norm", v));
  }

  /** What its heads judge by. */
  modernHead(state: Float64Array): Float64Array {
    return this.norm("head.norm", this.linear("head.dense", state).map(activations[this.c.activation]));
  }

  /** ViTModel: pixels [channels][size * size]. */
  vit(pixels: Rows, size: number, patch: number): Rows {
    const projection = this.need("embeddings.patch_embeddings.projection.weight");
    const bias = this.need("embeddings.patch_embeddings.projection.bias");
    const [width, channels] = projection.shape;
    const across = size / patch;
    let x: Rows = [Float64Array.from(this.need("embeddings.cls_token").data)];
    for (let p = 0; p < across * across; p++) {
      const [top, left] = [Math.floor(p / across) * patch, (p % across) * patch];
      const token = new Float64Array(width);
      for (let o = 0; o < width; o++) {
        token[o] = bias.data[o];
        for (let c = 0; c < channels; c++)
          for (let i = 0; i < patch; i++)
            for (let j = 0; j < patch; j++)
              token[o] +=
                pixels[c][(top + i) * size + left + j] * projection.data[((o * channels + c) * patch + i) * patch + j];
      }
      x.push(token);
    }
    const places = this.need("embeddings.position_embeddings");
    x = x.map((v, i) => v.map((a, j) => a + places.data[i * width + j]));
    for (let n = 0; n < this.c.layers; n++) {
      const name = `encoder.layer.${n}`;
      const self = `${name}.attention.attention`;
      const before = x.map((v) => this.norm(`${name}.layernorm_before`, v));
      const attended = this.attend(before, before, [`${self}.query`, `${self}.key`, `${self}.value`]);
      x = x.map((v, i) => plus(v, this.linear(`${name}.attention.output.dense`, attended[i])));
      x = x.map((v) => {
        const h = this.norm(`${name}.layernorm_after`, v);
        const inner = this.linear(`${name}.intermediate.dense`, h).map(activations[this.c.activation]);
        return plus(v, this.linear(`${name}.output.dense`, inner));
      });
    }
    return x.map((v) => this.norm("layernorm", v));
  }

  /** Whisper's encoder: mel [bands][frames] to half as many states. */
  hear(mel: Rows): Rows {
    const gelu = (rows: Rows): Rows => rows.map((r) => r.map(activations.gelu));
    const planes = gelu(this.convolve("encoder.conv2", gelu(this.convolve("encoder.conv1", mel, 1)), 2));
    let x: Rows = Array.from({ length: planes[0].length }, (_, i) =>
      plus(
        Float64Array.from(planes, (p) => p[i]),
        this.row("encoder.embed_positions.weight", i),
      ),
    );
    for (let n = 0; n < this.c.layers; n++) {
      const name = `encoder.layers.${n}`;
      const before = x.map((v) => this.norm(`${name}.self_attn_layer_norm`, v));
      x = this.afterAttention(x, before, before, `${name}.self_attn`);
      x = this.afterFeedForward(x, name);
    }
    return x.map((v) => this.norm("encoder.layer_norm", v));
  }

  /** Whisper's decoder: the logits after the last of the tokens. */
  say(sound: Rows, tokens: readonly number[]): Float64Array {
    let x: Rows = tokens.map((t, i) =>
      plus(this.row("decoder.embed_tokens.weight", t), this.row("decoder.embed_positions.weight", i)),
    );
    for (let n = 0; n < this.c.layers; n++) {
      const name = `decoder.layers.${n}`;
      const before = x.map((v) => this.norm(`${name}.self_attn_layer_norm`, v));
      x = this.afterAttention(x, before, before, `${name}.self_attn`, true);
      const listening = x.map((v) => this.norm(`${name}.encoder_attn_layer_norm`, v));
      x = this.afterAttention(x, listening, sound, `${name}.encoder_attn`);
      x = this.afterFeedForward(x, name);
    }
    const projection = this.w.get("proj_out.weight") ?? this.need("decoder.embed_tokens.weight");
    return multiply(projection, this.norm("decoder.layer_norm", x[x.length - 1]));
  }

  private afterAttention(x: Rows, queries: Rows, memory: Rows, name: string, causal = false): Rows {
    const attended = this.attend(queries, memory, [`${name}.q_proj`, `${name}.k_proj`, `${name}.v_proj`], { causal });
    return x.map((v, i) => plus(v, this.linear(`${name}.out_proj`, attended[i])));
  }

  private afterFeedForward(x: Rows, name: string): Rows {
    return x.map((v) => {
      const inner = this.linear(`${name}.fc1`, this.norm(`${name}.final_layer_norm`, v));
      return plus(v, this.linear(`${name}.fc2`, inner.map(activations[this.c.activation])));
    });
  }

  private attend(
    from: Rows,
    memory: Rows,
    [q, k, v]: readonly string[],
    { causal = false, rope = this.c.rope, window = Number.POSITIVE_INFINITY } = {},
  ): Rows {
    const { heads: count } = this.c;
    const rotated = (x: Float64Array, position: number): Float64Array => {
      if (!rope) return x;
      const parts = heads(x, count);
      for (const part of parts) rotate(part, position, rope);
      return concat(parts);
    };
    const [queries, keys, values] = [
      from.map((x, i) => rotated(this.linear(q, x), i)),
      memory.map((x, i) => rotated(this.linear(k, x), i)),
      memory.map((x) => this.linear(v, x)),
    ];
    const size = queries[0].length / count;
    return queries.map((query, i) => {
      const out = new Float64Array(query.length);
      const seen = causal ? i + 1 : keys.length;
      for (let h = 0; h < count; h++) {
        const scores = keys.slice(0, seen).map((key, j) => {
          if (Math.abs(i - j) > window) return 0;
          let dot = 0;
          for (let d = h * size; d < (h + 1) * size; d++) dot += query[d] * key[d];
          return Math.exp(dot / Math.sqrt(size));
        });
        const total = scores.reduce((a, b) => a + b, 0);
        for (let d = h * size; d < (h + 1) * size; d++)
          for (let j = 0; j < seen; j++) out[d] += (scores[j] / total) * values[j][d];
      }
      return out;
    });
  }

  private convolve(name: string, x: Rows, stride: number): Rows {
    const { shape, data } = this.need(`${name}.weight`);
    const bias = this.need(`${name}.bias`);
    const [outputs, inputs, taps] = shape;
    return Array.from({ length: outputs }, (_, o) =>
      Float64Array.from({ length: x[0].length / stride }, (_, i) => {
        let sum = bias.data[o];
        for (let c = 0; c < inputs; c++)
          for (let t = 0; t < taps; t++) sum += (x[c][i * stride + t - 1] ?? 0) * data[(o * inputs + c) * taps + t];
        return sum;
      }),
    );
  }

  private norm(name: string, x: Float64Array): Float64Array {
    const [weight, bias] = [this.need(`${name}.weight`), this.w.get(`${name}.bias`)];
    const mean = x.reduce((a, b) => a + b, 0) / x.length;
    const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
    return x.map((v, i) => ((v - mean) / Math.sqrt(variance + this.c.epsilon)) * weight.data[i] + (bias?.data[i] ?? 0));
  }

  linear(name: string, x: Float64Array): Float64Array {
    const y = multiply(this.need(`${name}.weight`), x);
    const bias = this.w.get(`${name}.bias`);
    return bias ? plus(y, Float64Array.from(bias.data)) : y;
  }

  private row(name: string, i: number): Float64Array {
    const { shape, data } = this.need(name);
    return Float64Array.from({ length: shape[1] }, (_, j) => data[i * shape[1] + j]);
  }

  private need(name: string): Matrix {
    const m = this.w.get(name);
    if (!m) throw new Error(`no weight ${name}`);
    return m;
  }
}

const plus = (a: Float64Array, b: Float64Array): Float64Array => a.map((v, i) => v + b[i]);

function multiply({ shape: [n, k], data }: Matrix, x: Float64Array): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < k; j++) sum += data[i * k + j] * x[j];
    return sum;
  });
}
