import { fromF64, toF64 } from "../../tensor/convert.ts";
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import { shapeError } from "../check.ts";
import { defineOp } from "../op.ts";
import {
  argmax,
  binaryScores,
  type Labels,
  labelType,
  type PostTransform,
  postTransform,
  rowsOf,
  writeLabel,
} from "./common.ts";

interface LinearAttrs {
  /** [targets, features], row-major. */
  coefficients: readonly number[];
  /** One for each target. Default 0. */
  intercepts?: readonly number[];
  /** Default "NONE". */
  post?: PostTransform;
}

export interface LinearRegressorAttrs extends LinearAttrs {
  /** Default 1. */
  targets?: number;
}

export interface LinearClassifierAttrs extends LinearAttrs {
  labels: Labels;
}

function check(op: string, x: TensorType, { coefficients, intercepts }: LinearAttrs, targets: number): number {
  const { rows, features } = rowsOf(op, x);
  if (coefficients.length !== targets * features)
    shapeError(op, `${coefficients.length} coefficients for ${targets} targets do not fit`, x);
  if (intercepts?.length && intercepts.length !== targets)
    shapeError(op, `${intercepts.length} intercepts for ${targets} targets`, x);
  return rows;
}

/** coefficients . row + intercepts of row r. */
function scoresOf(x: Float64Array, r: number, features: number, targets: number, a: LinearAttrs): Float64Array {
  return Float64Array.from({ length: targets }, (_, t) => {
    let sum = a.intercepts?.[t] ?? 0;
    for (let k = 0; k < features; k++) sum += x[r * features + k] * a.coefficients[t * features + k];
    return sum;
  });
}

/** Linear regression of rows [N, F], as f32 [N, targets]. (ai.onnx.ml LinearRegressor.) */
export const linearRegressor = /* @__PURE__ */ defineOp({
  name: "linearRegressor",
  inputs: ["x"],
  infer([x], attrs: LinearRegressorAttrs) {
    const { targets = 1 } = attrs;
    return { dtype: "f32", shape: [check("linearRegressor", x, attrs, targets), targets] };
  },
  reference([x], attrs, [y]) {
    const { rows, features } = rowsOf("linearRegressor", x);
    const { targets = 1, post = "NONE" } = attrs;
    const src = toF64(x);
    const out = new Float64Array(rows * targets);
    for (let r = 0; r < rows; r++) {
      const scores = scoresOf(src, r, features, targets, attrs);
      postTransform(post, scores);
      out.set(scores, r * targets);
    }
    fromF64(out, y);
  },
});

/** Sets of coefficients: one for two classes may stand for the second one. */
const targetsOf = ({ labels, coefficients }: LinearClassifierAttrs, features: number): number =>
  labels.length === 2 && coefficients.length === features ? 1 : labels.length;

/**
 * The class of every row [N, F] and its scores, f32 [N, classes]. A single set of coefficients for two
 * classes is the second one's: above 0 it wins, and the first one has the rest to 1. (ai.onnx.ml LinearClassifier.)
 */
export const linearClassifier = /* @__PURE__ */ defineOp({
  name: "linearClassifier",
  inputs: ["x"],
  outputs: ["labels", "scores"],
  infer([x], attrs: LinearClassifierAttrs) {
    const { features } = rowsOf("linearClassifier", x);
    const rows = check("linearClassifier", x, attrs, targetsOf(attrs, features));
    return [labelType(attrs.labels, [rows]), { dtype: "f32", shape: [rows, attrs.labels.length] }];
  },
  reference([x], attrs, [y, z]: readonly HostTensor[]) {
    const { rows, features } = rowsOf("linearClassifier", x);
    const { labels, post = "NONE" } = attrs;
    const targets = targetsOf(attrs, features);
    const src = toF64(x);
    const out = new Float64Array(rows * labels.length);
    for (let r = 0; r < rows; r++) {
      const scores = scoresOf(src, r, features, targets, attrs);
      if (targets < labels.length) {
        const [s] = scores;
        writeLabel(y, r, labels[s > 0 ? 1 : 0]);
        out.set(binaryScores(s, 1 - s, post), r * 2);
      } else {
        writeLabel(y, r, labels[argmax(scores)]);
        postTransform(post, scores);
        out.set(scores, r * labels.length);
      }
    }
    fromF64(out, z);
  },
});
