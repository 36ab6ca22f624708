/**
 * The names of attributes, for what JavaScript does not tell: `conv(x, w, { stride: 2 })` would convolve with strides of 1.
 * Graphs and tensors as users write them load this; models from files do without.
 */
import type { BlockType } from "../tensor/blocks/types.ts";
import type { DType } from "../tensor/dtype.ts";
import { InputError } from "../tensor/errors.ts";
import { checkOptions } from "../tensor/options.ts";
import { printed } from "../tensor/tensor.ts";
import { areUsual } from "../tensor/usual.ts";
import { type Activation, applyActivation } from "./activation.ts";
import type * as operators from "./index.ts";
import type { AnyOp, Attrs, AttrsOf, OpDef } from "./op.ts";

/** By operator: `!` behind those that it needs, `:` before the words that one may be. Those that are not here have no attributes. */
const names = {
  affineGrid: "alignCorners",
  appendCache: "heads",
  argMax: "axis keepDims selectLastIndex",
  argMin: "axis keepDims selectLastIndex",
  attention: "heads kvHeads scale causal softcap leftWindow rightWindow",
  attentionScores: "stage:scaled|capped|masked|probabilities heads kvHeads scale causal softcap leftWindow rightWindow",
  averagePool: "countIncludePad kernelShape! ceilMode strides dilations pads autoPad:notset|sameUpper|sameLower|valid",
  batchNorm: "epsilon",
  batchNormTraining: "momentum epsilon",
  bernoulli: "seed dtype",
  binarizer: "threshold",
  bitCast: "to!",
  bitShift: "direction!:left|right",
  blackmanWindow: "periodic dtype",
  cachedAttention: "scale softcap leftWindow heads! kvHeads",
  cast: "to! saturate roundMode:up|down|nearest",
  castLike: "saturate roundMode:up|down|nearest",
  categoryMapper: "names! numbers! defaultName! defaultNumber!",
  causalConv: "activation:silu|none",
  celu: "alpha",
  centerCropPad: "axes",
  col2im: "strides dilations pads",
  compress: "axis",
  concat: "axis!",
  constantOfShape: "value",
  conv: "groups kernelShape strides dilations pads autoPad:notset|sameUpper|sameLower|valid activation",
  convInteger: "groups kernelShape strides dilations pads autoPad:notset|sameUpper|sameLower|valid",
  convIntegerToFloat: "groups kernelShape strides dilations pads autoPad:notset|sameUpper|sameLower|valid",
  convTranspose:
    "outputPadding outputShape groups kernelShape strides dilations pads autoPad:notset|sameUpper|sameLower|valid activation",
  cumProd: "exclusive reverse",
  cumSum: "exclusive reverse",
  deformConv: "offsetGroups strides dilations pads groups kernelShape",
  depthToSpace: "blockSize! mode:DCR|CRD",
  dequantizeLinear: "dtype axis blockSize",
  dft: "inverse onesided",
  dropout: "seed",
  dynamicQuantizeLinear: "perRow",
  einsum: "equation!",
  elu: "alpha",
  eyeLike: "dtype k",
  featureVectorizer: "widths",
  flatten: "axis",
  gather: "axis",
  gatherElements: "axis",
  gatherNd: "batchDims",
  gelu: "approximate:none|tanh",
  gemm: "alpha beta transposeA transposeB activation",
  globalLpPool: "p",
  gridSample: "mode:linear|nearest|cubic paddingMode:zeros|border|reflection alignCorners",
  groupNorm: "groups! epsilon",
  gru: "linearBeforeReset direction:forward|reverse|bidirectional clip activations batchFirst",
  hammingWindow: "periodic dtype",
  hannWindow: "periodic dtype",
  hardmax: "axis",
  hardSigmoid: "alpha beta",
  imageDecoder: "pixelFormat:RGB|BGR|Grayscale",
  imputer: "replaced! imputed!",
  instanceNorm: "epsilon",
  isInf: "detectNegative detectPositive",
  labelEncoder: "keys! values! fallback!",
  layerNorm: "axis epsilon",
  layerNormStatistics: "dtype axis epsilon",
  leakyRelu: "alpha",
  linearAttention: "heads! kvHeads! updateRule:linear|gated|delta|gated_delta scale",
  linearClassifier: "labels! coefficients! intercepts post:NONE|SOFTMAX|LOGISTIC|SOFTMAX_ZERO|PROBIT",
  linearRegressor: "targets coefficients! intercepts post:NONE|SOFTMAX|LOGISTIC|SOFTMAX_ZERO|PROBIT",
  localResponseNorm: "size! alpha beta bias",
  logSoftmax: "axis",
  lpNorm: "axis p",
  lpPool: "p kernelShape! ceilMode strides dilations pads autoPad:notset|sameUpper|sameLower|valid",
  lstm: "inputForget quantizeState direction:forward|reverse|bidirectional clip activations batchFirst",
  matmul: "alpha transposeA transposeB activation",
  matmulNBits: "k! n! blockSize! bits",
  maxPool: "columnMajor kernelShape! ceilMode strides dilations pads autoPad:notset|sameUpper|sameLower|valid",
  maxRoiPool: "pooledShape! spatialScale",
  maxUnpool: "kernelShape! strides pads",
  meanVarianceNorm: "axes",
  melWeightMatrix: "dtype",
  mod: "fmod",
  multinomial: "sampleSize dtype seed",
  nllLoss: "reduction:none|mean|sum ignoreIndex",
  nonMaxSuppression: "centerPointBox",
  normalizer: "norm:MAX|L1|L2",
  oneHot: "axis",
  oneHotEncoder: "categories! zeros",
  pad: "mode:constant|reflect|edge|wrap",
  qlinearConv: "groups kernelShape strides dilations pads autoPad:notset|sameUpper|sameLower|valid",
  quantizedGather: "rows! type! k!",
  quantizedMatmul: "n! exact type! k! activation",
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
  regexFullMatch: "pattern!",
  reshape: "allowZero",
  resize:
    "mode:nearest|linear|cubic coordinateTransformationMode:half_pixel|half_pixel_symmetric|pytorch_half_pixel|align_corners|asymmetric|tf_half_pixel_for_nn|tf_crop_and_resize nearestMode:round_prefer_floor|round_prefer_ceil|floor|ceil|simple cubicCoeffA excludeOutside antialias extrapolationValue axes keepAspectRatioPolicy:stretch|not_larger|not_smaller",
  reverseSequence: "batchAxis timeAxis",
  rmsNorm: "axis epsilon",
  rnn: "direction:forward|reverse|bidirectional clip activations batchFirst",
  roiAlign:
    "mode:avg|max outputHeight outputWidth samplingRatio spatialScale coordinateTransformationMode:half_pixel|output_half_pixel",
  rotaryEmbedding: "heads rotaryDim interleaved",
  scaler: "offset scale",
  scatterElements: "axis reduction:none|add|mul|max|min",
  scatterNd: "reduction:none|add|mul|max|min",
  selu: "alpha gamma",
  shape: "start end",
  shrink: "bias lambda",
  softmax: "axis",
  spaceToDepth: "blockSize! mode:DCR|CRD",
  split: "axis parts!",
  stft: "onesided",
  stringNormalizer: "changeCase:none|lower|upper stopwords caseSensitive locale",
  stringSplit: "delimiter maxSplit",
  svmClassifier:
    "labels! vectorsPerClass! probA probB kernel:LINEAR|POLY|RBF|SIGMOID kernelParams supportVectors! coefficients! rho! post:NONE|SOFTMAX|LOGISTIC|SOFTMAX_ZERO|PROBIT",
  svmRegressor:
    "oneClass kernel:LINEAR|POLY|RBF|SIGMOID kernelParams supportVectors! coefficients! rho! post:NONE|SOFTMAX|LOGISTIC|SOFTMAX_ZERO|PROBIT",
  swiglu: "alpha",
  swish: "alpha",
  tensorScatter: "axis mode:linear|circular",
  tfidfVectorizer:
    "mode!:TF|IDF|TFIDF minGramLength! maxGramLength! maxSkipCount! ngramCounts! ngramIndexes! pool! weights",
  thresholdedRelu: "alpha",
  topk: "axis largest sorted",
  transpose: "perm",
  treeEnsemble: "aggregate:SUM|AVERAGE|MIN|MAX dtype forest! base post:NONE|SOFTMAX|LOGISTIC|SOFTMAX_ZERO|PROBIT",
  treeEnsembleClassifier: "labels! forest! base post:NONE|SOFTMAX|LOGISTIC|SOFTMAX_ZERO|PROBIT",
  trilu: "upper",
  unique: "axis sorted",
} as const;

