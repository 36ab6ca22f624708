/**
 * Random tensors. A seed (its integer part) makes them reproducible; without one every run differs. The generator is
 * a Mersenne twister, so that seeded results equal NumPy's RandomState.
 */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { type DType, isFloat } from "../tensor/dtype.ts";
import { DTypeError, ShapeError } from "../tensor/errors.ts";
import type { Shape } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import { encodeNumbers } from "./cast.ts";
import { expectDType, expectFloat, expectRank, shapeError } from "./check.ts";
import { MersenneTwister } from "./mersenne-twister.ts";
import { defineOp } from "./op.ts";

export interface SeedAttrs {
  seed?: number;
}

export interface RandomAttrs extends SeedAttrs {
  /** Default: that of `like`. */
  shape?: Shape;
  /** A float dtype. Default: that of `like`, or f32. */
  dtype?: DType;
}

const generator = ({ seed }: SeedAttrs): MersenneTwister =>
  new MersenneTwister(seed === undefined ? undefined : Math.trunc(seed));

function inferRandom(op: string, like: TensorType | undefined, attrs: RandomAttrs): TensorType {
  const shape = attrs.shape ?? like?.shape;
  if (!shape) throw new ShapeError(`${op}: needs a shape, or a tensor that has it`, { op });
  const dtype = attrs.dtype ?? like?.dtype ?? "f32";
  if (!isFloat(dtype)) throw new DTypeError(`${op}: makes float tensors, not ${dtype}`, { op, types: [dtype] });
  return { dtype, shape };
}

/** Normally distributed. mean: default 0, scale (the standard deviation): default 1. `like` gives shape and dtype only. */
export const randomNormal = /* @__PURE__ */ defineOp({
  name: "randomNormal",
  random: true,
  inputs: ["like?"],
  infer([like], attrs: RandomAttrs & { mean?: number; scale?: number }) {
    return inferRandom("randomNormal", like, attrs);
  },
  reference(_, { mean = 0, scale = 1, seed }, [y]) {
    const random = generator({ seed });
    fromF64(
      Float64Array.from(y.data as ArrayLike<number>, () => mean + scale * random.normal()),
      y,
    );
  },
});

/** Uniform in [low, high). low: default 0, high: default 1. `like` gives shape and dtype only. */
export const randomUniform = /* @__PURE__ */ defineOp({
  name: "randomUniform",
  random: true,
  inputs: ["like?"],
  infer([like], attrs: RandomAttrs & { low?: number; high?: number }) {
    return inferRandom("randomUniform", like, attrs);
  },
  reference(_, { low = 0, high = 1, seed }, [y]) {
    const random = generator({ seed });
    fromF64(
      Float64Array.from(y.data as ArrayLike<number>, () => low + (high - low) * random.uniform()),
      y,
    );
  },
});

/** 1 with the probability that the float `p` gives, else 0. dtype: default that of `p`. */
export const bernoulli = /* @__PURE__ */ defineOp({
  name: "bernoulli",
  random: true,
  inputs: ["p"],
  infer([p], { dtype = p.dtype }: SeedAttrs & { dtype?: DType }) {
    expectFloat("bernoulli", p);
    if (dtype === "string") throw new DTypeError("bernoulli: makes numbers, not string", { op: "bernoulli" });
    return { dtype, shape: p.shape };
  },
  reference([p], attrs, [y]) {
    const random = generator(attrs);
    fromF64(
      toF64(p).map((v) => (random.uniform() < v ? 1 : 0)),
      y,
    );
  },
});

export interface MultinomialAttrs extends SeedAttrs {
  /** Draws a row. Default 1. */
  sampleSize?: number;
  /** Default i32. */
  dtype?: "i32" | "i64";
}

/** Draws class numbers: logits[batch,classes], unnormalized log-probabilities -> [batch,sampleSize]. */
export const multinomial = /* @__PURE__ */ defineOp({
  name: "multinomial",
  random: true,
  inputs: ["logits"],
  infer([logits], { sampleSize = 1, dtype = "i32" }: MultinomialAttrs) {
    expectFloat("multinomial", logits);
    expectRank("multinomial", logits, 2);
    if (logits.shape[1] === 0) shapeError("multinomial", "no classes to draw from", logits);
    return { dtype, shape: [logits.shape[0], sampleSize] };
  },
  reference([logits], { sampleSize = 1, seed }, [y]) {
    const random = generator({ seed });
    const [batch, classes] = logits.shape;
    const x = toF64(logits);
    const out = new Float64Array(batch * sampleSize);
    for (let b = 0; b < batch; b++) {
      const row = x.subarray(b * classes, (b + 1) * classes);
      const top = row.reduce((m, v) => Math.max(m, v), -Infinity);
      const weights = row.map((v) => Math.exp(v - top));
      const total = weights.reduce((sum, w) => sum + w, 0);
      for (let s = 0; s < sampleSize; s++) {
        let rest = random.uniform() * total;
        let k = 0;
        while (k < classes - 1 && rest >= weights[k]) rest -= weights[k++];
        out[b * sampleSize + s] = k;
      }
    }
    fromF64(out, y);
  },
});

/**
 * In inference (`trainingMode` missing or false): a copy of `x`, and a mask of all true. In training: elements are
 * dropped with probability `ratio` (default 0.5) and the rest scaled by 1 / (1 - ratio).
 * Results: the tensor, and the bool mask of the elements kept.
 */
export const dropout = /* @__PURE__ */ defineOp({
  name: "dropout",
  random: true,
  inputs: ["x", "ratio?", "trainingMode?"],
  outputs: ["y", "mask"],
  infer([x, ratio, trainingMode], _: SeedAttrs) {
    expectFloat("dropout", x);
    if (ratio) expectFloat("dropout", ratio);
    if (trainingMode) expectDType("dropout", trainingMode, "bool");
    return [
      { dtype: x.dtype, shape: x.shape },
      { dtype: "bool", shape: x.shape },
    ];
  },
  reference([x, ratio, trainingMode], attrs, [y, mask]) {
    const drop = trainingMode?.data[0] ? (ratio ? toF64(ratio)[0] : 0.5) : 0;
    const random = drop > 0 ? generator(attrs) : undefined;
    const kept = mask.data as Uint8Array;
    const scaled = toF64(x).map((v, i) => {
      kept[i] = !random || random.uniform() >= drop ? 1 : 0;
      return kept[i] ? v / (1 - drop) : 0;
    });
    encodeNumbers(scaled, y);
  },
});
