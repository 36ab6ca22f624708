/**
 * What a product may do to its result before storing it: y = activation(product + bias + residual). Graph passes
 * rewrite `add` and activations that follow a product into these inputs and this attribute.
 */
import { toF64 } from "../tensor/convert.ts";
import { isFloat } from "../tensor/dtype.ts";
import { sameShape } from "../tensor/shape.ts";
import type { HostTensor, TensorType } from "../tensor/tensor.ts";
import { type Activation, applyActivation } from "./activation.ts";
import { dtypeError, sameDType, shapeError } from "./check.ts";

export interface EpilogueAttrs {
  /** Applied last. Float dtypes only. */
  activation?: Activation;
}

/**
 * Throws unless `bias` is [channels], `residual` has the type of `y`, and an activation has floats to work on.
 * Returns `y`.
 */
export function checkEpilogue(
  op: string,
  y: TensorType,
  channels: number,
  bias: TensorType | undefined,
  residual: TensorType | undefined,
  activation: Activation | undefined,
): TensorType {
  sameDType(op, y, bias, residual);
  if (bias && !sameShape(bias.shape, [channels])) shapeError(op, `bias must be [${channels}]`, bias, y);
  if (residual && !sameShape(residual.shape, y.shape)) shapeError(op, "residual differs from the output", residual, y);
  if (activation && !isFloat(y.dtype)) dtypeError(op, "activations need a float tensor", y);
  return y;
}

/** y[i] = activation(y[i] + bias[channelOf(i)] + residual[i]) on doubles. */
export function applyEpilogue(
  y: Float64Array,
  bias: HostTensor | undefined,
  channelOf: (i: number) => number,
  residual: HostTensor | undefined,
  activation: Activation | undefined,
): void {
  const b = bias && toF64(bias);
  const r = residual && toF64(residual);
  for (let i = 0; i < y.length; i++) {
    if (b) y[i] += b[channelOf(i)];
    if (r) y[i] += r[i];
    y[i] = applyActivation(activation, y[i]);
  }
}
