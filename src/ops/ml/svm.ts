import { fromF64, toF64 } from "../../tensor/convert.ts";
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import { shapeError } from "../check.ts";
import { defineOp } from "../op.ts";
import { argmax, type Labels, labelType, type PostTransform, postTransform, rowsOf, writeLabel } from "./common.ts";

export const svmKernels = ["LINEAR", "POLY", "RBF", "SIGMOID"] as const;

interface SvmAttrs {
  /** Default "LINEAR", which it is without support vectors. */
  kernel?: (typeof svmKernels)[number];
  /** gamma, coef0, degree. Default zeros. */
  kernelParams?: readonly number[];
  /** [vectors, features], row-major. Empty: the coefficients are a linear model's. */
  supportVectors: readonly number[];
  coefficients: readonly number[];
  rho: readonly number[];
  /** Default "NONE". */
  post?: PostTransform;
}

export interface SvmRegressorAttrs extends SvmAttrs {
  /** The result is 1 for an inlier, -1 for an outlier. */
  oneClass?: boolean;
}

export interface SvmClassifierAttrs extends SvmAttrs {
  labels: Labels;
  /** Number of support vectors of each class, in the order of the labels. */
  vectorsPerClass: readonly number[];
  /** Platt's A and B for each pair of classes; with them, the scores are probabilities. */
  probA?: readonly number[];
  probB?: readonly number[];
}

/** k(u, v) of libsvm. */
function kernelOf({
  kernel = "LINEAR",
  kernelParams = [],
  supportVectors,
}: SvmAttrs): (u: ArrayLike<number>, v: ArrayLike<number>) => number {
  const [gamma = 0, coef0 = 0, degree = 0] = kernelParams;
  const dot = (u: ArrayLike<number>, v: ArrayLike<number>): number => {
    let sum = 0;
    for (let i = 0; i < u.length; i++) sum += u[i] * v[i];
    return sum;
  };
  const distance = (u: ArrayLike<number>, v: ArrayLike<number>): number => {
    let sum = 0;
    for (let i = 0; i < u.length; i++) sum += (u[i] - v[i]) ** 2;
    return sum;
  };
  switch (supportVectors.length > 0 ? kernel : "LINEAR") {
    case "POLY":
      return (u, v) => (gamma * dot(u, v) + coef0) ** degree;
    case "RBF":
      return (u, v) => Math.exp(-gamma * distance(u, v));
    case "SIGMOID":
      return (u, v) => Math.tanh(gamma * dot(u, v) + coef0);
    default:
      return dot;
  }
}

/** Without the support vectors where none is counted to a class. */
const counted = (attrs: SvmClassifierAttrs): SvmAttrs =>
  attrs.vectorsPerClass.length > 0 ? attrs : { ...attrs, supportVectors: [] };

/** Rows of `values`, each `width` long. */
const rowsOfArray = (values: readonly number[], width: number): readonly number[][] =>
  Array.from({ length: width > 0 ? values.length / width : 0 }, (_, i) => values.slice(i * width, (i + 1) * width));

/** @param each how many coefficients there are for each support vector, or linear models without them */
function checkVectors(op: string, x: TensorType, { supportVectors, coefficients }: SvmAttrs, each: number) {
  const { rows, features } = rowsOf(op, x);
  const vectors = supportVectors.length / features;
  if (!Number.isInteger(vectors)) shapeError(op, "the support vectors do not fit the features", x);
  const wanted = each * (vectors || features);
  if (coefficients.length !== wanted) shapeError(op, `${coefficients.length} coefficients, not ${wanted}`, x);
  return { rows, vectors };
}

/** sum of coefficients[i] k(row, vector i) + rho for rows [N, F], as f32 [N, 1]. (ai.onnx.ml SVMRegressor.) */
export const svmRegressor = /* @__PURE__ */ defineOp({
  name: "svmRegressor",
  inputs: ["x"],
  infer([x], attrs: SvmRegressorAttrs) {
    return { dtype: "f32", shape: [checkVectors("svmRegressor", x, attrs, 1).rows, 1] };
  },
  reference([x], attrs, [y]) {
    const { rows, features } = rowsOf("svmRegressor", x);
    const { coefficients, supportVectors, rho, oneClass = false, post = "NONE" } = attrs;
    const src = toF64(x);
    const vectors = supportVectors.length > 0 ? rowsOfArray(supportVectors, features) : [coefficients];
    const weights = supportVectors.length > 0 ? coefficients : [1];
    const k = kernelOf(attrs);
    const out = Float64Array.from({ length: rows }, (_, r) => {
      const row = src.subarray(r * features, (r + 1) * features);
      const sum = vectors.reduce((s, v, i) => s + weights[i] * k(row, v), rho[0] ?? 0);
      const score = Float64Array.of(oneClass ? (sum > 0 ? 1 : -1) : sum);
      postTransform(post, score);
      return score[0];
    });
    fromF64(out, y);
  },
});

/**
 * Class and scores of every row [N, F] by one-against-one voting (libsvm), or by one linear model a class. Scores, f32:
 * probabilities [N, classes] where Platt's coefficients are given; otherwise the decision values, [N, pairs] for three or
 * more classes and [N, 2], the opposite of each other, for two. (ai.onnx.ml SVMClassifier.)
 */
