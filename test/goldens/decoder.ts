/**
 * Decoder-only transformers, a second time: plain loops in float64 over one token after the other, written from the papers
 * and model cards without the engine's operators. What the engine computes is compared with this.
 */
import type { DecoderConfig } from "../../src/models/transformer/config.ts";
import type { RopeConfig } from "../../src/models/transformer/rope.ts";

export interface Matrix {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}
export type Matrices = ReadonlyMap<string, Matrix>;

/** Feeds tokens one by one; gives the logits after each, as they are in a text of `length` tokens. */
export class NaiveDecoder {
  private readonly keys: Float64Array[][];
  private readonly values: Float64Array[][];
  private position = 0;

  constructor(
    private readonly c: DecoderConfig,
    private readonly w: Matrices,
    private readonly length = 0,
  ) {
    this.keys = c.layers.map(() => []);
    this.values = c.layers.map(() => []);
  }

  next(token: number): Float64Array {
    const { c } = this;
    const [h] = this.states([token]);
    const output = this.w.has("output.weight") ? "output" : "token_embd";
    const logits = this.linear(output, h).map((v) => v / (c.logitDivisor ?? 1));
    const cap = c.logitSoftcap;
    return cap ? logits.map((v) => cap * Math.tanh(v / cap)) : logits;
  }

  /** What the logits of these tokens are made of, where they come together: they may see each other. */
  states(tokens: readonly number[]): Float64Array[] {
    const { c, position } = this;
    const rows = tokens.map((token, i) => this.embedded(token, position + i));
    for (let n = 0; n < c.layers.length; n++) {
      // OLMo 2: x + norm(f(x)) in place of x + f(norm(x)).
      const before = (part: string, x: Float64Array) => (c.norm.behind ? x : this.norm(`blk.${n}.${part}`, x));
      const queries = rows.map((x, i) => this.remember(n, before("attn_norm", x), position + i));
      rows.forEach((x, i) => {
        this.addInto(x, this.attention(n, queries[i], position + i), `blk.${n}.post_attention_norm`);
        this.addInto(x, this.feedForward(n, before("ffn_norm", x)), `blk.${n}.post_ffw_norm`);
      });
    }
    this.position += tokens.length;
    return rows.map((x) => this.norm("output_norm", x));
  }

  private embedded(token: number, position: number): Float64Array {
    const { c } = this;
    const x = row(this.need("token_embd.weight"), token);
    for (let i = 0; i < x.length; i++) x[i] *= c.embeddingScale ?? 1;
    if (c.rope) return x;
    const learned = row(this.need("position_embd.weight"), position);
    return x.map((v, i) => v + learned[i]);
  }

  /** Its keys and values. Gives its queries, head by head. */
  private remember(n: number, h: Float64Array, position: number): Float64Array[] {
    const { c } = this;
    const rope = c.layers[n].rope ?? ((c.layers[n].window !== undefined && c.localRope) || c.rope);
    const whole = (part: string, x: Float64Array) =>
      c.norm.acrossHeads ? rms(x, this.need(`blk.${n}.${part}_norm.weight`), c.norm.epsilon) : x;
    const q = heads(whole("attn_q", this.linear(`blk.${n}.attn_q`, h)), c.heads);
    const k = heads(whole("attn_k", this.linear(`blk.${n}.attn_k`, h)), c.kvHeads);
    for (const [name, list] of [
      ["attn_q_norm", q],
      ["attn_k_norm", k],
    ] as const) {
      const scale = this.w.get(`blk.${n}.${name}.weight`);
      if (scale && !c.norm.acrossHeads) for (const v of list) rms(v, scale, c.norm.epsilon);
    }
    if (rope) for (const v of [...q, ...k]) rotate(v, position, rope, this.length);
    this.keys[n].push(concat(k));
    this.values[n].push(this.linear(`blk.${n}.attn_v`, h));
    return q;
  }

  private attention(n: number, q: readonly Float64Array[], position: number): Float64Array {
    const { c } = this;
    const { window = Number.POSITIVE_INFINITY } = c.layers[n];
    const first = Math.max(0, position - window + 1);
    const last = c.bidirectional ? Math.min(this.keys[n].length, position + window) - 1 : position;
    const scale = c.layers[n].attentionScale ?? c.attentionScale ?? 1 / Math.sqrt(c.headDim);
    const outputs = q.map((query, head) => {
      const shared = Math.floor((head * c.kvHeads) / c.heads) * c.headDim;
      const scores: number[] = [];
      for (let p = first; p <= last; p++) {
        let dot = 0;
        for (let d = 0; d < c.headDim; d++) dot += query[d] * this.keys[n][p][shared + d];
        dot *= scale;
        scores.push(c.attentionSoftcap ? c.attentionSoftcap * Math.tanh(dot / c.attentionSoftcap) : dot);
      }
      const largest = Math.max(...scores);
      const weights = scores.map((s) => Math.exp(s - largest));
      const total = weights.reduce((a, b) => a + b, 0);
      const out = new Float64Array(c.headDim);
      weights.forEach((weight, i) => {
        for (let d = 0; d < c.headDim; d++) out[d] += (weight / total) * this.values[n][first + i][shared + d];
      });
      return out;
    });
    return this.linear(`blk.${n}.attn_output`, concat(outputs));
  }

