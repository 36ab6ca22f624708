/**
 * Decoder-only transformers from their configuration: Llama, Mistral, Qwen, SmolLM, Gemma, Granite, OLMo, Phi-3, GPT-2
 * and the like. One graph serves prefill (many tokens) and decoding (one): keys and values of earlier tokens are state.
 */

import type { SymbolicValue } from "../../graph/builder.ts";
import { type GraphDefinition, graph } from "../../graph/define.ts";
import type { Graph } from "../../graph/ir.ts";
import type { Activation } from "../../ops/activation.ts";
import { argMax } from "../../ops/arg-reduce.ts";
import { attention } from "../../ops/attention.ts";
import { add, mul } from "../../ops/binary.ts";
import { cachedAttention } from "../../ops/cached-attention.ts";
import { gather } from "../../ops/gather.ts";
import { kvAppend } from "../../ops/kv-append.ts";
import { layerNorm, rmsNorm } from "../../ops/layer-norm.ts";
import { matmul } from "../../ops/matmul.ts";
import { range } from "../../ops/range.ts";
import { reshape } from "../../ops/reshape.ts";
import { rotaryEmbedding } from "../../ops/rotary-embedding.ts";
import { shape } from "../../ops/shape.ts";
import { tanh } from "../../ops/unary.ts";
import { FormatError, UnsupportedOpError } from "../../tensor/errors.ts";
import { hostTensor } from "../../tensor/host-tensor.ts";
import { sameShape } from "../../tensor/shape.ts";
import {
  blockTypeOf,
  checkDecoder,
  constantOf,
  type DecoderConfig,
  type DecoderWeights,
  type StoredWeight,
  type Weight,
} from "./config.ts";
import { longFrom, type RopeConfig, ropeTables } from "./rope.ts";
import { product, rowsOf } from "./stored.ts";

/** What keys and values are kept in. f16 takes half of the memory, and rounds to 11 bits. */
export type KvCache = "f32" | "f16";

/**
 * Inputs: `tokens` i32 [1, tokens]; `position` i32 [1], that of the first one, and `sequence` i32 [1], 0; or, where a run
 * has tokens of several sequences, both i32 [tokens]: the number of each token's state among the run's, -1 for a token that
 * fills a gap; `rows` i32 [rows], the tokens whose logits are wanted; `positions` i32 [1, tokens] where positions are
 * learned; `angles`, like `position`, where long texts are turned otherwise: the rows of `ropeTables`. Outputs: `logits` f32
 * [1, rows, vocabSize], and `likeliest` i64 [1, rows], the tokens with the largest. State: `k.N` and `v.N` [contextLength, kvHeads * headDim].
 * @throws FormatError for a weight that is missing or of another shape, InputError for what is no configuration
 */
export function decoder(config: DecoderConfig, weights: DecoderWeights, kvCache: KvCache = "f32"): Graph {
  checkWriter(config, weights);
  return graph(
    (g) => {
      const logits = new CachedBuilder(g, config, weights, kvCache).build();
      return { logits, likeliest: argMax(logits, { axis: -1, keepDims: false }) };
    },
    { name: config.architecture },
  );
}

/**
 * The same model without state: whole texts at once. Input: `tokens` i32 [batch, tokens]. Output: `logits` f32
 * [batch, tokens, vocabSize], at each token those of the next.
 * @throws FormatError for a weight that is missing or of another shape, InputError for what is no configuration
 */
export function statelessDecoder(config: DecoderConfig, weights: DecoderWeights): Graph {
  checkWriter(config, weights);
  const logits = { dtype: "f32", shape: ["batch", "tokens", config.vocabSize] } as const;
  return graph((g) => ({ logits: new StatelessBuilder(g, config, weights).build() }), {
    name: config.architecture,
    outputs: { logits },
  });
}

/**
 * The same model as far as its states: what vectors of texts are made of. Inputs: `tokens` i32 [batch, tokens]; `pool` f32
 * [batch, 1, tokens], the share of each token in its text's vector; of a bidirectional model `mask` bool [batch, 1, 1, tokens],
 * false for padding, which stands behind texts. Outputs: `hidden` f32 [batch, tokens, width], `pooled` f32 [batch, 1, width].
 * @throws FormatError for a weight that is missing or of another shape, InputError for what is no configuration
 */
