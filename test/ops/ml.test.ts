/** Strings and ai.onnx.ml: hand-checked values, what runtimes agree on where the specification is open, and errors. */
import { describe, expect, test } from "vitest";
import * as ops from "../../src/ops/index.ts";
import type { AnyOp, AttrsOf } from "../../src/ops/op.ts";
import { InputError, ShapeError, UnsupportedOpError } from "../../src/tensor/errors.ts";
import type { HostTensor } from "../../src/tensor/tensor.ts";
import { type Branch, forestFrom } from "../cases/forest.ts";
import { randomFrom } from "../random.ts";
import { elements, evaluate, evaluateAll, tensor } from "./evaluate.ts";

const onHost = <O extends AnyOp>({ op }: O, inputs: HostTensor[], attrs?: AttrsOf<O>): HostTensor[] =>
  op.evaluate!(inputs, (attrs ?? {}) as Record<string, unknown>, undefined as never) as HostTensor[];
const rounded = (t: HostTensor): number[] => Array.from(t.data as Float32Array, (v) => Math.round(v * 1e4) / 1e4);

describe("strings", () => {
  test("split on whitespace and on delimiters", () => {
    const split = (s: string[], attrs: AttrsOf<typeof ops.stringSplit>): unknown[] =>
      onHost(ops.stringSplit, [tensor(s)], attrs).map(elements);
    expect(split(["  hello  world ", ""], {})).toEqual([
      ["hello", "world", "", ""],
      [2n, 0n],
    ]);
    expect(split(["a,,b"], { delimiter: "," })).toEqual([["a", "", "b"], [3n]]);
    expect(split(["a b c d"], { maxSplit: 1 })).toEqual([["a", "b c d"], [2n]]);
    expect(split(["", "x"], { delimiter: "," })).toEqual([
      ["", "x"],
      [1n, 1n],
    ]);
  });

  test("concat broadcasts, normalizer removes and changes case", () => {
    expect(evaluate(ops.stringConcat, [tensor([["a"], ["b"]]), tensor(["x", "y"])]).data).toEqual([
      "ax",
      "ay",
      "bx",
      "by",
    ]);
    const words = tensor(["Monday", "monday", "TUESDAY"]);
    const run = (attrs: AttrsOf<typeof ops.stringNormalizer>): unknown =>
      onHost(ops.stringNormalizer, [words], attrs)[0].data;
    expect(run({ stopwords: ["monday"], changeCase: "upper" })).toEqual(["TUESDAY"]);
    expect(run({ stopwords: ["monday"], caseSensitive: true })).toEqual(["Monday", "TUESDAY"]);
    expect(run({ stopwords: ["monday", "tuesday"] })).toEqual([""]);
    expect(() => onHost(ops.stringNormalizer, [tensor([["a"], ["b"]])])).toThrow(ShapeError);
  });

  test("regexFullMatch reads RE2 syntax", () => {
    const match = (pattern: string, ...s: string[]): unknown[] =>
      elements(evaluate(ops.regexFullMatch, [tensor(s)], { pattern }));
    expect(match("www\\.[\\w.-]+\\.\\bcom\\b", "www.google.com", "www.facebook.org")).toEqual([1, 0]);
    expect(match("a|ab", "ab", "a", "abc")).toEqual([1, 1, 0]);
    expect(match("(?i)[[:alpha:]]+\\@(?P<host>\\pL+)", "A@b", "1@b")).toEqual([1, 0]);
    expect(match("\\Qa.b\\E\\z", "a.b", "axb")).toEqual([1, 0]);
    expect(match("[]a]+", "]a", "b")).toEqual([1, 0]);
    expect(match(".", "\n", "é")).toEqual([0, 1]);
    expect(() => match("(", "a")).toThrow(UnsupportedOpError);
  });

  test("tfidfVectorizer counts n-grams with gaps", () => {
    const attrs = { minGramLength: 2, maxGramLength: 2, ngramCounts: [0, 4], ngramIndexes: [0, 1, 2, 3, 4, 5, 6] };
    const pool = [2, 3, 5, 4, 5, 6, 7, 8, 6, 7];
    const x = tensor([
      [1n, 1n, 3n, 3n, 3n, 7n],
      [8n, 6n, 7n, 5n, 6n, 8n],
    ]);
    const run = (maxSkipCount: number, mode: "TF" | "IDF" | "TFIDF", weights?: number[]): unknown[] =>
      elements(evaluate(ops.tfidfVectorizer, [x], { ...attrs, pool, maxSkipCount, mode, weights }));
    expect(run(0, "TF")).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
    expect(run(5, "TFIDF", [1, 1, 1, 1, 10, 100, 1000])).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 100, 1000]);
    expect(() => evaluate(ops.tfidfVectorizer, [x], { ...attrs, pool: [1], maxSkipCount: 0, mode: "TF" })).toThrow(
      ShapeError,
    );
  });
});

