/** ONNX random operators and Dropout -> ours. */
import { castLike } from "../../../ops/cast.ts";
import type { Attrs } from "../../../ops/op.ts";
import { bernoulli, dropout, multinomial, randomNormal, randomUniform } from "../../../ops/random.ts";
import { identity } from "../../../ops/unary.ts";
import type { Lowering, LoweringTable, OnnxNode } from "../node.ts";

const normalAttrs = (n: OnnxNode) => ({
  seed: n.float("seed"),
  mean: n.float("mean", 0),
  scale: n.float("scale", 1),
});
const uniformAttrs = (n: OnnxNode) => ({ seed: n.float("seed"), low: n.float("low", 0), high: n.float("high", 1) });
const fresh = (n: OnnxNode): Attrs => ({ shape: n.ints("shape"), dtype: n.dtype("dtype", "f32") });

/** Without training, dropout changes nothing. */
const dropoutLowering: Lowering = (n) => {
  const x = n.input(0);
  const ratio = n.opset < 12 ? undefined : n.optional(1);
  const training = n.opset < 12 ? undefined : n.optional(2);
  const inference = !training || training.constant?.data[0] === 0;
  if (inference && !n.wants(1)) return identity(x);
  const [y, mask] = dropout(x, ratio, training, { seed: n.int("seed") });
  // The mask was a float tensor once.
  return n.opset < 10 ? [y, castLike(mask, x)] : [y, mask];
};

export const randomLowerings: LoweringTable = {
  RandomNormal: (n) => n.builder.run(randomNormal.op, [], { ...fresh(n), ...normalAttrs(n) }),
  RandomUniform: (n) => n.builder.run(randomUniform.op, [], { ...fresh(n), ...uniformAttrs(n) }),
  RandomNormalLike: (n) => randomNormal(n.input(0), { dtype: n.dtype("dtype", undefined), ...normalAttrs(n) }),
  RandomUniformLike: (n) => randomUniform(n.input(0), { dtype: n.dtype("dtype", undefined), ...uniformAttrs(n) }),
  Bernoulli: (n) => bernoulli(n.input(0), { dtype: n.dtype("dtype", undefined), seed: n.float("seed") }),
  Multinomial: (n) => {
    const dtype = n.dtype("dtype", "i32");
    if (dtype !== "i32" && dtype !== "i64") return n.unsupported(`dtype ${dtype}`);
    return multinomial(n.input(0), { sampleSize: n.int("sample_size", 1), seed: n.float("seed"), dtype });
  },
  Dropout: dropoutLowering,
};
