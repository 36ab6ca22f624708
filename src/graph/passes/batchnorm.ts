/**
 * conv + batchNorm -> conv: y = s (w * x + b - mean) + beta with s = scale / sqrt(variance + epsilon), so the weights
 * are scaled by s and the bias becomes s (b - mean) + beta. Computed in float64, once.
 *
 * Legal when everything but x is constant, of floats, vectors of one element for each output channel where it isn't the
 * weights; the convolution has no other reader, and no epilogue yet. What is no such vector is left for the operators to
 * refuse.
 */
import { fromF64, toF64 } from "../../tensor/convert.ts";
import { type DType, isFloat, type TypedArray } from "../../tensor/dtype.ts";
import { type Shape, sameShape, sizeOf } from "../../tensor/shape.ts";
import { emptyTensor, type HostTensor } from "../../tensor/tensor.ts";
import { Elements, inBytes, Weight } from "../../tensor/weight.ts";
import type { Rule } from "./rewrite.ts";

/** Elements from which weights are large. */
const largeWeight = 1 << 14;

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
  const isVector = (t: HostTensor): boolean => isFloat(t.dtype) && sameShape(t.shape, [channels]);
  if (![scale, beta, mean, variance].every(isVector)) return undefined;
  if (bias && !(isVector(bias) && bias.dtype === weights.dtype)) return undefined;
  const epsilon = (node.attrs["epsilon"] as number | undefined) ?? 1e-5;
  const [s, b, m, v] = [scale, beta, mean, variance].map(toF64);
  const factor = s.map((x, c) => x / Math.sqrt(v[c] + epsilon));
  const weightsId = conv.inputs[1]!;
  const inPlace = context.uses(weightsId) === 1 && context.owns(weightsId);
  const newWeights = scaled(weights, factor, inPlace);
  const old = bias ? toF64(bias) : new Float64Array(channels);
  const newBias = rounded(
    weights.dtype,
    [channels],
    old.map((x, c) => factor[c] * (x - m[c]) + b[c]),
  );
  const inputs = [conv.inputs[0], context.addConstant(newWeights), context.addConstant(newBias)];
  return [{ ...conv, inputs, outputs: node.outputs.slice(0, 1) }];
};

/**
 * The weights with each output channel times its factor. Large ones are left as they are until a device is about to take them:
 * they would be in memory twice.
 */
function scaled(weights: HostTensor, factor: Float64Array, inPlace: boolean): HostTensor {
  const { dtype, shape } = weights;
  const count = sizeOf(shape);
  const size = count / factor.length;
  if (dtype !== "f32" || (weights instanceof Weight && weights.stored))
    return rounded(
      dtype,
      shape,
      toF64(weights).map((x, i) => x * factor[Math.floor(i / size)]),
    );
  const change = (part: TypedArray, at: number): void => scale(part as Float32Array, at, size, factor);
  if (weights instanceof Weight && weights.elements.pending)
    return new Weight(dtype, shape, weights.elements.changed(change));
  const { data } = weights as { data: Float32Array };
  if (inPlace || count < largeWeight) {
    const own = inPlace ? data : data.slice();
    change(own, 0);
    return { dtype, shape, data: own };
  }
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return new Weight(dtype, shape, Elements.stored(inBytes(bytes, dtype)).changed(change));
}

/** Multiplies elements from number `at` on, each of which belongs to one of the channels of `size`. */
function scale(elements: Float32Array, at: number, size: number, factor: Float64Array): void {
  for (let i = 0; i < elements.length; ) {
    const channel = Math.floor((at + i) / size);
    const end = Math.min(elements.length, (channel + 1) * size - at);
    for (const f = factor[channel]; i < end; i++) elements[i] *= f;
  }
}

function rounded(dtype: DType, shape: Shape, values: Float64Array): HostTensor {
  const t = emptyTensor({ dtype, shape });
  fromF64(values, t);
  return t;
}