describe("features", () => {
  test("scaler, imputer, binarizer, normalizer", () => {
    const x = tensor([
      [1, 2],
      [3, Number.NaN],
    ]);
    expect(
      elements(
        evaluate(
          ops.scaler,
          [
            tensor([
              [1, 2],
              [3, 4],
            ]),
          ],
          { offset: [1, 2], scale: [2] },
        ),
      ),
    ).toEqual([0, 0, 4, 4]);
    expect(elements(evaluate(ops.imputer, [x], { replaced: Number.NaN, imputed: [7, 8] }))).toEqual([1, 2, 3, 8]);
    expect(elements(evaluate(ops.imputer, [tensor([2n ** 60n, -1n])], { replaced: -1, imputed: [5] }))).toEqual([
      2n ** 60n,
      5n,
    ]);
    expect(elements(evaluate(ops.binarizer, [tensor([1n, 3n])], { threshold: 1 }))).toEqual([0n, 1n]);
    expect(
      elements(
        evaluate(
          ops.normalizer,
          [
            tensor([
              [3, -4],
              [0, 0],
            ]),
          ],
          { norm: "L2" },
        ),
      ).map(Number),
    ).toEqual([Math.fround(0.6), Math.fround(-0.8), 0, 0]);
    expect(() => evaluate(ops.scaler, [x], { offset: [1, 2, 3] })).toThrow(/scaler: 3 values of "offset"/);
  });

  test("encoders", () => {
    const encode = (x: HostTensor, keys: HostTensor): unknown[] =>
      elements(evaluate(ops.labelEncoder, [x], { keys, values: tensor([5n, 6n, 7n]), fallback: tensor(-1n) }));
    expect(encode(tensor(["b", "?", "a"]), tensor(["a", "b", "a"]))).toEqual([6n, -1n, 7n]);
    expect(encode(tensor([Number.NaN, -0]), tensor([Number.NaN, 0, 1]))).toEqual([5n, 6n]);
    const categories = [1, 4];
    expect(elements(evaluate(ops.oneHotEncoder, [tensor([4.7, 2])], { categories }))).toEqual([0, 1, 0, 0]);
    expect(() => evaluate(ops.oneHotEncoder, [tensor([2])], { categories, zeros: false })).toThrow(InputError);
    const map = { names: ["a", "b"], numbers: [7, 8], defaultName: "?", defaultNumber: -1 };
    expect(elements(evaluate(ops.categoryMapper, [tensor(["b", "c"])], map))).toEqual([8n, -1n]);
    expect(elements(evaluate(ops.categoryMapper, [tensor([7n, 9n])], map))).toEqual(["a", "?"]);
    const wide = evaluate(ops.featureVectorizer, [tensor([[1, 2]]), tensor([[3]])], { widths: [1, 2] });
    expect(elements(wide)).toEqual([1, 3, 0]);
  });
});

