/** Models of ai.onnx.ml as exporters write them, and as none should. */
import { describe, expect, test } from "vitest";
import { DTypeError, FormatError, type HostTensor, hostTensor, load, ShapeError } from "../../src/index.ts";
import { type AttributeSpec, encodeModel, type PortSpec } from "./encode.ts";

type Attributes = Record<string, AttributeSpec>;

async function run(type: string, x: HostTensor | HostTensor[], attributes: Attributes, count = 1) {
  const xs = Array.isArray(x) ? x : [x];
  const outputs = Array.from({ length: count }, (_, i) => `y${i}`);
  const inputs = xs.map(({ dtype, shape }, i): PortSpec => ({ name: `x${i}`, dtype, shape: [...shape] }));
  const names = inputs.map(({ name }) => name);
  const node = { type, domain: "ai.onnx.ml", inputs: names, outputs, attributes };
  const domains = { "ai.onnx.ml": type === "TreeEnsemble" ? 5 : 3 };
  const model = encodeModel({ domains, nodes: [node], inputs, outputs: outputs.map((name) => ({ name })) });
  using session = await load(model, { device: "cpu" });
  const found = await session.run(Object.fromEntries(xs.map((t, i) => [names[i], t])));
  return outputs.map((name) => Array.from((found[name] as HostTensor).data as ArrayLike<unknown>));
}

const i64 = (...values: bigint[]): HostTensor => ({
  dtype: "i64",
  shape: [values.length],
  data: BigInt64Array.from(values),
});
const large = 2n ** 53n + 1n;
const rows = hostTensor([
  [1, 2],
  [3, -1],
]);

describe("integers that are no floats", () => {
  const cats = { ints: [large, large - 1n] };

  test("categories and what stands for none", async () => {
    const names = { cats_int64s: cats, cats_strings: { strings: ["a", "b"] } };
    expect(await run("CategoryMapper", i64(large, large - 1n), names)).toEqual([["a", "b"]]);
    const words: HostTensor = { dtype: "string", shape: [2], data: ["a", "c"] };
    expect(await run("CategoryMapper", words, names)).toEqual([[large, -1n]]);
    expect(await run("OneHotEncoder", i64(large, large - 1n, 7n), { cats_int64s: cats })).toEqual([[1, 0, 0, 1, 0, 0]]);
  });

  test("labels and values that replace others", async () => {
    const linear = { coefficients: { floats: [1, 0, 0, 1] }, intercepts: { floats: [0, 0] }, classlabels_ints: cats };
    expect((await run("LinearClassifier", rows, linear, 2))[0]).toEqual([large - 1n, large]);
    const imputer = { imputed_value_int64s: { ints: [large] }, replaced_value_int64: { int: 0 } };
    expect(await run("Imputer", i64(0n, large + 2n), imputer)).toEqual([[large, large + 2n]]);
  });
});

test("of two lists the one that is not empty counts", async () => {
  const given = { imputed_value_floats: { floats: [] }, imputed_value_int64s: { ints: [5] } };
  expect(await run("Imputer", i64(0n, 3n), given)).toEqual([[5n, 3n]]);
  const labels = { classlabels_strings: { strings: [] }, classlabels_ints: { ints: [7, 8] } };
  const linear = { coefficients: { floats: [1, 0, 0, 1] }, intercepts: { floats: [0, 0] } };
  expect((await run("LinearClassifier", rows, { ...linear, ...labels }, 2))[0]).toEqual([8n, 7n]);
  const neither = { ...linear, classlabels_ints: { ints: [] } };
  await expect(run("LinearClassifier", rows, neither, 2)).rejects.toThrow(FormatError);
});

