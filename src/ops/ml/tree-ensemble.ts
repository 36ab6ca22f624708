import { fromF64, toF64 } from "../../tensor/convert.ts";
import type { DType } from "../../tensor/dtype.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { expectFloat, shapeError } from "../check.ts";
import { defineOp, type Operand } from "../op.ts";
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
import type { Forest } from "./forest.ts";

interface EnsembleAttrs {
  forest: Forest;
  /** Added to each target's result. */
  base?: readonly number[];
  /** Default "NONE". */
  post?: PostTransform;
}

export interface TreeEnsembleAttrs extends EnsembleAttrs {
  /** How a target's votes are put together. Default "SUM". */
  aggregate?: "SUM" | "AVERAGE" | "MIN" | "MAX";
  /** Default: the input's. */
  dtype?: DType;
}

export interface TreeEnsembleClassifierAttrs extends EnsembleAttrs {
  labels: Labels;
}

/** The leaf that a row reaches from a root. */
function leafOf(f: Forest, root: number, x: Float64Array, row: number): number {
  let node = root;
  while (node >= 0) {
    const v = x[row + f.feature[node]];
    const goes = holds(f, node, v) || (f.missingYes[node] === 1 && Number.isNaN(v));
    node = goes ? f.yes[node] : f.no[node];
  }
  return -1 - node;
}

function holds(f: Forest, node: number, v: number): boolean {
  const t = f.threshold[node];
  switch (f.mode[node]) {
    case 0:
      return v <= t;
    case 1:
      return v < t;
    case 2:
      return v >= t;
    case 3:
      return v > t;
    case 4:
      return v === t;
    case 5:
      return v !== t;
    default:
      return f.members[node]?.has(v) ?? false;
  }
}

/** The same in a plain forest, without a branch that no processor could predict. */
function plainLeafOf({ children, feature, threshold }: Forest, root: number, x: Float64Array, row: number): number {
  let node = root;
  while (node >= 0) node = children[2 * node + Number(x[row + feature[node]] <= threshold[node])];
  return -1 - node;
}

/** For four rows at once: each waits for its own loads, but not for those of the others. */
function plainLeavesOf(f: Forest, root: number, x: Float64Array, row: number, features: number, leaves: Int32Array) {
  const { children, feature, threshold } = f;
  const [row1, row2, row3] = [row + features, row + 2 * features, row + 3 * features];
  let [a, b, c, d] = [root, root, root, root];
  while ((a | b | c | d) >= 0) {
    a = children[2 * a + Number(x[row + feature[a]] <= threshold[a])];
    b = children[2 * b + Number(x[row1 + feature[b]] <= threshold[b])];
    c = children[2 * c + Number(x[row2 + feature[c]] <= threshold[c])];
    d = children[2 * d + Number(x[row3 + feature[d]] <= threshold[d])];
  }
  leaves[0] = plainLeafOf(f, a, x, row);
  leaves[1] = plainLeafOf(f, b, x, row1);
  leaves[2] = plainLeafOf(f, c, x, row2);
  leaves[3] = plainLeafOf(f, d, x, row3);
}

/** So many rows go through a tree before the next: they and the tree stay in the cache. */
const rowsAtOnce = 64;

/**
 * The votes of every tree for every row, tree by tree for each, put together by target: out [rows, targets], of zeros.
 * @param join puts two votes together; default: their sum
 */
function countVotes(
  f: Forest,
  x: Float64Array,
  rows: number,
  features: number,
  out: Float64Array,
  join?: (a: number, b: number) => number,
): void {
  const targets = out.length / rows;
  const leaves = new Int32Array(4);
  const seen = new Uint8Array(join ? out.length : 0);
  for (let first = 0; first < rows; first += rowsAtOnce) {
    const end = Math.min(rows, first + rowsAtOnce);
    for (const root of f.roots)
      for (let r = first; r < end; ) {
        const several = f.plain && r + 4 <= end;
        if (several) plainLeavesOf(f, root, x, r * features, features, leaves);
        else leaves[0] = (f.plain ? plainLeafOf : leafOf)(f, root, x, r * features);
        for (let i = 0; i < (several ? 4 : 1); i++, r++)
          for (let v = f.leafStart[leaves[i]]; v < f.leafStart[leaves[i] + 1]; v++) {
            const at = r * targets + f.target[v];
            const w = f.weight[v];
            if (seen[at]) out[at] = join!(out[at], w);
            else out[at] += w;
            if (join) seen[at] = 1;
          }
      }
  }
}