export function decoderStates(config: DecoderConfig, weights: DecoderWeights): Graph {
  checkDecoder(config, weights);
  return graph(
    (g) => {
      const hidden = new StatelessBuilder(g, config, weights).states();
      return { hidden, pooled: matmul(g.input("pool", "f32", ["batch", 1, "tokens"]), hidden) };
    },
    { name: config.architecture },
  );
}

/** @throws as `checkDecoder`; UnsupportedOpError for a model that sees the tokens that it would have to write */
function checkWriter(config: DecoderConfig, weights: DecoderWeights): void {
  checkDecoder(config, weights);
  if (config.bidirectional)
    throw new UnsupportedOpError(
      `${config.architecture}: the model sees what comes behind a token: it makes vectors of texts (\`embeddings\`) and writes none`,
      { missing: ["bidirectional attention"] },
    );
}

type Rotate = (x: SymbolicValue, heads: number) => SymbolicValue;
const unturned: Rotate = (x) => x;

/** What both have in common. */
abstract class Builder {
  protected abstract readonly tokens: SymbolicValue;
  /** Of the first token, or of each. */
  protected abstract readonly position: SymbolicValue;
  private readonly constants = new Map<string, SymbolicValue>();

  constructor(
    protected readonly g: GraphDefinition,
    protected readonly config: DecoderConfig,
    private readonly weights: DecoderWeights,
  ) {}

  /** Causal attention of layer n. */
  protected abstract attend(n: number, q: SymbolicValue, k: SymbolicValue, v: SymbolicValue): SymbolicValue;
  /** Rows of the first token's angles, or of each token's, where texts of more tokens than `short` have their own. */
  protected abstract angles(short: number): SymbolicValue;
  /** Numbers of the tokens in their texts, where positions are learned. */
  protected abstract positions(): SymbolicValue;
  /** The tokens whose logits are wanted. */
  protected abstract wanted(x: SymbolicValue): SymbolicValue;

  /** The logits. */
  build(): SymbolicValue {
    const { width, vocabSize, logitDivisor = 1, logitSoftcap } = this.config;
    const last = this.norm("output_norm", this.wanted(this.layers()));
    const output = this.weights.has("output.weight") ? "output" : "token_embd";
    const logits = this.scale(this.linear(output, last, [vocabSize, width]), 1 / logitDivisor);
    return logitSoftcap ? this.scale(tanh(this.scale(logits, 1 / logitSoftcap)), logitSoftcap) : logits;
  }

  /** What the logits are made of. */
  states(): SymbolicValue {
    return this.norm("output_norm", this.layers());
  }

  private layers(): SymbolicValue {
    const { config } = this;
    const rotate = this.rotation(config.rope);
    const rotateLocally = config.localRope ? this.rotation(config.localRope) : rotate;
    let x = this.embed();
    config.layers.forEach((layer, n) => {
      x = this.layer(x, n, layer.rope === false ? unturned : layer.window === undefined ? rotate : rotateLocally);
    });
    return x;
  }

  private embed(): SymbolicValue {
    const { vocabSize, width, contextLength, embeddingScale = 1, rope } = this.config;
    const name = "token_embd.weight";
    const w = this.expect(name, [vocabSize, width]);
    const x = this.scale(rowsOf(this.tokens, w, this.constant(name, w)), embeddingScale);
    if (rope) return x;
    const learned = this.dense("position_embd.weight", [contextLength, width]);
    return add(x, gather(learned, this.positions()));
  }

  private layer(x: SymbolicValue, n: number, rotate: Rotate): SymbolicValue {
    const name = (part: string): string => `blk.${n}.${part}`;
    const before = (part: string, x: SymbolicValue) => (this.config.norm.behind ? x : this.norm(name(part), x));
    const attended = this.attention(before("attn_norm", x), x, n, rotate);
    return this.feedForward(before("ffn_norm", attended), attended, name);
  }

  private attention(h: SymbolicValue, residual: SymbolicValue, n: number, rotate: Rotate) {
    const { width, heads, kvHeads, headDim } = this.config;
    const name = (part: string): string => `blk.${n}.${part}`;
    const kvWidth = kvHeads * headDim;
    const project = (part: string, features: number) => this.linear(name(part), h, [features, width]);
    const q = rotate(this.headNorm(name("attn_q_norm"), project("attn_q", heads * headDim), heads), heads);
    const k = rotate(this.headNorm(name("attn_k_norm"), project("attn_k", kvWidth), kvHeads), kvHeads);
    const attended = this.attend(n, q, k, project("attn_v", kvWidth));
    return this.into(residual, name("attn_output"), attended, [width, heads * headDim], name("post_attention_norm"));
  }