describe("support vectors", () => {
  const rbf = { kernel_type: { string: "RBF" }, kernel_params: { floats: [0.1, 0, 0] } };

  test("a model without any is linear, whatever its kernel", async () => {
    const linear = { ...rbf, coefficients: { floats: [2, 1] }, rho: { floats: [0.5] } };
    expect(await run("SVMRegressor", rows, linear)).toEqual([[4.5, 5.5]]);
    const classes = { ...linear, coefficients: { floats: [1, 0, 0, 1] }, classlabels_ints: { ints: [4, 5] } };
    expect(await run("SVMClassifier", rows, classes, 2)).toEqual([
      [5n, 4n],
      [1.5, 2.5, 3.5, -0.5],
    ]);
  });

  test("lists that don't fit are refused", async () => {
    const two = {
      support_vectors: { floats: [1, 0, 0, 1] },
      coefficients: { floats: [1, -1] },
      rho: { floats: [0] },
      vectors_per_class: { ints: [1, 1] },
      classlabels_ints: { ints: [4, 5] },
    };
    await run("SVMClassifier", rows, two, 2);
    const unfit: [Attributes, RegExp][] = [
      [{ coefficients: { floats: [1] } }, /1 coefficients, not 2/],
      [{ vectors_per_class: { ints: [1] } }, /2 support vectors of 2 classes are counted as 1/],
      [{ prob_a: { floats: [1] } }, /1 of "probA", 0 of "probB"/],
      [{ support_vectors: { floats: [1, 0, 0] } }, /do not fit the features/],
    ];
    for (const [bad, message] of unfit) {
      const found = run("SVMClassifier", rows, { ...two, ...bad }, 2);
      await expect(found).rejects.toThrow(ShapeError);
      await expect(found).rejects.toThrow(message);
    }
  });
});