type Operators = typeof operators;
type Split<S extends string, By extends string> = S extends `${infer Word}${By}${infer Rest}`
  ? Word | Split<Rest, By>
  : S;
type Parsed<Word> = Word extends `${infer Name}:${infer Values}`
  ? [...Named<Name>, Split<Values, "|">]
  : [...Named<Word>, never];
type Named<Word> = Word extends `${infer Name}!` ? [Name, "required"] : [Word, "optional"];
type Listed<Name> = Name extends keyof typeof names ? Parsed<Split<(typeof names)[Name], " ">> : never;
/** Texts that there are few of: dtypes and block types are checked with the tensors. */
type Choices<T> = T extends DType | BlockType ? never : T extends string ? (string extends T ? never : T) : never;
type EntriesOf<A> = {
  [K in keyof A]-?: [K, object extends Pick<A, K> ? "optional" : "required", Choices<A[K]>];
}[keyof A];
type EntriesOfOp<Op> = Op extends AnyOp ? EntriesOf<AttrsOf<Op>> : never;
/** Operators whose attributes are others than those of the table: one makes the next line an error that names it. */
type Wrong = {
  [Name in keyof Operators]: [EntriesOfOp<Operators[Name]>, Listed<Name>] extends [
    Listed<Name>,
    EntriesOfOp<Operators[Name]>,
  ]
    ? never
    : Name;
}[keyof Operators];
const table: Record<Wrong, never> & Readonly<Record<string, string>> = names;

