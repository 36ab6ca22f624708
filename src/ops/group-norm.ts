/** Normalisation over each sample's own elements: by groups of channels, or by single ones. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { channelsFirst, expectPerChannel } from "./batch-norm.ts";
import { expectFloat, expectRank, shapeError } from "./check.ts";
import { defineOp } from "./op.ts";

export interface InstanceNormAttrs {
  /** Default 1e-5. */
  epsilon?: number;
}

export interface GroupNormAttrs extends InstanceNormAttrs {
  /** Number of groups; divides the number of channels. */
  groups: number;
}

/** `groups` of x's channels, each normalised on its own; scale and bias have one element a channel or one a group. */
function normalizeGroups(
  x: HostTensor,
  scale: Float64Array,
  bias: Float64Array,
  groups: number,
  epsilon: number,
): Float64Array {
  const src = toF64(x);
  const out = new Float64Array(src.length);
  const { batch, channels, inner } = channelsFirst(x);
  const size = (channels / groups) * inner;
  const scaled = src.length / batch / scale.length;
  for (let b = 0; b < batch; b++)
    for (let g = 0; g < groups; g++) {
      const at = (b * groups + g) * size;
      let mean = 0;
      for (let i = 0; i < size; i++) mean += src[at + i];
      mean /= size;
      let variance = 0;
      for (let i = 0; i < size; i++) variance += (src[at + i] - mean) ** 2;
      variance /= size;
      for (let i = 0; i < size; i++) {
        const p = Math.floor((g * size + i) / scaled);
        out[at + i] = ((src[at + i] - mean) / Math.sqrt(variance + epsilon)) * scale[p] + bias[p];
      }
    }
  return out;
}

function checked(op: string, x: TensorType, counts: readonly number[], perChannel: readonly TensorType[]): TensorType {
  expectFloat(op, x);
  expectRank(op, x, 2, Number.POSITIVE_INFINITY);
  const given = perChannel[0].shape[0];
  expectPerChannel(op, x, counts.includes(given) ? given : counts[0], perChannel);
  return { dtype: x.dtype, shape: x.shape };
}

/**
 * Instance normalisation (https://arxiv.org/abs/1607.08022): every channel of every sample to mean 0 and variance 1,
 * then * scale + bias. x [batch, channels, ...], scale and bias [channels]; output like `x`.
 */
export const instanceNorm = /* @__PURE__ */ defineOp({
  name: "instanceNorm",
  inputs: ["x", "scale", "bias"],
  infer([x, scale, bias], _attrs: InstanceNormAttrs) {
    return checked("instanceNorm", x, [channelsFirst(x).channels], [scale, bias]);
  },
  reference([x, scale, bias], { epsilon = 1e-5 }, [y]) {
    fromF64(normalizeGroups(x, toF64(scale), toF64(bias), channelsFirst(x).channels, epsilon), y);
  },
});

/**
 * Group normalisation (https://arxiv.org/abs/1803.08494): x [batch, channels, ...]; scale and bias have one element a
 * channel, or one a group (as ONNX had it before opset 21); output like `x`.
 */
export const groupNorm = /* @__PURE__ */ defineOp({
  name: "groupNorm",
  inputs: ["x", "scale", "bias"],
  infer([x, scale, bias], { groups }: GroupNormAttrs) {
    const { channels } = channelsFirst(x);
    if (!Number.isInteger(groups) || groups < 1 || channels % groups !== 0)
      shapeError("groupNorm", `${groups} groups do not divide ${channels} channels`, x);
    return checked("groupNorm", x, [channels, groups], [scale, bias]);
  },
  reference([x, scale, bias], { groups, epsilon = 1e-5 }, [y]) {
    fromF64(normalizeGroups(x, toF64(scale), toF64(bias), groups, epsilon), y);
  },
});
