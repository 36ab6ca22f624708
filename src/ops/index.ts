/** Every public operator, one line each. */

export { affineGrid } from "./affine-grid.ts";
export { argMax, argMin } from "./arg-reduce.ts";
export { arrayFeatureExtractor } from "./array-feature-extractor.ts";
export { attention, attentionScores } from "./attention.ts";
export { batchNorm, batchNormTraining } from "./batch-norm.ts";
export { add, div, max, min, mod, mul, pow, prelu, sub, swiglu } from "./binary.ts";
export { bitShift, bitwiseAnd, bitwiseNot, bitwiseOr, bitwiseXor } from "./bitwise.ts";
export { cachedAttention } from "./cached-attention.ts";
export { bitCast, cast, castLike } from "./cast.ts";
export { causalConv } from "./causal-conv.ts";
export { centerCropPad } from "./center-crop-pad.ts";
export { clip } from "./clip.ts";
export { col2im } from "./col2im.ts";
export { equal, greater, greaterOrEqual, isInf, isNan, less, lessOrEqual } from "./compare.ts";
export { compress } from "./compress.ts";
export { concat } from "./concat.ts";
export { constantOfShape } from "./constant-of-shape.ts";
export { conv } from "./conv.ts";
export { convInteger, convIntegerToFloat, qlinearConv } from "./conv-integer.ts";
export { convTranspose } from "./conv-transpose.ts";
export { cumProd, cumSum } from "./cumulative.ts";
export { deformConv } from "./deform-conv.ts";
export { depthToSpace, spaceToDepth } from "./depth-to-space.ts";
export { det } from "./det.ts";
export { dft } from "./dft.ts";
export { einsum } from "./einsum.ts";
export { expand } from "./expand.ts";
export { eyeLike } from "./eye-like.ts";
export { flatten } from "./flatten.ts";
export { gather } from "./gather.ts";
export { gatherElements } from "./gather-elements.ts";
export { gatherNd } from "./gather-nd.ts";
export { gemm } from "./gemm.ts";
export { gridSample } from "./grid-sample.ts";
export { groupNorm, instanceNorm } from "./group-norm.ts";
export { gru } from "./gru.ts";
export { imageDecoder } from "./image-decoder.ts";
export { kvAppend } from "./kv-append.ts";
export { appendCache, cacheStart, keyPaddingMask } from "./kv-cache.ts";
export { layerNorm, layerNormStatistics, rmsNorm } from "./layer-norm.ts";
export { linearAttention } from "./linear-attention.ts";
export { localResponseNorm, lpNorm, meanVarianceNorm } from "./local-norm.ts";
export { and, not, or, xor } from "./logical.ts";
export { lstm } from "./lstm.ts";
export { matmul } from "./matmul.ts";
export { matmulInteger, matmulIntegerToFloat, qlinearMatmul } from "./matmul-integer.ts";
export { matmulNBits } from "./matmul-n-bits.ts";
export { maxRoiPool } from "./max-roi-pool.ts";
export { maxUnpool } from "./max-unpool.ts";
export { melWeightMatrix } from "./mel-weight-matrix.ts";
export { categoryMapper } from "./ml/category-mapper.ts";
export { featureVectorizer } from "./ml/feature-vectorizer.ts";
export { labelEncoder, oneHotEncoder } from "./ml/label-encoder.ts";
export { linearClassifier, linearRegressor } from "./ml/linear.ts";
export { binarizer, imputer, normalizer, scaler } from "./ml/scaler.ts";
export { svmClassifier, svmRegressor } from "./ml/svm.ts";
export { treeEnsemble, treeEnsembleClassifier } from "./ml/tree-ensemble.ts";
export { nllLoss } from "./nll-loss.ts";
export { nonMaxSuppression } from "./non-max-suppression.ts";
export { nonZero } from "./non-zero.ts";
export { oneHot } from "./one-hot.ts";
export { pad } from "./pad.ts";
export { averagePool, globalAveragePool, globalLpPool, globalMaxPool, lpPool, maxPool } from "./pool.ts";
export { dequantizeLinear, dynamicQuantizeLinear, quantizeLinear } from "./quantize.ts";
export { quantizedGather, quantizedMatmul } from "./quantized-matmul.ts";
export { bernoulli, dropout, multinomial, randomNormal, randomUniform } from "./random.ts";
export { range } from "./range.ts";
export {
  reduceL1,
  reduceL2,
  reduceLogSum,
  reduceLogSumExp,
  reduceMax,
  reduceMean,
  reduceMin,
  reduceProd,
  reduceSum,
  reduceSumSquare,
} from "./reduce.ts";
export { regexFullMatch } from "./regex-full-match.ts";
export { reshape } from "./reshape.ts";
export { resize } from "./resize.ts";
export { reverseSequence } from "./reverse-sequence.ts";
export { rnn } from "./rnn.ts";
export { roiAlign } from "./roi-align.ts";
export { rotaryEmbedding } from "./rotary-embedding.ts";
export { scatterElements } from "./scatter-elements.ts";
export { scatterNd } from "./scatter-nd.ts";
export { shape, size } from "./shape.ts";
export { slice } from "./slice.ts";
export { hardmax, logSoftmax, softmax } from "./softmax.ts";
export { split } from "./split.ts";
export { squeeze } from "./squeeze.ts";
export { stft } from "./stft.ts";
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
export { blackmanWindow, hammingWindow, hannWindow } from "./window-functions.ts";