interface Known {
  readonly names: string;
  readonly required: readonly string[];
  readonly choices: readonly (readonly [name: string, values: readonly string[]])[];
}

const known = new Map<string, Known>();

/** The table's line of an operator, read once. */
function knownOf(op: string): Known {
  const before = known.get(op);
  if (before) return before;
  const words = Object.hasOwn(table, op) ? table[op].split(" ") : [];
  const parts = words.map((word) => word.split(/!?:|!/));
  const read = {
    names: parts.map(([name]) => name).join(" "),
    required: words.filter((word) => word.includes("!")).map((word) => word.replace(/!.*/, "")),
    choices: parts.flatMap(([name, values]) => (values ? [[name, values.split("|")] as const] : [])),
  };
  known.set(op, read);
  return read;
}

/**
 * @throws InputError for an attribute that the operator doesn't have, with the nearest one and all; for one that is missing;
 * and for a text, or an activation, that there is none of
 */
export function checkAttributes({ name: op }: OpDef, attrs: Attrs): void {
  const { names, required, choices } = knownOf(op);
  if (!areUsual(attrs, names)) {
    if (names === "") throw new InputError(`${op}: has no attributes, got "${Object.keys(attrs)[0]}"`);
    checkOptions(op, attrs, Object.fromEntries(names.split(" ").map((name) => [name, true])));
  }
  for (const name of required) if (attrs[name] === undefined) throw new InputError(`${op}: ${name} is missing`);
  for (const [name, values] of choices) {
    const value = attrs[name];
    if (value !== undefined && !values.includes(value as string))
      throw new InputError(`${op}: ${name} takes ${values.join(", ")}, got ${printed(value)}`);
  }
  const { activation, activations = [] } = attrs as { activation?: unknown; activations?: readonly unknown[] };
  // That of causalConv is a word.
  if (activation !== undefined && !choices.some(([name]) => name === "activation")) checkActivation(op, activation);
  for (const a of activations) checkActivation(op, a, ["affine", "scaledTanh"]);
}

/**
 * @param kinds of recurrent cells alone
 * @throws InputError for an activation that there is none of, and for one that lacks a number: it makes none, then
 */
function checkActivation(op: string, a: unknown, kinds: readonly string[] = []): void {
  const { kind, alpha, beta } = Object(a) as { kind: string; alpha?: number; beta?: number };
  const made = kinds.includes(kind)
    ? [alpha! + beta!]
    : [-1, 1].map((x) => applyActivation(Object(a) as Activation, x));
  if (made.some((y) => typeof y !== "number" || Number.isNaN(y)))
    throw new InputError(
      `${op}: ${printed(a)} is no activation; they are as { kind: "relu" } or { kind: "elu", alpha: 1 }`,
    );
}
