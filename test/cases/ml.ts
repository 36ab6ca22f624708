import fc from "fast-check";
import * as ops from "../../src/ops/index.ts";
import type { PostTransform } from "../../src/ops/ml/common.ts";
import type { Forest } from "../../src/ops/ml/forest.ts";
import type { DType } from "../../src/tensor/dtype.ts";
import { hostTensor } from "../../src/tensor/host-tensor.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { type OpCase, opCase, tensorOf } from "./case.ts";
import { type Branch, forestFrom } from "./forest.ts";

const int = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });
const float = fc.float({ min: -2, max: 2, noNaN: true });
const floats = (n: number): fc.Arbitrary<number[]> => fc.array(float, { minLength: n, maxLength: n });
const post = fc.constantFrom<(PostTransform | undefined)[]>("NONE", undefined, "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO");
const featureType = fc.constantFrom<DType[]>("f32", "f32", "f64", "i64", "i32");
const labelsOf = (n: number): fc.Arbitrary<number[] | string[]> =>
  fc.constantFrom<(number[] | string[])[]>(
    Array.from({ length: n }, (_, i) => 10 * i),
    Array.from({ length: n }, (_, i) => `class ${i}`),
  );

/** Rows of features. */
const table = fc.tuple(int(1, 5), int(1, 6), featureType).chain(([n, f, dtype]) => tensorOf([n, f], dtype));

const words = ["", "a", "b", "abc", "Monday", "été", "a b", " x  y "];
const strings = (minRank = 0, maxRank = 2): fc.Arbitrary<HostTensor> =>
  fc.array(int(1, 4), { minLength: minRank, maxLength: maxRank }).chain((shape) => {
    const n = shape.reduce((a, b) => a * b, 1);
    return fc
      .array(fc.constantFrom(...words), { minLength: n, maxLength: n })
      .map((data): HostTensor => ({ dtype: "string", shape, data }));
  });

/** Complete trees of random comparisons over `features` features. */
const forest = (features: number, targets: number): fc.Arbitrary<Forest> =>
  fc.array(int(0, 3), { minLength: 1, maxLength: 3 }).chain((depths) => {
    const branchCount = depths.reduce((n, d) => n + 2 ** d - 1, 0);
    const leafCount = depths.reduce((n, d) => n + 2 ** d, 0);
    const branch = fc.record({
      feature: int(0, features - 1),
      mode: int(0, 5),
      threshold: fc.integer({ min: -2, max: 2 }),
      missingYes: fc.boolean(),
    });
    const votes = fc.array(fc.tuple(int(0, targets - 1), float), { maxLength: 3 });
    return fc
      .tuple(
        fc.array(branch, { minLength: branchCount, maxLength: branchCount }),
        fc.array(votes, { minLength: leafCount, maxLength: leafCount }),
      )
      .map(([bare, leaves]) => {
        const branches: Branch[] = [];
        let leaf = 0;
        const grow = (depth: number): number => {
          if (depth === 0) return -1 - leaf++;
          const at = branches.length;
          branches.push({ ...bare[at], yes: 0, no: 0 });
          branches[at].yes = grow(depth - 1);
          branches[at].no = grow(depth - 1);
          return at;
        };
        return forestFrom("treeEnsemble", depths.map(grow), branches, leaves, targets);
      });
  });

/** A case over a table, with attributes that know its number of features. */
const onTable = <A>(
  op: Parameters<typeof opCase>[0],
  attrs: (features: number) => fc.Arbitrary<A>,
): fc.Arbitrary<OpCase> => table.chain((x) => attrs(x.shape[1]).map((a) => opCase(op, [x], a)));

const withIntercepts = (targets: number, features: number) => ({
  coefficients: floats(targets * features),
  intercepts: fc.option(floats(targets), { nil: undefined }),
  post,
});

const kernelOf = {
  kernel: fc.constantFrom("LINEAR", "POLY", "RBF", "SIGMOID", undefined),
  kernelParams: fc.tuple(fc.constant(0.5), float, int(1, 3)),
};

const svmClassifierAttrs = (features: number) =>
  fc.tuple(int(2, 4), fc.boolean(), fc.boolean()).chain(([classes, linear, platt]) => {
    const vectors = 2 * classes;
    const pairs = (classes * (classes - 1)) / 2;
    return fc.record({
      ...kernelOf,
      labels: labelsOf(classes),
      vectorsPerClass: fc.constant(linear ? [] : new Array<number>(classes).fill(2)),
      supportVectors: floats(linear ? 0 : vectors * features),
      coefficients: floats(linear ? classes * features : (classes - 1) * vectors),
      rho: floats(linear ? 1 : pairs),
      probA: platt && !linear ? floats(pairs) : fc.constant(undefined),
      probB: platt && !linear ? floats(pairs) : fc.constant(undefined),
    });
  });