  private feedForward(n: number, h: Float64Array): Float64Array {
    const act = activations[this.c.activation];
    const up = this.linear(`blk.${n}.ffn_up`, h);
    if (!this.w.has(`blk.${n}.ffn_gate.weight`)) return this.linear(`blk.${n}.ffn_down`, up.map(act));
    const gate = this.linear(`blk.${n}.ffn_gate`, h);
    return this.linear(
      `blk.${n}.ffn_down`,
      gate.map((g, i) => act(g) * up[i]),
    );
  }

  private addInto(x: Float64Array, y: Float64Array, norm: string): void {
    const added = this.w.has(`${norm}.weight`) ? this.norm(norm, y) : y;
    for (let i = 0; i < x.length; i++) x[i] += added[i] * (this.c.residualScale ?? 1);
  }

  private norm(name: string, x: Float64Array): Float64Array {
    const weight = this.need(`${name}.weight`);
    const { kind, epsilon } = this.c.norm;
    const y = x.slice();
    if (kind === "rms") return rms(y, weight, epsilon);
    const mean = y.reduce((a, b) => a + b, 0) / y.length;
    const variance = y.reduce((a, b) => a + (b - mean) ** 2, 0) / y.length;
    const bias = this.w.get(`${name}.bias`);
    return y.map((v, i) => ((v - mean) / Math.sqrt(variance + epsilon)) * weight.data[i] + (bias?.data[i] ?? 0));
  }

  private linear(name: string, x: Float64Array): Float64Array {
    const { shape, data } = this.need(`${name}.weight`);
    const bias = this.w.get(`${name}.bias`);
    const [n, k] = shape;
    const y = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      let sum = bias?.data[i] ?? 0;
      for (let j = 0; j < k; j++) sum += x[j] * data[i * k + j];
      y[i] = sum;
    }
    return y;
  }

  private need(name: string): Matrix {
    const m = this.w.get(name);
    if (!m) throw new Error(`no weight ${name}`);
    return m;
  }
}

export const activations = {
  relu: (x: number) => Math.max(0, x),
  silu: (x: number) => x / (1 + Math.exp(-x)),
  gelu: (x: number) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  geluTanh: (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

/** By its series, which is exact for the small arguments of tests. */
function erf(x: number): number {
  if (Math.abs(x) > 5) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 120; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

const row = ({ shape, data }: Matrix, i: number): Float64Array =>
  Float64Array.from({ length: shape[1] }, (_, j) => data[i * shape[1] + j]);

export const heads = (x: Float64Array, n: number): Float64Array[] =>
  Array.from({ length: n }, (_, h) => x.slice((h * x.length) / n, ((h + 1) * x.length) / n));

export const concat = (parts: readonly Float64Array[]): Float64Array => Float64Array.from(parts.flatMap((p) => [...p]));

function rms(x: Float64Array, weight: Matrix, epsilon: number): Float64Array {
  const mean = x.reduce((a, b) => a + b * b, 0) / x.length;
  for (let i = 0; i < x.length; i++) x[i] = (x[i] / Math.sqrt(mean + epsilon)) * weight.data[i];
  return x;
}

export function rotate(x: Float64Array, position: number, rope: RopeConfig, length = 0): void {
  const { dim, base, interleaved, scaling } = rope;
  const half = dim / 2;
  let magnitude = 1;
  for (let i = 0; i < half; i++) {
    let frequency = 1 / base ** ((2 * i) / dim);
    if (scaling?.kind === "dynamic" && position >= scaling.originalContext) {
      // Beyond the original context L at length n the base is multiplied by (s n / L - (s - 1))^(d / (d - 2)).
      const grown = (scaling.factor * (position + 1)) / scaling.originalContext - scaling.factor + 1;
      frequency /= grown ** ((2 * i) / (dim - 2));
    }
    if (scaling?.kind === "linear") frequency /= scaling.factor;
    if (scaling?.kind === "factors") {
      // LongRoPE: a text longer than the model was trained for has other divisors, from its first token on.
      const isLong = scaling.longFactors && scaling.originalContext && length > scaling.originalContext;
      frequency /= (isLong ? scaling.longFactors! : scaling.factors)[i];
      magnitude = scaling.magnitude ?? 1;
    }
    if (scaling?.kind === "llama3") {
      const { factor, lowFrequency, highFrequency, originalContext } = scaling;
      const turns = (originalContext * frequency) / (2 * Math.PI);
      // How many times a pair turns over the original context decides: often, it is kept; seldom, stretched.
      const keep = Math.min(1, Math.max(0, (turns - lowFrequency) / (highFrequency - lowFrequency)));
      frequency = keep * frequency + ((1 - keep) * frequency) / factor;
    }
    if (scaling?.kind === "yarn") {
      const { factor, originalContext, betaFast = 32, betaSlow = 1 } = scaling;
      const pair = (turns: number) => (dim * Math.log(originalContext / (turns * 2 * Math.PI))) / (2 * Math.log(base));
      const low = Math.max(0, Math.floor(pair(betaFast)));
      const high = Math.min(dim - 1, Math.ceil(pair(betaSlow)));
      frequency /= scaling.factors?.[i] ?? 1;
      const ramp = Math.min(1, Math.max(0, (i - low) / (high - low || 0.001)));
      frequency = frequency * (1 - ramp) + (frequency / factor) * ramp;
      magnitude = scaling.magnitude ?? 0.1 * Math.log(factor) + 1;
    }
    const [p, q] = interleaved ? [2 * i, 2 * i + 1] : [i, i + half];
    const [c, s] = [Math.cos(position * frequency) * magnitude, Math.sin(position * frequency) * magnitude];
    [x[p], x[q]] = [x[p] * c - x[q] * s, x[p] * s + x[q] * c];
  }
}
