/** What encoders and encoder-decoders are made of, over named weights. */
import type { GraphDefinition, SymbolicValue } from "../../graph/builder.ts";
import type { Activation } from "../../ops/activation.ts";
import { attention } from "../../ops/attention.ts";
import { layerNorm } from "../../ops/layer-norm.ts";
import { matmul } from "../../ops/matmul.ts";
import type { Shape } from "../../tensor/shape.ts";
import { type Weights, weightOf } from "../weights.ts";

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

export class Blocks {
  constructor(
    private readonly g: GraphDefinition,
    private readonly weights: Weights,
    private readonly config: BlockConfig,
  ) {}

  /** @throws InputError for a weight that is missing, ShapeError for one of another shape */
  named(name: string, shape: Shape): SymbolicValue {
    return this.g.weight(weightOf(this.weights, name, shape));
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
    const w = this.named(`${name}.weight`, [n, k]);
    return matmul(x, w, bias, rest.residual, { transposeB: true, activation: rest.activation });
  }

  /** residual + attention of x to itself. */
  selfAttention(names: AttentionNames, x: SymbolicValue, residual: SymbolicValue, mask?: SymbolicValue): SymbolicValue {
    const { width, heads } = this.config;
    const project = (name: string): SymbolicValue => this.linear(name, x, [width, width]);
    const attended = attention(project(names.q), project(names.k), project(names.v), mask, { heads });
    return this.linear(names.out, attended, [width, width], { residual });
  }

  /** residual + the two products of a feed-forward layer. */
  feedForward(up: string, down: string, x: SymbolicValue, residual: SymbolicValue): SymbolicValue {
    const { width, hidden, activation: kind } = this.config;
    const inner = this.linear(up, x, [hidden, width], { activation: { kind } as Activation });
    return this.linear(down, inner, [width, hidden], { residual });
  }
}
