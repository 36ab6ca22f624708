import { fromF64, toF64 } from "../tensor/convert.ts";
import { sizeBetween } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import { expectFloat, expectRank, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

export interface BatchNormAttrs {
  /** Default 1e-5. */
  epsilon?: number;
}

export interface BatchNormTrainingAttrs extends BatchNormAttrs {
  /** Weight of the given statistics in the running ones. Default 0.9. */
  momentum?: number;
}

/** [batch, channels, inner] of a channels-first tensor. A vector is one channel per element's batch, as in ONNX. */
export function channelsFirst(x: TensorType): { batch: number; channels: number; inner: number } {
  const { shape } = x;
  return { batch: shape[0] ?? 1, channels: shape[1] ?? 1, inner: sizeBetween(shape, 2, shape.length) };
}

/** Every one of `perChannel` is a vector with one float for each channel of `x`. */
export function expectPerChannel(op: string, x: TensorType, count: number, perChannel: readonly TensorType[]): void {
  for (const t of perChannel) {
    expectFloat(op, t);
    if (t.shape.length !== 1 || t.shape[0] !== count) shapeError(op, `takes vectors of ${count} elements`, x, t);
  }
}

const checked = (op: string, x: TensorType, perChannel: readonly TensorType[]): TensorType => {
  expectFloat(op, x);
  expectRank(op, x, 1, Number.POSITIVE_INFINITY);
  expectPerChannel(op, x, channelsFirst(x).channels, perChannel);
  return { dtype: x.dtype, shape: x.shape };
};

/** (x - mean) / sqrt(variance + epsilon) * scale + bias by channel (axis 1), in doubles. */
function normalize(
  x: Float64Array,
  { batch, channels, inner }: ReturnType<typeof channelsFirst>,
  [scale, bias, mean, variance]: readonly Float64Array[],
  epsilon: number,
): Float64Array {
  const out = new Float64Array(x.length);
  for (let b = 0; b < batch; b++)
    for (let c = 0; c < channels; c++) {
      const factor = scale[c] / Math.sqrt(variance[c] + epsilon);
      const at = (b * channels + c) * inner;
      for (let i = at; i < at + inner; i++) out[i] = (x[i] - mean[c]) * factor + bias[c];
    }
  return out;
}

/**
 * Batch normalisation with given statistics (https://arxiv.org/abs/1502.03167): x [batch, channels, ...], the rest
 * [channels], any float dtypes; output like `x`.
 */
export const batchNorm = /* @__PURE__ */ defineOp({
  name: "batchNorm",
  inputs: ["x", "scale", "bias", "mean", "variance"],
  inplace: true,
  infer([x, ...perChannel], _attrs: BatchNormAttrs) {
    return checked("batchNorm", x, perChannel);
  },
  reference([x, ...perChannel], { epsilon = 1e-5 }, [y]) {
    fromF64(normalize(toF64(x), channelsFirst(x), perChannel.map(toF64), epsilon), y);
  },
});

/**
 * Batch normalisation with the batch's own statistics, as training does. Outputs: y, and the running mean and
 * (population) variance: given * momentum + current * (1 - momentum).
 */
export const batchNormTraining = /* @__PURE__ */ defineOp({
  name: "batchNormTraining",
  inputs: ["x", "scale", "bias", "mean", "variance"],
  outputs: ["y", "runningMean", "runningVariance"],
  infer([x, ...perChannel], _attrs: BatchNormTrainingAttrs) {
    const [, , mean, variance] = perChannel;
    return [
      checked("batchNormTraining", x, perChannel),
      { dtype: mean.dtype, shape: mean.shape },
      { dtype: variance.dtype, shape: variance.shape },
    ];
  },
  reference([x, scale, bias, mean, variance], { epsilon = 1e-5, momentum = 0.9 }, [y, runningMean, runningVariance]) {
    const src = toF64(x);
    const dims = channelsFirst(x);
    const { batch, channels, inner } = dims;
    const means = new Float64Array(channels);
    const variances = new Float64Array(channels);
    const each = (c: number, visit: (v: number) => void): void => {
      for (let b = 0; b < batch; b++) for (let i = 0; i < inner; i++) visit(src[(b * channels + c) * inner + i]);
    };
    for (let c = 0; c < channels; c++) {
      each(c, (v) => (means[c] += v));
      means[c] /= batch * inner;
      each(c, (v) => (variances[c] += (v - means[c]) ** 2));
      variances[c] /= batch * inner;
    }
    fromF64(normalize(src, dims, [toF64(scale), toF64(bias), means, variances], epsilon), y);
    const running = (given: Float64Array, current: Float64Array): Float64Array =>
      given.map((v, c) => v * momentum + current[c] * (1 - momentum));
    fromF64(running(toF64(mean), means), runningMean);
    fromF64(running(toF64(variance), variances), runningVariance);
  },
});
