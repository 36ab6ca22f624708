/** What the ai.onnx.ml operators share: rows of features, class labels and the transforms of scores. */
import type { HostTensor, TensorType } from "../../tensor/tensor.ts";
import { expectDType, expectRank } from "../check.ts";

export type PostTransform = "NONE" | "SOFTMAX" | "LOGISTIC" | "SOFTMAX_ZERO" | "PROBIT";

/** Class labels are all integers or all strings. */
export type Labels = readonly (number | bigint)[] | readonly string[];

export const expectFeatures = (op: string, x: TensorType): void => expectDType(op, x, "f32", "f64", "i64", "i32");

/** [N, F], or [F] as one row. */
export function rowsOf(op: string, x: TensorType): { rows: number; features: number } {
  expectFeatures(op, x);
  expectRank(op, x, 1, 2);
  return x.shape.length === 1 ? { rows: 1, features: x.shape[0] } : { rows: x.shape[0], features: x.shape[1] };
}

/** Type of a tensor of labels. */
export const labelType = (labels: Labels, shape: readonly number[]): TensorType => ({
  dtype: typeof labels[0] === "string" ? "string" : "i64",
  shape,
});

export function writeLabel(y: HostTensor, i: number, label: string | number | bigint): void {
  if (typeof label === "string") (y.data as string[])[i] = label;
  else (y.data as BigInt64Array)[i] = BigInt(label);
}

/** Transforms the scores of one row in place. */
export function postTransform(kind: PostTransform, scores: Float64Array): void {
  if (kind === "LOGISTIC")
    scores.forEach((v, i) => {
      scores[i] = logistic(v);
    });
  else if (kind === "PROBIT")
    scores.forEach((v, i) => {
      scores[i] = probit(v);
    });
  else if (kind === "SOFTMAX" || kind === "SOFTMAX_ZERO") softmaxRow(scores, kind === "SOFTMAX_ZERO");
}

/**
 * The scores of two classes from one: that of the second, and for the first what `other` says. Only LOGISTIC transforms
 * them, to complementary probabilities: a lone score has nothing to be normalized with.
 */
export const binaryScores = (score: number, other: number, post: PostTransform): [number, number] =>
  post === "LOGISTIC" ? [logistic(-score), logistic(score)] : [other, score];

const logistic = (v: number): number => 1 / (1 + Math.exp(-v));

/** `keepZeros`: scores of exactly 0 stay 0 and take no part. */
function softmaxRow(scores: Float64Array, keepZeros: boolean): void {
  const max = scores.reduce((m, v) => Math.max(m, v), Number.NEGATIVE_INFINITY);
  let sum = 0;
  scores.forEach((v, i) => {
    const e = keepZeros && v === 0 ? 0 : Math.exp(v - max);
    scores[i] = e;
    sum += e;
  });
  if (sum > 0)
    scores.forEach((v, i) => {
      scores[i] = v / sum;
    });
}

/** The standard normal quantile as runtimes compute it: sqrt(2) erfinv(2p - 1) with Winitzki's approximation of erfinv. */
function probit(p: number): number {
  const x = 2 * p - 1;
  const log = Math.log((1 - x) * (1 + x));
  const v = 2 / (Math.PI * 0.147) + 0.5 * log;
  return Math.SQRT2 * Math.sign(x) * Math.sqrt(-v + Math.sqrt(v * v - log / 0.147));
}

/** Index of the largest score, the first of equals. */
export function argmax(scores: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i;
  return best;
}