describe("linear models and support vectors", () => {
  const x = tensor([
    [1, 2],
    [3, -1],
  ]);

  test("linear", () => {
    const coefficients = [1, 0, 0, 2];
    expect(elements(evaluate(ops.linearRegressor, [x], { coefficients, targets: 2, intercepts: [1, 0] }))).toEqual([
      2, 4, 4, -2,
    ]);
    const [labels, scores] = evaluateAll(ops.linearClassifier, [x], {
      coefficients,
      labels: ["p", "q"],
      post: "SOFTMAX",
    });
    expect(labels.data).toEqual(["q", "p"]);
    expect(rounded(scores)).toEqual([0.0474, 0.9526, 0.9933, 0.0067]);
    const lone = evaluateAll(ops.linearClassifier, [x], { coefficients: [0, 1], labels: [0, 1], post: "LOGISTIC" });
    expect(elements(lone[0])).toEqual([1n, 0n]);
    expect(rounded(lone[1])).toEqual([0.1192, 0.8808, 0.7311, 0.2689]);
    expect(() => evaluate(ops.linearRegressor, [x], { coefficients: [1] })).toThrow(/1 coefficients for 1 targets/);
  });

  test("support vectors: kernels by hand, one-against-one votes", () => {
    const base = { supportVectors: [1, 2], coefficients: [2], rho: [0.5] };
    expect(elements(evaluate(ops.svmRegressor, [x], base))).toEqual([10.5, 2.5]);
    const rbf = evaluate(ops.svmRegressor, [x], { ...base, kernel: "RBF", kernelParams: [0.1, 0, 0] });
    expect(rounded(rbf)).toEqual([2.5, Math.round((0.5 + 2 * Math.exp(-1.3)) * 1e4) / 1e4]);
    const poly = evaluate(ops.svmRegressor, [x], { ...base, kernel: "POLY", kernelParams: [1, 1, 2] });
    expect(elements(poly)).toEqual([72.5, 8.5]);
    const two = {
      supportVectors: [1, 0, 0, 1],
      coefficients: [1, -1],
      rho: [0],
      vectorsPerClass: [1, 1],
      labels: ["a", "b"],
    };
    const [labels, scores] = evaluateAll(ops.svmClassifier, [x], two);
    expect(labels.data).toEqual(["b", "a"]);
    expect(elements(scores)).toEqual([1, -1, -4, 4]);
  });
});

