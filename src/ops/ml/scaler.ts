import { fromF64, toF64 } from "../../tensor/convert.ts";
import { isBig } from "../../tensor/dtype.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { dtypeError, shapeError } from "../check.ts";
import { defineOp } from "../op.ts";
import { expectFeatures } from "./common.ts";

export interface ScalerAttrs {
  /** One for all features, or one each. Default 0. */
  offset?: readonly number[];
  /** Default 1. */
  scale?: readonly number[];
}

function perFeature(op: string, x: TensorType, name: string, values: readonly unknown[]): void {
  if (values.length !== 1 && values.length !== (x.shape.at(-1) ?? 1))
    shapeError(op, `${values.length} values of "${name}" do not fit the last dimension`, x);
}

/** (x - offset) * scale along the last dimension, as f32. (ai.onnx.ml Scaler.) */
export const scaler = /* @__PURE__ */ defineOp({
  name: "scaler",
  inputs: ["x"],
  infer([x], { offset = [0], scale = [1] }: ScalerAttrs) {
    expectFeatures("scaler", x);
    perFeature("scaler", x, "offset", offset);
    perFeature("scaler", x, "scale", scale);
    return { dtype: "f32", shape: x.shape };
  },
  reference([x], { offset = [0], scale = [1] }, [y]) {
    fromF64(
      toF64(x).map((v, i) => (v - offset[i % offset.length]) * scale[i % scale.length]),
      y,
    );
  },
});

export interface ImputerAttrs {
  /** What to replace; NaN finds NaNs. */
  replaced: number | bigint;
  /** What comes in its place: one for all features, or one each. Whole numbers for i64. */
  imputed: readonly (number | bigint)[];
}

/** `x` with one value replaced by another. (ai.onnx.ml Imputer.) */
export const imputer = /* @__PURE__ */ defineOp({
  name: "imputer",
  inputs: ["x"],
  infer([x], { imputed }: ImputerAttrs) {
    expectFeatures("imputer", x);
    perFeature("imputer", x, "imputed", imputed);
    if (x.dtype === "i64" && imputed.some((v) => typeof v === "number" && !Number.isInteger(v)))
      dtypeError("imputer", `${imputed} are not whole, as x is`, x);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x], { replaced, imputed }, [y]) {
    const nan = Number.isNaN(replaced);
    const into = (i: number): number | bigint => imputed[i % imputed.length];
    if (isBig(x.dtype)) {
      const out = y.data as BigInt64Array;
      (x.data as BigInt64Array).forEach((v, i) => {
        // biome-ignore lint/suspicious/noDoubleEquals: a bigint and a number are equal where their values are
        out[i] = v == replaced ? BigInt(into(i)) : v;
      });
      return;
    }
    fromF64(
      toF64(x).map((v, i) => ((nan ? Number.isNaN(v) : v === Number(replaced)) ? Number(into(i)) : v)),
      y,
    );
  },
});

/** 1 where x > threshold (default 0), else 0, in the dtype of `x`. (ai.onnx.ml Binarizer.) */
export const binarizer = /* @__PURE__ */ defineOp({
  name: "binarizer",
  inputs: ["x"],
  infer([x], _: { threshold?: number }) {
    expectFeatures("binarizer", x);
    return { dtype: x.dtype, shape: x.shape };
  },
  reference([x], { threshold = 0 }, [y]) {
    fromF64(
      toF64(x).map((v) => (v > threshold ? 1 : 0)),
      y,
    );
  },
});

export interface NormalizerAttrs {
  /** What each row is divided by: its largest value, the sum of magnitudes, or the Euclidean norm. Default "MAX". */
  norm?: "MAX" | "L1" | "L2";
}

/** Rows divided by their norm, as f32; a row of norm 0 stays. (ai.onnx.ml Normalizer.) */
export const normalizer = /* @__PURE__ */ defineOp({
  name: "normalizer",
  inputs: ["x"],
  infer([x]) {
    expectFeatures("normalizer", x);
    return { dtype: "f32", shape: x.shape };
  },
  reference([x], { norm = "MAX" }: NormalizerAttrs, [y]) {
    const n = x.shape.at(-1) ?? 1;
    const out = Float64Array.from(toF64(x));
    for (let at = 0; at < out.length; at += n) {
      const row = out.subarray(at, at + n);
      const size = row.reduce(
        (s, v) => {
          if (norm === "MAX") return Math.max(s, v);
          return s + (norm === "L1" ? Math.abs(v) : v * v);
        },
        norm === "MAX" ? Number.NEGATIVE_INFINITY : 0,
      );
      const divisor = norm === "L2" ? Math.sqrt(size) : size;
      if (divisor !== 0)
        row.forEach((v, i) => {
          row[i] = v / divisor;
        });
    }
    fromF64(out, y);
  },
});
