/** Convolutional networks: LeNet's shape and residual networks, over PyTorch's weight names. */

import type { SymbolicValue } from "../graph/builder.ts";
import { graph } from "../graph/define.ts";
import type { Graph } from "../graph/ir.ts";
import { add, div, sub } from "../ops/binary.ts";
import { globalAveragePool, maxPool } from "../ops/pool.ts";
import { reshape } from "../ops/reshape.ts";
import { relu } from "../ops/unary.ts";
import { InputError } from "../tensor/errors.ts";
import { hostTensor } from "../tensor/host-tensor.ts";
import { checkOptions } from "../tensor/options.ts";
import { type Layers, layers } from "./layers.ts";
import { numbered, type Weights, weightOf } from "./weights.ts";

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

function checkConfig(who: string, config: CnnConfig): void {
  checkOptions<CnnConfig>(who, config, known);
  if (config.inputShape?.length !== 3) throw new InputError(`${who}: inputShape takes [channels, height, width]`);
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

const flat = (x: SymbolicValue): SymbolicValue => reshape(x, [0, -1]);

/**
 * LeNet-like: `convN` (same padding for the first, none after), `bnN` if there, relu, 2x2 max pooling; then `fcN` with
 * relu between. LeCun et al. 1998, with batch normalisation.
 * @throws InputError for unknown options; InputError, ShapeError for weights that are missing or don't fit
 */
export function lenet(weights: Weights, config: CnnConfig): Graph {
  checkConfig("lenet", config);
  const { input = "image", output = "logits", batchNormEpsilon } = config;
  const convs = numbered(weights, /^(conv\d+)\.weight$/);
  const fcs = numbered(weights, /^(fc\d+)\.weight$/);
  if (convs.length === 0 || fcs.length === 0)
    throw new InputError("lenet: the weights need conv1.weight and fc1.weight");
  return graph(
    (g) => {
      const net = layers(g, weights);
      let x = normalized(g.input(input, "f32", ["batch", ...config.inputShape]), g.weight, config);
      convs.forEach((name, i) => {
        const padding = i === 0 ? Math.floor(weightOf(weights, `${name}.weight`).shape[2] / 2) : 0;
        x = net.conv(name, x, { padding });
        const bn = name.replace("conv", "bn");
        if (weights.has(`${bn}.weight`)) x = net.batchNorm(bn, x, batchNormEpsilon);
        [x] = maxPool(relu(x), { kernelShape: [2, 2], strides: [2, 2] });
      });
      x = flat(x);
      fcs.forEach((name, i) => {
        x = net.linear(name, x);
        if (i < fcs.length - 1) x = relu(x);
      });
      return { [output]: x };
    },
    { name: "lenet" },
  );
}

/**
 * A small residual network (https://arxiv.org/abs/1512.03385): `stem`, blocks `layerN.a`, `layerN.b` with a
 * `layerN.shortcut` where the size changes, global average pooling, `fc`. Blocks with a shortcut have stride 2.
 * @throws InputError for unknown options; InputError, ShapeError for weights that are missing or don't fit
 */
export function resnet(weights: Weights, config: CnnConfig): Graph {
  checkConfig("resnet", config);
  const { input = "image", output = "logits" } = config;
  const blocks = numbered(weights, /^(layer\d+)\./);
  if (blocks.length === 0) throw new InputError('resnet: the weights have no "layer1.a.conv.weight"');
  return graph(
    (g) => {
      const net = layers(g, weights);
      const unit = (name: string, x: SymbolicValue, stride = 1): SymbolicValue =>
        convUnit(net, weights, name, x, stride, config);
      let x = normalized(g.input(input, "f32", ["batch", ...config.inputShape]), g.weight, config);
      x = relu(unit("stem", x));
      for (const block of blocks) {
        const down = weights.has(`${block}.shortcut.conv.weight`);
        const inner = unit(`${block}.b`, relu(unit(`${block}.a`, x, down ? 2 : 1)));
        x = relu(add(inner, down ? unit(`${block}.shortcut`, x, 2) : x));
      }
      return { [output]: net.linear("fc", flat(globalAveragePool(x))) };
    },
    { name: "resnet" },
  );
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
  const padding = Math.floor(weightOf(weights, `${name}.conv.weight`).shape[2] / 2);
  return net.batchNorm(`${name}.bn`, net.conv(`${name}.conv`, x, { stride, padding }), config.batchNormEpsilon);
}
