/** ONNX normalisations of channels and neighbourhoods -> ours. */
import { groupNorm, instanceNorm } from "../../../ops/group-norm.ts";
import { localResponseNorm, lpNorm, meanVarianceNorm } from "../../../ops/local-norm.ts";
import type { LoweringTable } from "../node.ts";

export const otherNormLowerings: LoweringTable = {
  InstanceNormalization: (n) => instanceNorm(n.input(0), n.input(1), n.input(2), { epsilon: n.float("epsilon", 1e-5) }),
  GroupNormalization: (n) =>
    groupNorm(n.input(0), n.input(1), n.input(2), {
      groups: n.int("num_groups", 0),
      epsilon: n.float("epsilon", 1e-5),
    }),
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
