/** ONNX batch normalisation -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { batchNorm, batchNormTraining } from "../../../ops/batch-norm.ts";
import { flatten } from "../../../ops/flatten.ts";
import { reshape } from "../../../ops/reshape.ts";
import { shape } from "../../../ops/shape.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";

function batchNormalization(n: OnnxNode): readonly SymbolicValue[] {
  const x = n.input(0);
  const given = [1, 2, 3, 4].map((i) => n.input(i)) as Quadruple;
  const epsilon = n.float("epsilon", 1e-5);
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

export const batchNormLowerings: LoweringTable = { BatchNormalization: batchNormalization };