  protected attentionAttrs(n: number) {
    const { heads, kvHeads, attentionScale, attentionSoftcap: softcap, layers } = this.config;
    const { window, attentionScale: scale = attentionScale } = layers[n];
    return { heads, kvHeads, scale, softcap, leftWindow: window === undefined ? undefined : window - 1 };
  }

  private feedForward(h: SymbolicValue, residual: SymbolicValue, name: (part: string) => string): SymbolicValue {
    const { width, activation: kind } = this.config;
    const up = this.weights.get(name("ffn_up.weight")) ?? this.missing(name("ffn_up.weight"));
    const hidden = up.shape[0];
    const activation = { kind } as Activation;
    const shape = [hidden, width];
    const inner = this.weights.has(name("ffn_gate.weight"))
      ? mul(this.linear(name("ffn_gate"), h, shape, { activation }), this.linear(name("ffn_up"), h, shape))
      : this.linear(name("ffn_up"), h, shape, { activation });
    return this.into(residual, name("ffn_down"), inner, [width, hidden], name("post_ffw_norm"));
  }

  /** residual + linear(x), with a norm and a factor in between where the model has them. */
  private into(residual: SymbolicValue, name: string, x: SymbolicValue, shape: number[], norm: string): SymbolicValue {
    const { residualScale = 1, norm: norms } = this.config;
    const normed = norms.behind || this.weights.has(`${norm}.weight`);
    if (!normed && residualScale === 1) return this.linear(name, x, shape, { residual });
    const half = this.linear(name, x, shape);
    return add(residual, this.scale(normed ? this.norm(norm, half) : half, residualScale));
  }

  private norm(name: string, x: SymbolicValue): SymbolicValue {
    const { width, norm } = this.config;
    const { epsilon } = norm;
    const weight = this.dense(`${name}.weight`, [width]);
    if (norm.kind === "rms") return rmsNorm(x, weight, { epsilon });
    return layerNorm(x, weight, this.bias(name, width), { epsilon });
  }

  /** Queries or keys normalised head by head, where the model has weights for it, or as a whole. */
  private headNorm(name: string, x: SymbolicValue, heads: number): SymbolicValue {
    const { headDim, norm } = this.config;
    if (norm.acrossHeads) return rmsNorm(x, this.dense(`${name}.weight`, [heads * headDim]), { epsilon: norm.epsilon });
    if (!this.weights.has(`${name}.weight`)) return x;
    const scale = this.dense(`${name}.weight`, [headDim]);
    const split = rmsNorm(reshape(x, [0, -1, heads, headDim]), scale, { epsilon: norm.epsilon });
    return reshape(split, [0, -1, heads * headDim]);
  }

  private rotation(rope: RopeConfig | undefined): Rotate {
    if (!rope) return unturned;
    const { contextLength } = this.config;
    const tables = ropeTables(rope, contextLength);
    const short = longFrom(rope, contextLength);
    const at = short < Infinity ? this.angles(short) : this.position;
    const [cos, sin] = [this.g.weight(tables.cos), this.g.weight(tables.sin)];
    const { interleaved, dim: rotaryDim } = rope;
    return (x, heads) => rotaryEmbedding(x, cos, sin, at, { heads, interleaved, rotaryDim });
  }

  /** act(x W^T + bias) + residual; at most one of the two options. */
  private linear(
    name: string,
    x: SymbolicValue,
    shape: readonly number[],
    { residual, activation }: { residual?: SymbolicValue; activation?: Activation } = {},
  ): SymbolicValue {
    const weight = this.expect(`${name}.weight`, shape);
    const constant = this.constant(`${name}.weight`, weight);
    return product(x, weight, constant, { bias: this.bias(name, shape[0]), residual, activation });
  }

  private bias(name: string, n: number): SymbolicValue | undefined {
    return this.weights.has(`${name}.bias`) ? this.dense(`${name}.bias`, [n]) : undefined;
  }

