/** What encoders and encoder-decoders are made of, over named weights. */

import type { SymbolicValue } from "../../graph/builder.ts";
import type { GraphDefinition } from "../../graph/define.ts";
import type { Activation } from "../../ops/activation.ts";
import { attention } from "../../ops/attention.ts";
import { mul } from "../../ops/binary.ts";
import { layerNorm } from "../../ops/layer-norm.ts";
import { rotaryEmbedding } from "../../ops/rotary-embedding.ts";
import { DTypeError } from "../../tensor/errors.ts";
import type { Shape } from "../../tensor/shape.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { weightOf } from "../weights.ts";
import { type AnyWeight, blockTypeOf, constantOf } from "./config.ts";
import { type RopeConfig, ropeTables } from "./rope.ts";
import { product, rowsOf } from "./stored.ts";

export type BlockActivation = "gelu" | "geluTanh" | "relu" | "silu";

export interface BlockConfig {
  readonly width: number;
  readonly heads: number;
  /** Of the feed-forward layers. */
  readonly hidden: number;
  /** Of layer norms. */
  readonly epsilon: number;
  readonly activation: BlockActivation;
}

/** Names of a layer's parts. */
export interface AttentionNames {
  readonly q: string;
  readonly k: string;
  readonly v: string;
  readonly out: string;
}

interface SelfAttention {
  readonly mask?: SymbolicValue;
  /** Positions of queries and keys, where they are rotary. */
  readonly rotate?: (x: SymbolicValue) => SymbolicValue;
  /** Tokens that one sees on either side. Default: all. */
  readonly window?: number;
}

/** Weights by name. Matrices of products, and the table of words, may be in blocks. */
export type BlockWeights = ReadonlyMap<string, AnyWeight>;

export class Blocks {
  private readonly constants = new Map<AnyWeight, SymbolicValue>();

  constructor(
    private readonly g: GraphDefinition,
    private readonly weights: BlockWeights,
    private readonly config: BlockConfig,
  ) {}

  /** @throws InputError for a weight that is missing, ShapeError for one of another shape, DTypeError for blocks */
  named(name: string, shape: Shape): SymbolicValue {
    return this.g.weight(this.floats(name, shape));
  }

  /** The weight itself. Throws as `named`. */
  floats(name: string, shape: Shape): HostTensor {
    const w = weightOf(this.weights, name, shape);
    const type = blockTypeOf(w);
    if (type) throw new DTypeError(`weights: "${name}" is ${type}, not f32`);
    return constantOf(w);
  }

  /** Rows of a table [rows, columns]. */
  rows(name: string, indices: SymbolicValue, shape: readonly [rows: number, columns: number]): SymbolicValue {
    const table = weightOf(this.weights, name, shape);
    return rowsOf(indices, table, this.constant(table));
  }

  norm(name: string, x: SymbolicValue): SymbolicValue {
    const { width, epsilon } = this.config;
    return layerNorm(x, this.named(`${name}.weight`, [width]), this.named(`${name}.bias`, [width]), { epsilon });
  }

  /** act(x W^T + bias) + residual for a weight [n, k], with the bias where there is one. */
  linear(
    name: string,
    x: SymbolicValue,
    [n, k]: readonly [number, number],
    rest: { residual?: SymbolicValue; activation?: Activation } = {},
  ): SymbolicValue {
    const bias = this.weights.has(`${name}.bias`) ? this.named(`${name}.bias`, [n]) : undefined;
    return this.product(`${name}.weight`, x, [n, k], { ...rest, bias });
  }

  /** The same by the weight's own name. */
  product(
    name: string,
    x: SymbolicValue,
    shape: readonly [n: number, k: number],
    rest: { bias?: SymbolicValue; residual?: SymbolicValue; activation?: Activation } = {},
  ): SymbolicValue {
    const w = weightOf(this.weights, name, shape);
    return product(x, w, this.constant(w), rest);
  }

  /** One constant for each weight, however often it is used. */
  private constant(w: AnyWeight): SymbolicValue {
    const known = this.constants.get(w) ?? this.g.weight(constantOf(w));
    this.constants.set(w, known);
    return known;
  }

  /** residual + attention of x to itself. */
  selfAttention(
    names: AttentionNames,
    x: SymbolicValue,
    residual: SymbolicValue,
    { mask, rotate = (part) => part, window }: SelfAttention = {},
  ): SymbolicValue {
    const { width, heads } = this.config;
    const project = (name: string): SymbolicValue => this.linear(name, x, [width, width]);
    const [q, k] = [names.q, names.k].map((name) => rotate(project(name)));
    const attrs = { heads, leftWindow: window, rightWindow: window };
    const attended = attention(q, k, project(names.v), mask, attrs);
    return this.linear(names.out, attended, [width, width], { residual });
  }

  /** Turns queries or keys by their places in texts of at most `positions` tokens. */
  rotation(rope: RopeConfig, positions: number): (x: SymbolicValue) => SymbolicValue {
    const { heads } = this.config;
    const { dim: rotaryDim, interleaved } = rope;
    const { weight } = this.g;
    const tables = ropeTables(rope, positions);
    const [cos, sin] = [weight(tables.cos), weight(tables.sin)];
    const first = weight({ dtype: "i32", shape: [1], data: Int32Array.of(0) });
    return (x) => rotaryEmbedding(x, cos, sin, first, { heads, interleaved, rotaryDim });
  }

  /** residual + the two products of a feed-forward layer, or the three of a gated one. */
  feedForward(up: string, down: string, x: SymbolicValue, residual: SymbolicValue, gate = ""): SymbolicValue {
    const { width, hidden, activation: kind } = this.config;
    const shape = [hidden, width] as const;
    const activation = { kind } as Activation;
    const inner = this.weights.has(`${gate}.weight`)
      ? mul(this.linear(gate, x, shape, { activation }), this.linear(up, x, shape))
      : this.linear(up, x, shape, { activation });
    return this.linear(down, inner, [width, hidden], { residual });
  }
}
