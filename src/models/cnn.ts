/** Convolutional networks: LeNet's shape and residual networks, over PyTorch's weight names. */

import type { SymbolicValue } from "../graph/builder.ts";
import type { Graph } from "../graph/ir.ts";
import { add, div, sub } from "../ops/binary.ts";
import { globalAveragePool, maxPool } from "../ops/pool.ts";
import { reshape } from "../ops/reshape.ts";
import { relu } from "../ops/unary.ts";
import { InputError, ShapeError } from "../tensor/errors.ts";
import { hostTensor } from "../tensor/host-tensor.ts";
import { checkOptions } from "../tensor/options.ts";
import { formatType, sameShape } from "../tensor/shape.ts";
import { areSizes, checkNames, type Layers, layers, network } from "./layers.ts";
import { checkWeights, numbered, type Weights, weightOf } from "./weights.ts";

export interface CnnConfig {
  /** Default "image", f32 [batch, channels, height, width]. */
  input?: string;
  /** Default "logits", [batch, classes]. */
  output?: string;
  /** [channels, height, width]. */
  inputShape: readonly [number, number, number];
  batchNormEpsilon?: number;
  /** Per channel; (x - mean) / std happens in the graph. */
  mean?: readonly number[];
  std?: readonly number[];
}

const known = { input: true, output: true, inputShape: true, batchNormEpsilon: true, mean: true, std: true } as const;

/** With the defaults of names. */
function checkedConfig(who: string, weights: Weights, config: CnnConfig) {
  checkOptions<CnnConfig>(who, config, known);
  checkWeights(who, weights);
  const { input = "image", output = "logits", inputShape, batchNormEpsilon = 0, mean, std } = config;
  checkNames(who, { input, output });
  if (!areSizes(inputShape) || inputShape.length !== 3)
    throw new InputError(`${who}: inputShape takes [channels, height, width]`);
  if (!(Number.isFinite(batchNormEpsilon) && batchNormEpsilon >= 0))
    throw new InputError(`${who}: batchNormEpsilon takes a number from 0`);
  const [channels] = inputShape;
  for (const [name, list] of Object.entries({ mean, std }))
    if (list !== undefined && !(Array.isArray(list) && list.length === channels && list.every(Number.isFinite)))
      throw new InputError(`${who}: ${name} takes an array of ${channels} numbers, one a channel`);
  if (std?.includes(0)) throw new InputError(`${who}: std takes no 0, which nothing can be divided by`);
  return { input, output };
}

/** Normalises an image per channel, if the configuration says so. */
function normalized(
  x: SymbolicValue,
  weight: (t: ReturnType<typeof hostTensor>) => SymbolicValue,
  config: CnnConfig,
): SymbolicValue {
  const perChannel = (values: readonly number[]): SymbolicValue =>
    weight(hostTensor(Float32Array.from(values), { shape: [1, values.length, 1, 1] }));
  if (config.mean) x = sub(x, perChannel(config.mean));
  return config.std ? div(x, perChannel(config.std)) : x;
}

/** Of a convolution with an odd kernel. */
const samePadding = (weights: Weights, name: string): number =>
  Math.floor(weightOf(weights, `${name}.weight`, [-1, -1, -1, -1]).shape[2] / 2);

/** The sum of what a block makes and what passes it. An addition would broadcast the one of fewer channels. */
function residual(block: string, inner: SymbolicValue, x: SymbolicValue): SymbolicValue {
  if (inner.type && x.type && !sameShape(inner.type.shape, x.type.shape))
    throw new ShapeError(
      `resnet: "${block}" makes ${formatType(inner.type)} and ${formatType(x.type)} passes it: its weights, or those of "${block}.shortcut", don't fit`,
    );
  return add(inner, x);
}

const flat = (x: SymbolicValue): SymbolicValue => reshape(x, [0, -1]);

/**
 * LeNet-like: `convN` (same padding for the first, none after), `bnN` if there, relu, 2x2 max pooling; then `fcN` with
 * relu between. LeCun et al. 1998, with batch normalisation.
 * @throws InputError for unknown options, and for values that they don't take; InputError, ShapeError, DTypeError for weights that
 * are missing or don't fit
 */
export function lenet(weights: Weights, config: CnnConfig): Graph {
  const { input, output } = checkedConfig("lenet", weights, config);
  const convs = numbered(weights, /^(conv\d+)\.weight$/);
  const fcs = numbered(weights, /^(fc\d+)\.weight$/);
  if (convs.length === 0 || fcs.length === 0)
    throw new InputError("lenet: the weights need conv1.weight and fc1.weight");
  return network("lenet", (g, batch) => {
    const net = layers(g, weights);
    let x = normalized(g.input(input, "f32", [batch, ...config.inputShape]), g.weight, config);
    convs.forEach((name, i) => {
      const padding = i === 0 ? samePadding(weights, name) : 0;
      x = net.conv(name, x, { padding });
      const bn = name.replace("conv", "bn");
      if (weights.has(`${bn}.weight`)) x = net.batchNorm(bn, x, config.batchNormEpsilon);
      [x] = maxPool(relu(x), { kernelShape: [2, 2], strides: [2, 2] });
    });
    x = flat(x);
    fcs.forEach((name, i) => {
      x = net.linear(name, x);
      if (i < fcs.length - 1) x = relu(x);
    });
    return { [output]: x };
  });
}

/**
 * A small residual network (https://arxiv.org/abs/1512.03385): `stem`, blocks `layerN.a`, `layerN.b` with a
 * `layerN.shortcut` where the size changes, global average pooling, `fc`. Blocks with a shortcut have stride 2.
 * @throws InputError for unknown options, and for values that they don't take; InputError, ShapeError, DTypeError for weights that
 * are missing or don't fit
 */
export function resnet(weights: Weights, config: CnnConfig): Graph {
  const { input, output } = checkedConfig("resnet", weights, config);
  const blocks = numbered(weights, /^(layer\d+)\./);
  if (blocks.length === 0) throw new InputError('resnet: the weights have no "layer1.a.conv.weight"');
  return network("resnet", (g, batch) => {
    const net = layers(g, weights);
    const unit = (name: string, x: SymbolicValue, stride = 1): SymbolicValue =>
      convUnit(net, weights, name, x, stride, config);
    let x = normalized(g.input(input, "f32", [batch, ...config.inputShape]), g.weight, config);
    x = relu(unit("stem", x));
    for (const block of blocks) {
      const down = weights.has(`${block}.shortcut.conv.weight`);
      const inner = unit(`${block}.b`, relu(unit(`${block}.a`, x, down ? 2 : 1)));
      x = relu(residual(block, inner, down ? unit(`${block}.shortcut`, x, 2) : x));
    }
    return { [output]: net.linear("fc", flat(globalAveragePool(x))) };
  });
}

/** Convolution with same padding, then batch normalisation. */
function convUnit(
  net: Layers,
  weights: Weights,
  name: string,
  x: SymbolicValue,
  stride: number,
  config: CnnConfig,
): SymbolicValue {
  const padding = samePadding(weights, `${name}.conv`);
  return net.batchNorm(`${name}.bn`, net.conv(`${name}.conv`, x, { stride, padding }), config.batchNormEpsilon);
}