  private scale(x: SymbolicValue, by: number): SymbolicValue {
    return by === 1 ? x : mul(x, this.g.weight(hostTensor(Float32Array.of(by))));
  }

  /** A weight that has to be f32. */
  private dense(name: string, shape: readonly number[]): SymbolicValue {
    const weight = this.expect(name, shape);
    const type = blockTypeOf(weight);
    if (type) throw new FormatError(`${this.config.architecture}: "${name}" is ${type}, not f32`);
    return this.constant(name, weight);
  }

  private expect(name: string, shape: readonly number[]): Weight | StoredWeight {
    const weight = this.weights.get(name) ?? this.missing(name);
    if (!sameShape(weight.shape, shape))
      throw new FormatError(`${this.config.architecture}: "${name}" is [${weight.shape}], expected [${shape}]`);
    return weight;
  }

  private missing(name: string): never {
    throw new FormatError(`${this.config.architecture}: weight "${name}" is missing`);
  }

  /** One constant for each weight, however often it is used. */
  private constant(name: string, w: Weight | StoredWeight): SymbolicValue {
    let value = this.constants.get(name);
    if (!value) {
      value = this.g.weight(constantOf(w));
      this.constants.set(name, value);
    }
    return value;
  }
}

class CachedBuilder extends Builder {
  protected readonly tokens = this.g.input("tokens", "i32", [1, "tokens"]);
  protected readonly position = this.g.input("position", "i32", ["positions"]);
  private readonly sequence = this.g.input("sequence", "i32", ["positions"]);
  private readonly rows = this.g.input("rows", "i32", ["rows"]);

  constructor(
    g: GraphDefinition,
    config: DecoderConfig,
    weights: DecoderWeights,
    private readonly kvCache: KvCache,
  ) {
    super(g, config, weights);
  }

  protected attend(n: number, q: SymbolicValue, k: SymbolicValue, v: SymbolicValue): SymbolicValue {
    const { g, config, position, sequence } = this;
    const { kvHeads, headDim, contextLength } = config;
    const cache = (kind: string) => g.state(`${kind}.${n}`, this.kvCache, [contextLength, kvHeads * headDim]);
    const keys = kvAppend(cache("k"), k, position, sequence);
    const values = kvAppend(cache("v"), v, position, sequence);
    return cachedAttention(q, keys, values, position, sequence, this.attentionAttrs(n));
  }

  protected angles(): SymbolicValue {
    return this.g.input("angles", "i32", ["positions"]);
  }

  protected positions(): SymbolicValue {
    return this.g.input("positions", "i32", [1, "tokens"]);
  }

  protected wanted(x: SymbolicValue): SymbolicValue {
    return gather(x, this.rows, { axis: 1 });
  }
}

class StatelessBuilder extends Builder {
  protected readonly tokens = this.g.input("tokens", "i32", ["batch", "tokens"]);
  protected readonly position = this.g.weight(hostTensor(Int32Array.of(0)));
  private readonly mask = this.config.bidirectional
    ? this.g.input("mask", "bool", ["batch", 1, 1, "tokens"])
    : undefined;

  protected attend(n: number, q: SymbolicValue, k: SymbolicValue, v: SymbolicValue): SymbolicValue {
    const attrs = this.attentionAttrs(n);
    if (!this.mask) return attention(q, k, v, undefined, undefined, undefined, undefined, { ...attrs, causal: true });
    return attention(q, k, v, this.mask, undefined, undefined, undefined, { ...attrs, rightWindow: attrs.leftWindow });
  }

  /** How many tokens texts have, i64 [1]. */
  private length(): SymbolicValue {
    return shape(this.tokens, { start: 1, end: 2 });
  }

  protected angles(short: number): SymbolicValue {
    const firstRows = Int32Array.from({ length: this.config.contextLength + 1 }, (_, n) => (n > short ? short : 0));
    return gather(this.g.weight(hostTensor(firstRows)), this.length());
  }

  protected positions(): SymbolicValue {
    const number = (v: bigint) => this.g.weight(hostTensor(BigInt64Array.of(v), { shape: [] }));
    const count = reshape(this.length(), this.g.weight(hostTensor(new BigInt64Array(0))));
    return range(number(0n), count, number(1n));
  }

  protected wanted(x: SymbolicValue): SymbolicValue {
    return x;
  }
}
