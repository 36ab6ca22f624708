/** ONNX normalisations -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { batchNorm, batchNormTraining } from "../../../ops/batch-norm.ts";
import { add } from "../../../ops/binary.ts";
import { flatten } from "../../../ops/flatten.ts";
import { groupNorm, instanceNorm } from "../../../ops/group-norm.ts";
import { layerNorm, layerNormStatistics, rmsNorm } from "../../../ops/layer-norm.ts";
import { localResponseNorm, lpNorm, meanVarianceNorm } from "../../../ops/local-norm.ts";
import { reshape } from "../../../ops/reshape.ts";
import { shape } from "../../../ops/shape.ts";
import type { Lowering, LoweringTable, OnnxNode } from "../node.ts";

const EPSILON = 1e-5;

function batchNormalization(n: OnnxNode): readonly SymbolicValue[] {
  const x = n.input(0);
  const given = [1, 2, 3, 4].map((i) => n.input(i)) as Quadruple;
  const epsilon = n.float("epsilon", EPSILON);
  // Opset 14 says so; before that the outputs do.
  const training = n.opset >= 14 ? n.flag("training_mode") : n.wants(1) || n.wants(2);
  if (n.wants(3) || n.wants(4)) n.unsupported("the outputs saved_mean and saved_var");
  const run = (x: SymbolicValue, q: Quadruple): readonly SymbolicValue[] =>
    training
      ? batchNormTraining(x, ...q, { epsilon, momentum: n.float("momentum", 0.9) })
      : [batchNorm(x, ...q, { epsilon })];
  if (n.flag("spatial", true)) return run(x, given);
  // Statistics of every single activation: one channel each.
  const [y, ...running] = run(flatten(x, { axis: 1 }), given.map((t) => reshape(t, [-1])) as Quadruple);
  return [reshape(y, shape(x), { allowZero: true }), ...running.map((t) => reshape(t, shape(given[0])))];
}

type Quadruple = [SymbolicValue, SymbolicValue, SymbolicValue, SymbolicValue];

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
  BatchNormalization: batchNormalization,
  InstanceNormalization: (n) =>
    instanceNorm(n.input(0), n.input(1), n.input(2), { epsilon: n.float("epsilon", EPSILON) }),
  GroupNormalization: (n) =>
    groupNorm(n.input(0), n.input(1), n.input(2), {
      groups: n.int("num_groups", 0),
      epsilon: n.float("epsilon", EPSILON),
    }),
  LayerNormalization: layerNormalization,
  RMSNormalization: rmsNormalization,
  // ONNX Runtime writes this one into the standard's domain.
  SimplifiedLayerNormalization: rmsNormalization,
  "com.microsoft::SimplifiedLayerNormalization": rmsNormalization,
  SkipLayerNormalization: skipNormalization(false),
  "com.microsoft::SkipLayerNormalization": skipNormalization(false),
  SkipSimplifiedLayerNormalization: skipNormalization(true),
  "com.microsoft::SkipSimplifiedLayerNormalization": skipNormalization(true),
  LRN: (n) =>
    localResponseNorm(n.input(0), {
      size: n.int("size", 0),
      alpha: n.float("alpha", 1e-4),
      beta: n.float("beta", 0.75),
      bias: n.float("bias", 1),
    }),
  LpNormalization: (n) => lpNorm(n.input(0), { axis: n.int("axis", -1), p: n.int("p", 2) as 1 | 2 }),
  MeanVarianceNormalization: (n) => meanVarianceNorm(n.input(0), { axes: n.ints("axes") ?? [0, 2, 3] }),
};