describe("trees", () => {
  const branch = { feature: 0, mode: 0, threshold: 0.5, yes: -1, no: -2, missingYes: false };
  const stump = (weights: [number, number][], extra = {}, targets = 1) =>
    forestFrom(
      "treeEnsemble",
      [0],
      [{ ...branch, ...extra }],
      weights.map((w) => [w]),
      targets,
    );
  const x = tensor([[0.5], [0.75], [Number.NaN]]);

  test("comparisons, missing values and sets", () => {
    const run = (extra: object): unknown[] =>
      elements(
        evaluate(ops.treeEnsemble, [x], {
          forest: stump(
            [
              [0, 1],
              [0, 2],
            ],
            extra,
          ),
        }),
      );
    expect(run({})).toEqual([1, 2, 2]);
    expect(run({ missingYes: true })).toEqual([1, 2, 1]);
    expect(run({ mode: 1 })).toEqual([2, 2, 2]);
    expect(run({ mode: 5 })).toEqual([2, 1, 1]);
    expect(run({ mode: 6, members: new Set([0.75]) })).toEqual([2, 1, 2]);
  });

  test("how votes are put together", () => {
    const leaves = [[[0, 1]], [[0, 5]], [[0, 3]]] as const;
    const forest = forestFrom("treeEnsemble", [0, -3], [branch], leaves, 1);
    const run = (aggregate: "SUM" | "AVERAGE" | "MIN" | "MAX"): unknown[] =>
      elements(evaluate(ops.treeEnsemble, [x], { forest, aggregate, base: [10] }));
    expect(run("SUM")).toEqual([14, 18, 18]);
    expect(run("AVERAGE")).toEqual([12, 14, 14]);
    expect(run("MIN")).toEqual([11, 13, 13]);
    expect(run("MAX")).toEqual([13, 15, 15]);
  });

  test("classes: many, and one score for two", () => {
    const classify = (weights: [number, number][], classes: string[], post?: "LOGISTIC") =>
      evaluateAll(ops.treeEnsembleClassifier, [x], {
        forest: stump(weights, {}, classes.length),
        labels: classes,
        post,
      });
    const [labels, scores] = classify(
      [
        [2, 1],
        [0, 1],
      ],
      ["a", "b", "c"],
    );
    expect(labels.data).toEqual(["c", "a", "a"]);
    expect(elements(scores)).toEqual([0, 0, 1, 1, 0, 0, 1, 0, 0]);
    const positive = classify(
      [
        [0, 0.25],
        [0, 0.75],
      ],
      ["no", "yes"],
    );
    expect(positive[0].data).toEqual(["no", "yes", "yes"]);
    expect(elements(positive[1])).toEqual([0.75, 0.25, 0.25, 0.75, 0.25, 0.75]);
    const margin = classify(
      [
        [0, -1],
        [0, 1],
      ],
      ["no", "yes"],
      "LOGISTIC",
    );
    expect(margin[0].data).toEqual(["no", "yes", "yes"]);
    expect(rounded(margin[1]).slice(0, 2)).toEqual([0.7311, 0.2689]);
  });

  test("a forest of comparisons of one kind is walked by several rows at once, to the same leaves", () => {
    const random = randomFrom(3);
    const branches: Branch[] = [];
    const leaves: [number, number][][] = [];
    const grow = (depth: number): number => {
      if (depth === 0 || random() < 0.2) return -leaves.push([[leaves.length % 2, random()]]);
      const at = branches.length;
      const threshold = 2 * random() - 1;
      branches.push({ feature: at % 3, mode: 0, threshold, yes: 0, no: 0, missingYes: false });
      branches[at].yes = grow(depth - 1);
      branches[at].no = grow(depth - 1);
      return at;
    };
    const roots = Array.from({ length: 20 }, () => grow(6));
    const plain = forestFrom("treeEnsemble", roots, branches, leaves, 2);
    expect(plain.plain).toBe(true);
    // The same comparisons, and one that no tree asks.
    const unused: Branch = { feature: 0, mode: 1, threshold: 0, yes: -1, no: -1, missingYes: false };
    const mixed = forestFrom("treeEnsemble", roots, [...branches, unused], leaves, 2);
    const data = Float32Array.from({ length: 3 * 150 }, (_, i) => (i % 11 === 0 ? Number.NaN : 2 * random() - 1));
    const x: HostTensor = { dtype: "f32", shape: [150, 3], data };
    for (const aggregate of ["SUM", "MAX"] as const)
      expect(evaluate(ops.treeEnsemble, [x], { forest: plain, aggregate }).data).toEqual(
        evaluate(ops.treeEnsemble, [x], { forest: mixed, aggregate }).data,
      );
  });

  test("bad trees are refused", () => {
    expect(() =>
      stump([
        [0, 1],
        [3, 2],
      ]),
    ).toThrow(/target 3 of 1/);
    expect(() =>
      stump(
        [
          [0, 1],
          [0, 2],
        ],
        { no: -3 },
      ),
    ).toThrow(/a child of node 0/);
    expect(() =>
      stump(
        [
          [0, 1],
          [0, 2],
        ],
        { no: 0 },
      ),
    ).toThrow(/node 0 is its own descendant/);
    expect(() =>
      evaluate(ops.treeEnsemble, [x], {
        forest: stump(
          [
            [0, 1],
            [0, 2],
          ],
          { feature: 1 },
        ),
      }),
    ).toThrow(/the trees look at 2 features: f32\[3,1\]/);
  });
});
