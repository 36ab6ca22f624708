/** ai.onnx.ml, the operators of scikit-learn and gradient boosting exports -> ours. */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { arrayFeatureExtractor } from "../../../ops/array-feature-extractor.ts";
import { categoryMapper } from "../../../ops/ml/category-mapper.ts";
import type { Labels, PostTransform } from "../../../ops/ml/common.ts";
import { featureVectorizer } from "../../../ops/ml/feature-vectorizer.ts";
import { labelEncoder, oneHotEncoder } from "../../../ops/ml/label-encoder.ts";
import { linearClassifier, linearRegressor } from "../../../ops/ml/linear.ts";
import { binarizer, imputer, normalizer, scaler } from "../../../ops/ml/scaler.ts";
import { svmClassifier, svmKernels, svmRegressor } from "../../../ops/ml/svm.ts";
import { treeEnsemble, treeEnsembleClassifier } from "../../../ops/ml/tree-ensemble.ts";
import type { HostTensor } from "../../../tensor/tensor.ts";
import type { Lowering, LoweringTable, OnnxNode } from "../node.ts";
import { choice } from "./choice.ts";
import { countOf, forestByIds, forestByIndex, numbers } from "./trees.ts";

const transforms: readonly PostTransform[] = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"];
const aggregates = ["AVERAGE", "SUM", "MIN", "MAX"] as const;

const post = (n: OnnxNode): PostTransform => choice(n, "post_transform", transforms) ?? "NONE";

/** An attribute of a list that has something in it: exporters write both of two alternatives, and leave one empty. */
const filled = <T extends { length: number }>(list: T | undefined): T | undefined => (list?.length ? list : undefined);

/** Strings, or the integers under the name that this operator gives them. */
const labels = (n: OnnxNode, ints: string, strings = "classlabels_strings"): Labels =>
  filled(n.strings(strings)) ?? filled(n.int64s(ints)) ?? n.missing(strings);

/** `keys_*` or `values_*`, whichever is there, as a tensor. */
function list(n: OnnxNode, prefix: string): HostTensor {
  const tensor = n.tensor(`${prefix}_tensor`);
  if (tensor) return tensor;
  const strings = filled(n.strings(`${prefix}_strings`));
  if (strings) return { dtype: "string", shape: [strings.length], data: strings };
  const ints = filled(n.bigints(`${prefix}_int64s`));
  if (ints) return { dtype: "i64", shape: [ints.length], data: ints };
  const floats = filled(n.floatArray(`${prefix}_floats`)) ?? n.missing(`${prefix}_tensor`);
  return { dtype: "f32", shape: [floats.length], data: floats };
}

/** What the encoder gives for unknown keys, by the dtype of its values. */
function fallback(n: OnnxNode, { dtype }: HostTensor): HostTensor {
  const tensor = n.tensor("default_tensor");
  if (tensor) return tensor;
  if (dtype === "string") return { dtype, shape: [], data: [n.string("default_string", "_Unused")] };
  if (dtype === "i64") return { dtype, shape: [], data: BigInt64Array.of(BigInt(n.int64("default_int64", -1))) };
  if (dtype === "f32") return { dtype, shape: [], data: Float32Array.of(n.float("default_float", -0)) };
  if (dtype === "f64") return { dtype, shape: [], data: Float64Array.of(-0) };
  if (dtype === "i32") return { dtype, shape: [], data: Int32Array.of(-1) };
  return dtype === "i16" ? { dtype, shape: [], data: Int16Array.of(-1) } : n.unsupported(`values of ${dtype}`);
}

const mapper = (names: string, n: OnnxNode, ints?: readonly (number | bigint)[]): ReturnType<Lowering> => {
  const list = n.strings(names) ?? n.missing(names);
  return categoryMapper(n.input(0), {
    names: list,
    numbers: ints ?? list.map((_, i) => i),
    defaultName: n.string("default_string", "_Unused"),
    defaultNumber: n.int64("default_int64", -1),
  });
};

const svm = (n: OnnxNode) => ({
  kernel: choice(n, "kernel_type", svmKernels),
  kernelParams: n.floats("kernel_params"),
  supportVectors: n.floats("support_vectors") ?? [],
  coefficients: n.floats("coefficients") ?? n.missing("coefficients"),
  rho: n.floats("rho") ?? [],
  post: post(n),
});

