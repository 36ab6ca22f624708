/** Every public operator, one line each. */

export { add, div, max, min, mod, mul, pow, prelu, sub, swiglu } from "./binary.ts";
export { bitShift, bitwiseAnd, bitwiseNot, bitwiseOr, bitwiseXor } from "./bitwise.ts";
export { bitCast, cast, castLike } from "./cast.ts";
export { clip } from "./clip.ts";
export { equal, greater, greaterOrEqual, isInf, isNan, less, lessOrEqual } from "./compare.ts";
export { and, not, or, xor } from "./logical.ts";
export { dequantizeLinear, dynamicQuantizeLinear, quantizeLinear } from "./quantize.ts";
export { bernoulli, dropout, multinomial, randomNormal, randomUniform } from "./random.ts";
export { reshape } from "./reshape.ts";
export { softmax } from "./softmax.ts";
export {
  abs,
  acos,
  acosh,
  asin,
  asinh,
  atan,
  atanh,
  ceil,
  celu,
  cos,
  cosh,
  elu,
  erf,
  exp,
  floor,
  gelu,
  hardSigmoid,
  hardSwish,
  identity,
  leakyRelu,
  log,
  mish,
  neg,
  reciprocal,
  relu,
  round,
  selu,
  shrink,
  sigmoid,
  sign,
  silu,
  sin,
  sinh,
  softplus,
  softsign,
  sqrt,
  swish,
  tan,
  tanh,
  thresholdedRelu,
} from "./unary.ts";
export { where } from "./where.ts";