describe("trees", () => {
  /** Stumps that ask whether the first feature is at most 2: 1 or 2, and 10 or 20. */
  const stumps = {
    nodes_treeids: { ints: [0, 0, 0, 1, 1, 1] },
    nodes_nodeids: { ints: [0, 1, 2, 0, 1, 2] },
    nodes_modes: { strings: ["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"] },
    nodes_values: { floats: [2, 0, 0, 2, 0, 0] },
    nodes_featureids: { ints: [0, 0, 0, 0, 0, 0] },
    nodes_truenodeids: { ints: [1, 0, 0, 1, 0, 0] },
    nodes_falsenodeids: { ints: [2, 0, 0, 2, 0, 0] },
    target_treeids: { ints: [0, 0, 1, 1] },
    target_nodeids: { ints: [1, 2, 1, 2] },
    target_ids: { ints: [0, 0, 0, 0] },
    target_weights: { floats: [1, 2, 10, 20] },
  };

  test("need not lie one behind the other, nor number their nodes from 0", async () => {
    expect(await run("TreeEnsembleRegressor", rows, stumps)).toEqual([[11, 22]]);
    const mixed = {
      ...stumps,
      nodes_treeids: { ints: [5, 9, 5, 9, 5, 9] },
      nodes_nodeids: { ints: [7, 0, 3, 1, 4, 2] },
      nodes_modes: { strings: ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF", "LEAF"] },
      nodes_values: { floats: [2, 2, 0, 0, 0, 0] },
      nodes_truenodeids: { ints: [3, 1, 0, 0, 0, 0] },
      nodes_falsenodeids: { ints: [4, 2, 0, 0, 0, 0] },
      target_treeids: { ints: [5, 5, 9, 9] },
      target_nodeids: { ints: [3, 4, 1, 2] },
    };
    expect(await run("TreeEnsembleRegressor", rows, mixed)).toEqual([[11, 22]]);
  });

  test("of any number, without a number of targets", async () => {
    const n = 150_000;
    const each = <T>(value: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => value(i));
    const leaves = {
      nodes_treeids: { ints: each((i) => i) },
      nodes_nodeids: { ints: each(() => 0) },
      nodes_modes: { strings: each(() => "LEAF") },
      nodes_values: { floats: each(() => 0) },
      nodes_featureids: { ints: each(() => 0) },
      nodes_truenodeids: { ints: each(() => 0) },
      nodes_falsenodeids: { ints: each(() => 0) },
      target_treeids: { ints: each((i) => i) },
      target_nodeids: { ints: each(() => 0) },
      target_ids: { ints: each((i) => i % 2) },
      target_weights: { floats: each(() => 1) },
    };
    expect(await run("TreeEnsembleRegressor", rows, leaves)).toEqual([[n / 2, n / 2, n / 2, n / 2]]);
  });

  test("lists of other lengths are refused", async () => {
    const other: Attributes[] = [
      { nodes_values: { floats: [2, 0, 0, 2, 0] } },
      { nodes_falsenodeids: { ints: [2] } },
      { nodes_missing_value_tracks_true: { ints: [1, 1] } },
      { target_weights: { floats: [1, 2] } },
    ];
    for (const bad of other)
      await expect(run("TreeEnsembleRegressor", rows, { ...stumps, ...bad })).rejects.toThrow(/elements, not/);
  });

  test("a child that isn't there is the file's fault", async () => {
    const bad = { ...stumps, nodes_falsenodeids: { ints: [7, 0, 0, 2, 0, 0] } };
    const told = run("TreeEnsembleRegressor", rows, bad);
    await expect(told).rejects.toThrow(FormatError);
    await expect(told).rejects.toThrow("there is no node 7 in tree 0");
  });

  test("what an enumeration does not have is refused, by name and by number", async () => {
    const unknown: [string, Attributes][] = [
      ["Normalizer", { norm: { string: "L3" } }],
      ["LinearRegressor", { coefficients: { floats: [1, 1] }, post_transform: { string: "SIGMOID" } }],
      ["TreeEnsembleRegressor", { ...stumps, aggregate_function: { string: "MEAN" } }],
      ["SVMRegressor", { coefficients: { floats: [1, 1] }, kernel_type: { string: "GAUSS" } }],
    ];
    for (const [type, attributes] of unknown) await expect(run(type, rows, attributes)).rejects.toThrow(/is none of/);
    const tensor = (data: HostTensor["data"], dtype: HostTensor["dtype"]) => ({
      tensor: { dtype, shape: [data.length], data } as HostTensor,
    });
    const five: Attributes = {
      nodes_featureids: { ints: [0] },
      nodes_modes: tensor(Uint8Array.of(0), "u8"),
      nodes_splits: tensor(Float32Array.of(2), "f32"),
      nodes_truenodeids: { ints: [0] },
      nodes_falsenodeids: { ints: [1] },
      nodes_trueleafs: { ints: [1] },
      nodes_falseleafs: { ints: [1] },
      leaf_targetids: { ints: [0, 0] },
      leaf_weights: tensor(Float32Array.of(1, 2), "f32"),
      tree_roots: { ints: [0] },
    };
    expect(await run("TreeEnsemble", rows, five)).toEqual([[1, 2]]);
    // What 32 bits would take for 0.
    const large = { ints: [2 ** 32] };
    for (const name of ["nodes_truenodeids", "nodes_featureids", "tree_roots"])
      await expect(run("TreeEnsemble", rows, { ...five, [name]: large }), name).rejects.toThrow(ShapeError);
    const targets = { leaf_targetids: { ints: [0, 2 ** 32] }, n_targets: { int: 1 } };
    await expect(run("TreeEnsemble", rows, { ...five, ...targets })).rejects.toThrow(ShapeError);
    await expect(run("TreeEnsemble", rows, { ...five, post_transform: { int: 9 } })).rejects.toThrow(
      /is none of 0 to 4/,
    );
  });
});

test("what can't be done is an error of ours", async () => {
  const half = { imputed_value_floats: { floats: [1.5] } };
  await expect(run("Imputer", i64(0n), half)).rejects.toThrow(DTypeError);
  await expect(run("FeatureVectorizer", rows, { inputdimensions: { ints: [-2] } })).rejects.toThrow(ShapeError);
});
