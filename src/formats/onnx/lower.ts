/**
 * The lowerings of all operators. Those of every second model are here from the start; the other families are loaded
 * when a model has an operator of theirs, so that nobody downloads tree ensembles to run a CNN.
 */
import type { LoweringTable } from "./node.ts";
import { elementwiseLowerings } from "./ops/elementwise.ts";
import { shapeLowerings } from "./ops/shape.ts";

const common: LoweringTable = { ...elementwiseLowerings, ...shapeLowerings };

/** The operator types of a family; `domain::` stands for all of a domain. */
export const families: readonly (readonly [types: string, load: () => Promise<LoweringTable>])[] = [
  ["MatMul Gemm com.microsoft::FusedMatMul", async () => (await import("./ops/matmul.ts")).matmulLowerings],
  [
    "Equal Greater GreaterOrEqual Less LessOrEqual And Or Xor Not IsNaN IsInf Where Cast CastLike",
    async () => (await import("./ops/logic.ts")).logicLowerings,
  ],
  ["Conv", async () => (await import("./ops/conv.ts")).convLowerings],
  [
    "MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool",
    async () => (await import("./ops/pool.ts")).poolLowerings,
  ],
  ["BatchNormalization", async () => (await import("./ops/batch-norm.ts")).batchNormLowerings],
  [
    "LayerNormalization RMSNormalization SimplifiedLayerNormalization " +
      "com.microsoft::SimplifiedLayerNormalization SkipLayerNormalization " +
      "com.microsoft::SkipLayerNormalization SkipSimplifiedLayerNormalization " +
      "com.microsoft::SkipSimplifiedLayerNormalization",
    async () => (await import("./ops/norm.ts")).normLowerings,
  ],
  ["Softmax LogSoftmax Hardmax", async () => (await import("./ops/softmax.ts")).softmaxLowerings],
  [
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum " +
      "ReduceSumSquare Mean",
    async () => (await import("./ops/reduce.ts")).reduceLowerings,
  ],
  ["ArgMax ArgMin CumSum CumProd", async () => (await import("./ops/reduce-other.ts")).otherReductionLowerings],
  [
    "Pad Tile EyeLike Trilu DepthToSpace SpaceToDepth CenterCropPad",
    async () => (await import("./ops/movement.ts")).movementLowerings,
  ],
  [
    "Attention ai.onnx.preview::FlexAttention RotaryEmbedding LinearAttention CausalConvWithState",
    async () => (await import("./ops/attention.ts")).attentionLowerings,
  ],
  [
    "GatherElements GatherND Scatter ScatterElements ScatterND TensorScatter NonZero Compress Unique " +
      "ReverseSequence OneHot TopK",
    async () => (await import("./ops/indexing.ts")).indexingLowerings,
  ],
  [
    "QuantizeLinear DequantizeLinear com.microsoft::QuantizeLinear com.microsoft::DequantizeLinear " +
      "DynamicQuantizeLinear",
    async () => (await import("./ops/quantize.ts")).quantizeLowerings,
  ],
  [
    "MatMulInteger QLinearMatMul com.microsoft::MatMulIntegerToFloat com.microsoft::DynamicQuantizeMatMul " +
      "ConvInteger QLinearConv",
    async () => (await import("./ops/quantize-products.ts")).quantizedProductLowerings,
  ],
  ["com.microsoft::MatMulNBits", async () => (await import("./ops/matmul-n-bits.ts")).nBitsLowerings],
  [
    "com.microsoft::MultiHeadAttention com.microsoft::Attention com.microsoft::GroupQueryAttention " +
      "com.microsoft::RotaryEmbedding",
    async () => (await import("./ops/attention-microsoft.ts")).microsoftAttentionLowerings,
  ],
  ["If Loop Scan SequenceMap", async () => (await import("./ops/control.ts")).controlLowerings],
  ["Upsample Resize GridSample AffineGrid ImageDecoder", async () => (await import("./ops/image.ts")).imageLowerings],
  ["ConvTranspose DeformConv Col2Im MaxUnpool", async () => (await import("./ops/conv-other.ts")).otherConvLowerings],
  [
    "InstanceNormalization GroupNormalization LRN LpNormalization MeanVarianceNormalization",
    async () => (await import("./ops/norm-other.ts")).otherNormLowerings,
  ],
  ["LSTM GRU RNN", async () => (await import("./ops/recurrent.ts")).recurrentLowerings],
  [
    "com.microsoft::DynamicQuantizeLSTM",
    async () => (await import("./ops/recurrent-microsoft.ts")).microsoftRecurrentLowerings,
  ],
  ["RoiAlign MaxRoiPool NonMaxSuppression Det", async () => (await import("./ops/detection.ts")).detectionLowerings],
  [
    "SequenceConstruct SequenceEmpty SequenceLength SequenceAt SequenceInsert SequenceErase " +
      "SplitToSequence ConcatFromSequence Optional OptionalGetElement OptionalHasElement",
    async () => (await import("./ops/sequence.ts")).sequenceLowerings,
  ],
  ["Einsum", async () => (await import("./ops/einsum.ts")).einsumLowerings],
  [
    "DFT STFT HannWindow HammingWindow BlackmanWindow MelWeightMatrix",
    async () => (await import("./ops/signal.ts")).signalLowerings,
  ],
  [
    "RandomNormal RandomUniform RandomNormalLike RandomUniformLike Bernoulli Multinomial Dropout",
    async () => (await import("./ops/random.ts")).randomLowerings,
  ],
  [
    "BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitShift BitCast",
    async () => (await import("./ops/bitwise.ts")).bitwiseLowerings,
  ],
  ["ai.onnx.ml::", async () => (await import("./ops/ml.ts")).mlLowerings],
  [
    "StringConcat StringSplit StringNormalizer RegexFullMatch TfIdfVectorizer",
    async () => (await import("./ops/strings.ts")).stringLowerings,
  ],
  [
    "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss ai.onnx.preview.training::Momentum " +
      "ai.onnx.preview.training::Adagrad ai.onnx.preview.training::Adam",
    async () => (await import("./ops/loss.ts")).lossLowerings,
  ],
];

/** A table that has these operator types, as far as they are known. */
export async function loweringsFor(types: Iterable<string>): Promise<LoweringTable> {
  const wanted = [...types].flatMap((type) => [type, type.replace(/[^:]*$/, "")]);
  const needed = families.filter(([names]) => {
    const own = new Set(names.split(" "));
    return wanted.some((type) => own.has(type));
  });
  return Object.assign({}, common, ...(await Promise.all(needed.map(([, load]) => load()))));
}

/** Every family: for documentation. */
export async function allLowerings(): Promise<LoweringTable> {
  return Object.assign({}, common, ...(await Promise.all(families.map(([, load]) => load()))));
}
