/** ONNX normalisations of rows, for transformers -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { add } from "../../../ops/binary.ts";
import { layerNorm, layerNormStatistics, rmsNorm } from "../../../ops/layer-norm.ts";
import type { Lowering, LoweringTable, OnnxNode } from "../node.ts";

const EPSILON = 1e-5;

function statistics(n: OnnxNode, x: SymbolicValue, epsilon: number, axis = -1): readonly SymbolicValue[] {
  return layerNormStatistics(x, { axis, epsilon, dtype: n.dtype("stash_type", "f32") });
}

function layerNormalization(n: OnnxNode): (SymbolicValue | undefined)[] {
  const x = n.input(0);
  const attrs = { axis: n.int("axis", -1), epsilon: n.float("epsilon", EPSILON) };
  const y = layerNorm(x, n.input(1), n.optional(2), attrs);
  return n.wants(1) || n.wants(2) ? [y, ...statistics(n, x, attrs.epsilon, attrs.axis)] : [y];
}

function rmsNormalization(n: OnnxNode): SymbolicValue {
  if (n.wants(1)) n.unsupported("the output inv_std_var");
  return rmsNorm(n.input(0), n.input(1), { axis: n.int("axis", -1), epsilon: n.float("epsilon", EPSILON) });
}

/** ONNX Runtime's normalised sum of a layer and its residual. The sum is the fourth output. */
const skipNormalization =
  (simplified: boolean): Lowering =>
  (n) => {
    const bias = n.optional(simplified ? 3 : 4);
    const sum = add(n.input(0), n.input(1));
    const x = bias ? add(sum, bias) : sum;
    const epsilon = n.float("epsilon", 1e-12);
    if (simplified && (n.wants(1) || n.wants(2))) n.unsupported("the outputs mean and inv_std_var");
    const y = simplified ? rmsNorm(x, n.input(2), { epsilon }) : layerNorm(x, n.input(2), n.optional(3), { epsilon });
    const [mean, inverse] = n.wants(1) || n.wants(2) ? statistics(n, x, epsilon) : [];
    return [y, mean, inverse, x];
  };

export const normLowerings: LoweringTable = {
  LayerNormalization: layerNormalization,
  RMSNormalization: rmsNormalization,
  // ONNX Runtime writes this one into the standard's domain.
  SimplifiedLayerNormalization: rmsNormalization,
  "com.microsoft::SimplifiedLayerNormalization": rmsNormalization,
  SkipLayerNormalization: skipNormalization(false),
  "com.microsoft::SkipLayerNormalization": skipNormalization(false),
  SkipSimplifiedLayerNormalization: skipNormalization(true),
  "com.microsoft::SkipSimplifiedLayerNormalization": skipNormalization(true),
};
