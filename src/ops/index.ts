/** Every public operator, one line each. */

export { arrayFeatureExtractor } from "./array-feature-extractor.ts";
export { add, div, max, min, mod, mul, pow, prelu, sub, swiglu } from "./binary.ts";
export { bitShift, bitwiseAnd, bitwiseNot, bitwiseOr, bitwiseXor } from "./bitwise.ts";
export { bitCast, cast, castLike } from "./cast.ts";
export { centerCropPad } from "./center-crop-pad.ts";
export { clip } from "./clip.ts";
export { col2im } from "./col2im.ts";
export { equal, greater, greaterOrEqual, isInf, isNan, less, lessOrEqual } from "./compare.ts";
export { compress } from "./compress.ts";
export { concat } from "./concat.ts";
export { constantOfShape } from "./constant-of-shape.ts";
export { conv } from "./conv.ts";
export { convInteger, qlinearConv } from "./convInteger.ts";
export { convTranspose } from "./convTranspose.ts";
export { deformConv } from "./deformConv.ts";
export { depthToSpace, spaceToDepth } from "./depth-to-space.ts";
export { expand } from "./expand.ts";
export { eyeLike } from "./eye-like.ts";
export { flatten } from "./flatten.ts";
export { gather } from "./gather.ts";
export { gatherElements } from "./gather-elements.ts";
export { gatherNd } from "./gather-nd.ts";
export { gemm } from "./gemm.ts";
export { and, not, or, xor } from "./logical.ts";
export { matmul } from "./matmul.ts";
export { matmulInteger, matmulIntegerToFloat, qlinearMatmul } from "./matmulInteger.ts";
export { matmulNBits } from "./matmulNBits.ts";
export { maxUnpool } from "./maxUnpool.ts";
export { featureVectorizer } from "./ml/feature-vectorizer.ts";
export { labelEncoder, oneHotEncoder } from "./ml/label-encoder.ts";
export { linearClassifier, linearRegressor } from "./ml/linear.ts";
export { binarizer, imputer, normalizer, scaler } from "./ml/scaler.ts";
export { svmClassifier, svmRegressor } from "./ml/svm.ts";
export { treeEnsemble, treeEnsembleClassifier } from "./ml/tree-ensemble.ts";
export { nonZero } from "./non-zero.ts";
export { oneHot } from "./one-hot.ts";
export { pad } from "./pad.ts";
export { averagePool, globalAveragePool, globalLpPool, globalMaxPool, lpPool, maxPool } from "./pool.ts";
export { dequantizeLinear, dynamicQuantizeLinear, quantizeLinear } from "./quantize.ts";
export { bernoulli, dropout, multinomial, randomNormal, randomUniform } from "./random.ts";
export { range } from "./range.ts";
export { regexFullMatch } from "./regex-full-match.ts";
export { reshape } from "./reshape.ts";
export { reverseSequence } from "./reverse-sequence.ts";
export { scatterElements } from "./scatter-elements.ts";
export { scatterNd } from "./scatter-nd.ts";
export { shape, size } from "./shape.ts";
export { slice } from "./slice.ts";
export { softmax } from "./softmax.ts";
export { split } from "./split.ts";
export { squeeze } from "./squeeze.ts";
export { stringConcat } from "./string-concat.ts";
export { stringNormalizer } from "./string-normalizer.ts";
export { stringSplit } from "./string-split.ts";
export { tensorScatter } from "./tensor-scatter.ts";
export { tfidfVectorizer } from "./tfidf-vectorizer.ts";
export { tile } from "./tile.ts";
export { topk } from "./topk.ts";
export { transpose } from "./transpose.ts";
export { trilu } from "./trilu.ts";
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
export { unique } from "./unique.ts";
export { unsqueeze } from "./unsqueeze.ts";
export { where } from "./where.ts";