export const mlCases = {
  scaler: onTable(ops.scaler, (f) =>
    fc.record({ offset: fc.oneof(floats(1), floats(f)), scale: fc.oneof(floats(1), floats(f)) }),
  ),
  imputer: onTable(ops.imputer, (f) =>
    fc.record({
      replaced: fc.constantFrom(0, 1, Number.NaN),
      imputed: fc.array(int(-3, 3), { minLength: f, maxLength: f }),
    }),
  ),
  binarizer: onTable(ops.binarizer, () => fc.record({ threshold: float })),
  normalizer: onTable(ops.normalizer, () => fc.record({ norm: fc.constantFrom("MAX", "L1", "L2", undefined) })),
  featureVectorizer: fc
    .tuple(int(1, 3), int(1, 4), int(1, 4))
    .chain(([n, a, b]) =>
      fc
        .tuple(tensorOf([n, a]), tensorOf([n, b]), fc.option(fc.tuple(int(1, 5), int(1, 5)), { nil: undefined }))
        .map(([x, y, widths]) => opCase(ops.featureVectorizer, [x, y], { widths })),
    ),
  labelEncoder: strings().map((x) =>
    opCase(ops.labelEncoder, [x], {
      keys: hostTensor(["a", "b", "a"]),
      values: hostTensor(BigInt64Array.of(1n, 2n, 3n)),
      fallback: hostTensor(-1n),
    }),
  ),
  oneHotEncoder: fc.oneof(
    strings().map((x) => opCase(ops.oneHotEncoder, [x], { categories: ["a", "b", "abc"] })),
    onTable(ops.oneHotEncoder, () => fc.constant({ categories: [-1, 0, 2], zeros: true })),
  ),
  categoryMapper: fc
    .oneof(strings(), tensorOf([3, 2], "i64"))
    .map((x) =>
      opCase(ops.categoryMapper, [x], { names: ["a", "b"], numbers: [1, 2], defaultName: "?", defaultNumber: -1 }),
    ),
  linearRegressor: onTable(ops.linearRegressor, (f) =>
    int(1, 3).chain((t) => fc.record({ ...withIntercepts(t, f), targets: fc.constant(t) })),
  ),
  linearClassifier: onTable(ops.linearClassifier, (f) =>
    fc
      .tuple(int(2, 4), fc.boolean())
      .chain(([c, single]) => fc.record({ ...withIntercepts(c === 2 && single ? 1 : c, f), labels: labelsOf(c) })),
  ),
  svmRegressor: onTable(ops.svmRegressor, (f) =>
    int(0, 4).chain((v) =>
      fc.record({
        ...kernelOf,
        supportVectors: floats(v * f),
        coefficients: floats(v || f),
        rho: floats(1),
        oneClass: fc.boolean(),
      }),
    ),
  ),
  svmClassifier: onTable(ops.svmClassifier, svmClassifierAttrs),
  treeEnsemble: onTable(ops.treeEnsemble, (f) =>
    int(1, 3).chain((t) =>
      fc.record({
        forest: forest(f, t),
        base: fc.option(floats(t), { nil: undefined }),
        aggregate: fc.constantFrom("SUM", "AVERAGE", "MIN", "MAX", undefined),
        dtype: fc.constant("f32"),
        post,
      }),
    ),
  ),
  treeEnsembleClassifier: onTable(ops.treeEnsembleClassifier, (f) =>
    int(2, 4).chain((c) =>
      fc.record({ forest: forest(f, c), base: fc.option(floats(c), { nil: undefined }), labels: labelsOf(c), post }),
    ),
  ),
  stringConcat: fc.tuple(strings(2), strings(0, 0)).map((inputs) => opCase(ops.stringConcat, inputs, {})),
  stringSplit: fc
    .tuple(strings(), fc.constantFrom("", " ", "b", undefined), fc.option(int(0, 3), { nil: undefined }))
    .map(([x, delimiter, maxSplit]) => opCase(ops.stringSplit, [x], { delimiter, maxSplit })),
  stringNormalizer: fc
    .tuple(strings(1, 1), fc.constantFrom("none", "lower", "upper", undefined), fc.boolean())
    .map(([x, changeCase, caseSensitive]) =>
      opCase(ops.stringNormalizer, [x], { changeCase, caseSensitive, stopwords: ["monday", "a"] }),
    ),
  regexFullMatch: strings().map((x) => opCase(ops.regexFullMatch, [x], { pattern: "[a-c]+|\\pL\\w*" })),
  tfidfVectorizer: fc
    .tuple(tensorOf([2, 6], "i64"), fc.constantFrom("TF", "IDF", "TFIDF"), int(0, 3))
    .map(([x, mode, maxSkipCount]) =>
      opCase(ops.tfidfVectorizer, [x], {
        mode: mode as "TF",
        minGramLength: 1,
        maxGramLength: 2,
        maxSkipCount,
        ngramCounts: [0, 3],
        ngramIndexes: [0, 1, 2, 3, 4],
        pool: [1, 2, -1, 1, 2, 0, 1],
        weights: [1, 2, 3, 4, 5],
      }),
    ),
};
