/** A multi-layer perceptron over `fc1 ... fcN` weights, with standardisation of the input if the weights have it. */
import type { Graph } from "../graph/ir.ts";
import { div, sub } from "../ops/binary.ts";
import { reshape } from "../ops/reshape.ts";
import { relu, sigmoid, tanh } from "../ops/unary.ts";
import { InputError, ShapeError } from "../tensor/errors.ts";
import { checkOptions } from "../tensor/options.ts";
import { sizeOf } from "../tensor/shape.ts";
import { areSizes, checkNames, layers, network } from "./layers.ts";
import { checkWeights, type Weights, weightOf } from "./weights.ts";

export interface MlpConfig {
  /** Name of the input, f32 [batch, features], or [batch, ...inputShape]. Default "x". */
  input?: string;
  /** Dimensions after the batch, flattened at the start. Default: the first layer's inputs. */
  inputShape?: readonly number[];
  /** Default "y", [batch, outputs]. */
  output?: string;
  /** Between the layers. Default relu. */
  activation?: "relu" | "tanh" | "sigmoid";
  /** After the last. Default none. */
  final?: "sigmoid";
}

const activations = { relu, tanh, sigmoid };

const known = { input: true, inputShape: true, output: true, activation: true, final: true } as const;

/**
 * @param weights `fc1.weight` [out, in], `fc1.bias`, ... in order; `mean` and `std` [features] standardise the input
 * @throws InputError for options and activations that there are none of; InputError, ShapeError, DTypeError for weights that are
 * missing or don't fit; ShapeError for an inputShape of another size than the first layer's inputs
 */
export function mlp(weights: Weights, config: MlpConfig = {}): Graph {
  checkOptions("mlp", config, known);
  checkWeights("mlp", weights);
  const { input = "x", output = "y", activation = "relu", final, inputShape } = config;
  checkNames("mlp", { input, output });
  for (const name of [activation, final ?? "sigmoid"])
    if (!Object.hasOwn(activations, name))
      throw new InputError(`mlp: there is no activation "${name}". There are: ${Object.keys(activations).join(", ")}`);
  const count = [...weights.keys()].filter((name) => /^fc\d+\.weight$/.test(name)).length;
  if (count === 0) throw new InputError('mlp: the weights have no "fc1.weight"');
  const features = weightOf(weights, "fc1.weight", [-1, -1]).shape[1];
  if (inputShape !== undefined && !areSizes(inputShape))
    throw new InputError("mlp: inputShape takes the dimensions after the batch, as [1, 28, 28]");
  if (inputShape && sizeOf(inputShape) !== features)
    throw new ShapeError(
      `mlp: inputShape [${inputShape}] holds ${sizeOf(inputShape)} elements, "fc1.weight" takes ${features}`,
    );
  const shape = inputShape ?? [features];
  return network("mlp", (g, batch) => {
    const { linear } = layers(g, weights);
    let x = g.input(input, "f32", [batch, ...shape]);
    if (shape.length !== 1) x = reshape(x, [0, features]);
    if (weights.has("mean")) x = sub(x, g.weight(weightOf(weights, "mean", [features])));
    if (weights.has("std")) x = div(x, g.weight(weightOf(weights, "std", [features])));
    for (let i = 1; i <= count; i++) {
      x = linear(`fc${i}`, x);
      if (i < count) x = activations[activation](x);
    }
    return { [output]: final ? activations[final](x) : x };
  });
}
