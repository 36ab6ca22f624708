/**
 * conv + batchNorm -> conv: y = s (w * x + b - mean) + beta with s = scale / sqrt(variance + epsilon), so the weights
 * are scaled by s and the bias becomes s (b - mean) + beta. Computed in float64, once.
 *
 * Legal when everything but x is constant, the convolution has no other reader, and no epilogue yet.
 */
import { fromF64, toF64 } from "../../tensor/convert.ts";
import { emptyTensor, type HostTensor } from "../../tensor/tensor.ts";
import type { Rule } from "./rewrite.ts";

export const foldBatchNorm: Rule = (node, context) => {
  if (node.op.name !== "batchNorm" || node.attrs["training"] || node.inputs[0] === undefined) return undefined;
  const conv = context.producer(node.inputs[0]);
  if (conv?.op.name !== "conv" || context.uses(conv.outputs[0]) !== 1) return undefined;
  if (conv.attrs["activation"] || conv.inputs[3] !== undefined) return undefined;
  const constant = (id: number | undefined): HostTensor | undefined =>
    id === undefined ? undefined : context.constant(id);
  const [scale, beta, mean, variance] = node.inputs.slice(1).map(constant);
  const weights = constant(conv.inputs[1]);
  const bias = constant(conv.inputs[2]);
  if (!scale || !beta || !mean || !variance || !weights || (conv.inputs[2] !== undefined && !bias)) return undefined;

  const channels = weights.shape[0];
  const epsilon = (node.attrs["epsilon"] as number | undefined) ?? 1e-5;
  const [s, b, m, v] = [scale, beta, mean, variance].map(toF64);
  const factor = s.map((x, c) => x / Math.sqrt(v[c] + epsilon));
  const weightsId = conv.inputs[1]!;
  const inPlace = context.uses(weightsId) === 1 && context.owns(weightsId);
  const newWeights = scaled(weights, factor, inPlace ? weights : emptyTensor(weights));
  const newBias = emptyTensor({ dtype: weights.dtype, shape: [channels] });
  const old = bias ? toF64(bias) : new Float64Array(channels);
  fromF64(
    old.map((x, c) => factor[c] * (x - m[c]) + b[c]),
    newBias,
  );
  const inputs = [conv.inputs[0], context.addConstant(newWeights), context.addConstant(newBias)];
  return [{ ...conv, inputs, outputs: node.outputs.slice(0, 1) }];
};

/** The weights with each output channel times its factor. f32 goes without copies in float64: weights are large. */
function scaled(weights: HostTensor, factor: Float64Array, out: HostTensor): HostTensor {
  const size = weights.data.length / factor.length;
  if (weights.dtype === "f32") {
    const [from, to] = [weights.data as Float32Array, out.data as Float32Array];
    factor.forEach((f, c) => {
      for (let i = c * size; i < (c + 1) * size; i++) to[i] = from[i] * f;
    });
  } else
    fromF64(
      toF64(weights).map((x, i) => x * factor[Math.floor(i / size)]),
      out,
    );
  return out;
}