export const svmClassifier = /* @__PURE__ */ defineOp({
  name: "svmClassifier",
  inputs: ["x"],
  outputs: ["labels", "scores"],
  infer([x], attrs: SvmClassifierAttrs) {
    const { vectorsPerClass, rho, probA = [], probB = [] } = attrs;
    const classes = attrs.labels.length;
    const voted = vectorsPerClass.length > 0;
    const { rows, vectors } = checkVectors("svmClassifier", x, counted(attrs), voted ? classes - 1 : classes);
    const pairs = (classes * (classes - 1)) / 2;
    const sum = vectorsPerClass.reduce((s, count) => s + count, 0);
    if (voted && (vectorsPerClass.length !== classes || sum !== vectors))
      shapeError("svmClassifier", `${vectors} support vectors of ${classes} classes are counted as ${vectorsPerClass}`);
    for (const [name, list] of Object.entries({ rho, probA, probB }))
      if (voted && list.length > 0 && list.length < pairs)
        shapeError("svmClassifier", `${list.length} of "${name}" for ${pairs} pairs of classes`);
    if (probA.length !== probB.length)
      shapeError("svmClassifier", `${probA.length} of "probA", ${probB.length} of "probB"`);
    const width = voted && !probA.length && classes > 2 ? pairs : classes;
    return [labelType(attrs.labels, [rows]), { dtype: "f32", shape: [rows, width] }];
  },
  reference([x], attrs, [y, z]: readonly HostTensor[]) {
    const { rows, features } = rowsOf("svmClassifier", x);
    const { labels, vectorsPerClass, supportVectors, coefficients, rho, post = "NONE" } = attrs;
    const src = toF64(x);
    const width = z.shape[1];
    const out = new Float64Array(rows * width);
    const linear = vectorsPerClass.length === 0;
    const k = kernelOf(counted(attrs));
    const vectors = rowsOfArray(linear ? coefficients : supportVectors, features);
    for (let r = 0; r < rows; r++) {
      const row = src.subarray(r * features, (r + 1) * features);
      const kernels = vectors.map((v) => k(row, v));
      let scores: Float64Array;
      if (linear) {
        scores = Float64Array.from({ length: labels.length }, (_, i) => kernels[i] + (rho[0] ?? 0));
        writeLabel(y, r, labels[argmax(scores)]);
      } else {
        const decided = vote(kernels, attrs);
        writeLabel(y, r, labels[argmax(decided.votes)]);
        scores = attrs.probA?.length ? probabilities(decided.values, attrs) : decided.values;
        if (scores.length === 1) scores = Float64Array.of(-scores[0], scores[0]);
      }
      postTransform(post, scores);
      out.set(scores, r * width);
    }
    fromF64(out, z);
  },
});

/** Decision value of each pair of classes i < j, positive for i, and how many pairs each class wins. */
function vote(kernels: readonly number[], a: SvmClassifierAttrs): { values: Float64Array; votes: number[] } {
  const { labels, vectorsPerClass, coefficients, rho } = a;
  const count = labels.length;
  const starts = vectorsPerClass.map((_, i) => vectorsPerClass.slice(0, i).reduce((s, n) => s + n, 0));
  const votes = new Array<number>(count).fill(0);
  const values: number[] = [];
  for (let i = 0; i < count; i++)
    for (let j = i + 1; j < count; j++) {
      let sum = rho[values.length] ?? 0;
      // Row j - 1 holds the coefficients of class i's vectors against class j, row i those of class j's.
      for (const [own, row] of [
        [i, j - 1],
        [j, i],
      ])
        for (let m = starts[own]; m < starts[own] + vectorsPerClass[own]; m++)
          sum += coefficients[row * kernels.length + m] * kernels[m];
      votes[sum > 0 ? i : j]++;
      values.push(sum);
    }
  return { values: Float64Array.from(values), votes };
}

/** Platt's pairwise probabilities, coupled into one distribution. */
function probabilities(values: Float64Array, { labels, probA = [], probB = [] }: SvmClassifierAttrs): Float64Array {
  const n = labels.length;
  const pairwise = Array.from({ length: n }, () => new Float64Array(n));
  let at = 0;
  for (let i = 0; i < n; i++)
    for (let j = i + 1; j < n; j++, at++) {
      const p = 1 / (1 + Math.exp(values[at] * probA[at] + probB[at]));
      pairwise[i][j] = Math.min(Math.max(p, 1e-7), 1 - 1e-7);
      pairwise[j][i] = 1 - pairwise[i][j];
    }
  return couple(pairwise);
}

/** Wu, Lin and Weng, "Probability estimates for multi-class classification by pairwise coupling", second method. */
function couple(r: readonly Float64Array[]): Float64Array {
  const n = r.length;
  const p = new Float64Array(n).fill(1 / n);
  const q = r.map((_, t) =>
    Float64Array.from({ length: n }, (_, j) => {
      if (j !== t) return -r[j][t] * r[t][j];
      let sum = 0;
      for (let k = 0; k < n; k++) if (k !== t) sum += r[k][t] ** 2;
      return sum;
    }),
  );
  const qp = new Float64Array(n);
  for (let round = 0; round < Math.max(100, n); round++) {
    let pqp = 0;
    for (let t = 0; t < n; t++) {
      qp[t] = q[t].reduce((s, v, j) => s + v * p[j], 0);
      pqp += p[t] * qp[t];
    }
    if (qp.every((v) => Math.abs(v - pqp) < 0.005 / n)) break;
    for (let t = 0; t < n; t++) {
      const diff = (pqp - qp[t]) / q[t][t];
      p[t] += diff;
      pqp = (pqp + diff * (diff * q[t][t] + 2 * qp[t])) / (1 + diff) ** 2;
      for (let j = 0; j < n; j++) {
        qp[j] = (qp[j] + diff * q[t][j]) / (1 + diff);
        p[j] /= 1 + diff;
      }
    }
  }
  return p;
}