function check(op: string, x: Operand, { forest, base }: EnsembleAttrs): number {
  const { rows, features } = rowsOf(op, x.dtype === "f16" ? { dtype: "f32", shape: x.shape } : x);
  const needed = forest.feature.reduce((m, k) => Math.max(m, k + 1), 0);
  if (needed > features) shapeError(op, `the trees look at ${needed} features`, x);
  if (base && ![0, 1, forest.targets].includes(base.length))
    shapeError(op, `${base.length} base values for ${forest.targets} targets`, x);
  return rows;
}

const baseOf = (base: readonly number[] | undefined, t: number): number =>
  base?.length ? (base.length === 1 ? base[0] : base[t]) : 0;

/**
 * Regression by decision trees: rows [N, F] give [N, targets]. A target without votes is its base value.
 * (ai.onnx.ml TreeEnsemble and TreeEnsembleRegressor.)
 */
export const treeEnsemble = /* @__PURE__ */ defineOp({
  name: "treeEnsemble",
  inputs: ["x"],
  infer([x], attrs: TreeEnsembleAttrs) {
    const { dtype = x.dtype, forest } = attrs;
    if (!attrs.dtype) expectFloat("treeEnsemble", x);
    return { dtype, shape: [check("treeEnsemble", x, attrs), forest.targets] };
  },
  reference([x], { forest, base, aggregate = "SUM", post = "NONE" }, [y]) {
    const features = x.shape.at(-1)!;
    const [rows, targets] = y.shape;
    const src = toF64(x);
    const out = new Float64Array(rows * targets);
    const extreme = aggregate === "MIN" ? Math.min : aggregate === "MAX" ? Math.max : undefined;
    countVotes(forest, src, rows, features, out, extreme);
    const divisor = aggregate === "AVERAGE" ? forest.roots.length : 1;
    for (let r = 0; r < rows; r++) {
      const scores = out.subarray(r * targets, (r + 1) * targets);
      for (let t = 0; t < targets; t++) scores[t] = scores[t] / divisor + baseOf(base, t);
      postTransform(post, scores);
    }
    fromF64(out, y);
  },
});

/**
 * Classification by decision trees: the best class of every row [N, F] and the scores, f32 [N, classes]. With two classes
 * and votes for one of them only, the sum speaks for the second class: above 1/2 where no weight is negative, otherwise
 * above 0. Votes for the first one are meant so too, and it gets the rest to 1, or the opposite.
 * (ai.onnx.ml TreeEnsembleClassifier, which leaves the case of two classes open; this is what runtimes agreed on.)
 */
export const treeEnsembleClassifier = /* @__PURE__ */ defineOp({
  name: "treeEnsembleClassifier",
  inputs: ["x"],
  outputs: ["labels", "scores"],
  infer([x], attrs: TreeEnsembleClassifierAttrs) {
    const rows = check("treeEnsembleClassifier", x, attrs);
    return [labelType(attrs.labels, [rows]), { dtype: "f32", shape: [rows, attrs.labels.length] }];
  },
  reference([x], { forest, base, labels, post = "NONE" }, [y, z]: readonly HostTensor[]) {
    const { rows, features } = rowsOf("treeEnsembleClassifier", x);
    const classes = labels.length;
    const src = toF64(x);
    const out = new Float64Array(rows * classes);
    const { voted } = forest;
    const single = classes === 2 && voted.size === 1;
    const probability = !forest.negative;
    countVotes(forest, src, rows, features, out);
    for (let r = 0; r < rows; r++) {
      const scores = out.subarray(r * classes, (r + 1) * classes);
      if (single) {
        const s = scores[0] + scores[1] + baseOf(base, classes - 1);
        writeLabel(y, r, labels[s > (probability ? 0.5 : 0) ? 1 : 0]);
        if (voted.has(0)) {
          scores.set(binaryScores(s, probability ? 1 - s : -s, post));
          continue;
        }
        scores[1] = s;
      } else {
        for (let t = 0; t < classes; t++) scores[t] += baseOf(base, t);
        writeLabel(y, r, labels[argmax(scores)]);
      }
      postTransform(post, scores);
    }
    fromF64(out, z);
  },
});
