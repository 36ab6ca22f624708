/**
 * The names of attributes, for what JavaScript does not tell: `conv(x, w, { stride: 2 })` would convolve with strides of 1.
 * Graphs and tensors as users write them load this; models from files do without.
 */
import { InputError } from "../tensor/errors.ts";
import { checkOptions } from "../tensor/options.ts";
import { areUsual } from "../tensor/usual.ts";
import type * as operators from "./index.ts";
import type { AnyOp, Attrs, AttrsOf, OpDef } from "./op.ts";

/** By operator. Those that are not here have no attributes. */
const names = {
  affineGrid: "alignCorners",
  appendCache: "heads",
  argMax: "axis keepDims selectLastIndex",
  argMin: "axis keepDims selectLastIndex",
  attention: "heads kvHeads scale causal softcap leftWindow rightWindow",
  attentionScores: "stage heads kvHeads scale causal softcap leftWindow rightWindow",
  averagePool: "countIncludePad kernelShape ceilMode strides dilations pads autoPad",
  batchNorm: "epsilon",
  batchNormTraining: "momentum epsilon",
  bernoulli: "seed dtype",
  binarizer: "threshold",
  bitCast: "to",
  bitShift: "direction",
  blackmanWindow: "periodic dtype",
  cachedAttention: "scale softcap leftWindow heads kvHeads",
  cast: "to saturate roundMode",
  castLike: "saturate roundMode",
  categoryMapper: "names numbers defaultName defaultNumber",
  causalConv: "activation",
  celu: "alpha",
  centerCropPad: "axes",
  col2im: "strides dilations pads",
  compress: "axis",
  concat: "axis",
  constantOfShape: "value",
  conv: "groups kernelShape strides dilations pads autoPad activation",
  convInteger: "groups kernelShape strides dilations pads autoPad",
  convIntegerToFloat: "groups kernelShape strides dilations pads autoPad",
  convTranspose: "outputPadding outputShape groups kernelShape strides dilations pads autoPad activation",
  cumProd: "exclusive reverse",
  cumSum: "exclusive reverse",
  deformConv: "offsetGroups strides dilations pads groups kernelShape",
  depthToSpace: "blockSize mode",
  dequantizeLinear: "dtype axis blockSize",
  dft: "inverse onesided",
  dropout: "seed",
  dynamicQuantizeLinear: "perRow",
  einsum: "equation",
  elu: "alpha",
  eyeLike: "dtype k",
  featureVectorizer: "widths",
  flatten: "axis",
  gather: "axis",
  gatherElements: "axis",
  gatherNd: "batchDims",
  gelu: "approximate",
  gemm: "alpha beta transposeA transposeB activation",
  globalLpPool: "p",
  gridSample: "mode paddingMode alignCorners",
  groupNorm: "groups epsilon",
  gru: "linearBeforeReset direction clip activations batchFirst",
  hammingWindow: "periodic dtype",
  hannWindow: "periodic dtype",
  hardmax: "axis",
  hardSigmoid: "alpha beta",
  imageDecoder: "pixelFormat",
  imputer: "replaced imputed",
  instanceNorm: "epsilon",
  isInf: "detectNegative detectPositive",
  labelEncoder: "keys values fallback",
  layerNorm: "axis epsilon",
  layerNormStatistics: "dtype axis epsilon",
  leakyRelu: "alpha",
  linearAttention: "heads kvHeads updateRule scale",
  linearClassifier: "labels coefficients intercepts post",
  linearRegressor: "targets coefficients intercepts post",
  localResponseNorm: "size alpha beta bias",
  logSoftmax: "axis",
  lpNorm: "axis p",
  lpPool: "p kernelShape ceilMode strides dilations pads autoPad",
  lstm: "inputForget quantizeState direction clip activations batchFirst",
  matmul: "alpha transposeA transposeB activation",
  matmulNBits: "k n blockSize bits",
  maxPool: "columnMajor kernelShape ceilMode strides dilations pads autoPad",
  maxRoiPool: "pooledShape spatialScale",
  maxUnpool: "kernelShape strides pads",
  meanVarianceNorm: "axes",
  melWeightMatrix: "dtype",
  mod: "fmod",
  multinomial: "sampleSize dtype seed",
  nllLoss: "reduction ignoreIndex",
  nonMaxSuppression: "centerPointBox",
  normalizer: "norm",
  oneHot: "axis",
  oneHotEncoder: "categories zeros",
  pad: "mode",
  qlinearConv: "groups kernelShape strides dilations pads autoPad",
  quantizedGather: "rows type k",
  quantizedMatmul: "n exact type k activation",
  quantizeLinear: "dtype precision saturate axis blockSize",
  randomNormal: "shape dtype seed mean scale",
  randomUniform: "shape dtype seed low high",
  reduceL1: "keepDims noopWithEmptyAxes",
  reduceL2: "keepDims noopWithEmptyAxes",
  reduceLogSum: "keepDims noopWithEmptyAxes",
  reduceLogSumExp: "keepDims noopWithEmptyAxes",
  reduceMax: "keepDims noopWithEmptyAxes",
  reduceMean: "keepDims noopWithEmptyAxes",
  reduceMin: "keepDims noopWithEmptyAxes",
  reduceProd: "keepDims noopWithEmptyAxes",
  reduceSum: "keepDims noopWithEmptyAxes",
  reduceSumSquare: "keepDims noopWithEmptyAxes",
  regexFullMatch: "pattern",
  reshape: "allowZero",
  resize:
    "mode coordinateTransformationMode nearestMode cubicCoeffA excludeOutside antialias extrapolationValue axes keepAspectRatioPolicy",
  reverseSequence: "batchAxis timeAxis",
  rmsNorm: "axis epsilon",
  rnn: "direction clip activations batchFirst",
  roiAlign: "mode outputHeight outputWidth samplingRatio spatialScale coordinateTransformationMode",
  rotaryEmbedding: "heads rotaryDim interleaved",
  scaler: "offset scale",
  scatterElements: "axis reduction",
  scatterNd: "reduction",
  selu: "alpha gamma",
  shape: "start end",
  shrink: "bias lambda",
  softmax: "axis",
  spaceToDepth: "blockSize mode",
  split: "axis parts",
  stft: "onesided",
  stringNormalizer: "changeCase stopwords caseSensitive locale",
  stringSplit: "delimiter maxSplit",
  svmClassifier: "labels vectorsPerClass probA probB kernel kernelParams supportVectors coefficients rho post",
  svmRegressor: "oneClass kernel kernelParams supportVectors coefficients rho post",
  swiglu: "alpha",
  swish: "alpha",
  tensorScatter: "axis mode",
  tfidfVectorizer: "mode minGramLength maxGramLength maxSkipCount ngramCounts ngramIndexes pool weights",
  thresholdedRelu: "alpha",
  topk: "axis largest sorted",
  transpose: "perm",
  treeEnsemble: "aggregate dtype forest base post",
  treeEnsembleClassifier: "labels forest base post",
  trilu: "upper",
  unique: "axis sorted",
} as const;

type Operators = typeof operators;
type NamesOf<Op> = Op extends AnyOp ? keyof AttrsOf<Op> : never;
type Words<S extends string> = S extends `${infer Word} ${infer Rest}` ? Word | Words<Rest> : S;
type Listed<Name> = Name extends keyof typeof names ? Words<(typeof names)[Name]> : never;
/** Operators whose attributes are others than those of the table: one makes the next line an error that names it. */
type Wrong = {
  [Name in keyof Operators]: [NamesOf<Operators[Name]>, Listed<Name>] extends [Listed<Name>, NamesOf<Operators[Name]>]
    ? never
    : Name;
}[keyof Operators];
const table: Record<Wrong, never> & Readonly<Record<string, string>> = names;

/** @throws InputError for an attribute that the operator doesn't have: with the nearest one and all */
export function checkAttributes({ name }: OpDef, attrs: Attrs): void {
  const known = Object.hasOwn(table, name) ? table[name] : "";
  if (areUsual(attrs, known)) return;
  if (known === "") throw new InputError(`${name}: has no attributes, got "${Object.keys(attrs)[0]}"`);
  checkOptions(name, attrs, Object.fromEntries(known.split(" ").map((attr) => [attr, true])));
}