const baseOf = (n: OnnxNode): number[] | undefined => {
  const values = numbers(n, "base_values");
  return values && [...values];
};

/** What an enumeration of numbers says. */
const at = <T>(n: OnnxNode, choices: readonly T[], name: string, fallback: number): T =>
  choices[n.int(name, fallback)] ?? n.wrong(`${name} ${n.int(name)} is none of 0 to ${choices.length - 1}`);

const operators: Record<string, Lowering> = {
  ArrayFeatureExtractor: (n) => arrayFeatureExtractor(n.input(0), n.input(1)),
  Binarizer: (n) => binarizer(n.input(0), { threshold: n.float("threshold", 0) }),
  CategoryMapper: (n) => mapper("cats_strings", n, n.int64s("cats_int64s") ?? n.missing("cats_int64s")),
  FeatureVectorizer: (n) => featureVectorizer<SymbolicValue>(...n.rest(), { widths: n.ints("inputdimensions") }),
  Imputer: (n) => {
    const floats = filled(n.floats("imputed_value_floats"));
    return imputer(n.input(0), {
      imputed: floats ?? filled(n.int64s("imputed_value_int64s")) ?? n.missing("imputed_value_floats"),
      replaced: floats ? n.float("replaced_value_float", 0) : n.int64("replaced_value_int64", 0),
    });
  },
  LabelEncoder: (n) => {
    if (n.opset < 2) return mapper("classes_strings", n);
    const values = list(n, "values");
    return labelEncoder(n.input(0), { keys: list(n, "keys"), values, fallback: fallback(n, values) });
  },
  LinearClassifier: (n) =>
    linearClassifier(n.input(0), {
      coefficients: n.floats("coefficients") ?? n.missing("coefficients"),
      intercepts: n.floats("intercepts"),
      labels: labels(n, "classlabels_ints"),
      post: post(n),
    }),
  LinearRegressor: (n) =>
    linearRegressor(n.input(0), {
      coefficients: n.floats("coefficients") ?? n.missing("coefficients"),
      intercepts: n.floats("intercepts"),
      targets: n.int("targets", 1),
      post: post(n),
    }),
  Normalizer: (n) => normalizer(n.input(0), { norm: choice(n, "norm", ["MAX", "L1", "L2"]) }),
  OneHotEncoder: (n) =>
    oneHotEncoder(n.input(0), {
      categories: labels(n, "cats_int64s", "cats_strings"),
      zeros: n.flag("zeros", true),
    }),
  Scaler: (n) => scaler(n.input(0), { offset: n.floats("offset"), scale: n.floats("scale") }),
  SVMClassifier: (n) =>
    svmClassifier(n.input(0), {
      ...svm(n),
      labels: labels(n, "classlabels_ints"),
      vectorsPerClass: n.ints("vectors_per_class") ?? [],
      probA: n.floats("prob_a"),
      probB: n.floats("prob_b"),
    }),
  SVMRegressor: (n) => svmRegressor(n.input(0), { ...svm(n), oneClass: n.flag("one_class") }),
  TreeEnsemble: (n) =>
    treeEnsemble(n.input(0), {
      forest: forestByIndex(n),
      aggregate: at(n, aggregates, "aggregate_function", 1),
      post: at(n, transforms, "post_transform", 0),
    }),
  TreeEnsembleClassifier: (n) => {
    const names = labels(n, "classlabels_int64s");
    return treeEnsembleClassifier(n.input(0), {
      forest: forestByIds(n, "class", names.length),
      base: baseOf(n),
      labels: names,
      post: post(n),
    });
  },
  TreeEnsembleRegressor: (n) => {
    const targets = n.int("n_targets") ?? countOf(n.intArray("target_ids") ?? []);
    return treeEnsemble(n.input(0), {
      forest: forestByIds(n, "target", targets),
      base: baseOf(n),
      aggregate: choice(n, "aggregate_function", aggregates),
      post: post(n),
      dtype: "f32",
    });
  },
  // There are no maps here: the result is the table that the maps would be made of, one column for each class label.
  ZipMap: (n) => n.input(0),
};

export const mlLowerings: LoweringTable = Object.fromEntries(
  Object.entries(operators).map(([name, lower]) => [`ai.onnx.ml::${name}`, lower]),
);
