/** Small nodes that an operator's specification allows: shapes, values and attributes, for whichever dtypes. */
import type { DType } from "../../../src/tensor/dtype.ts";
import type { GraphSpec } from "../encode.ts";

/** A shape, filled with small numbers, or the values that a node needs. */
export interface Given {
  readonly shape: readonly number[];
  readonly values?: readonly (number | string)[];
  /** A sequence of this many such tensors. */
  readonly sequence?: number;
}

/** A list is floats or ints as the schema says; the values of a tensor attribute get its dtype from `tensor`. */
export type AttributeValue =
  | number
  | string
  | readonly number[]
  | readonly string[]
  | GraphSpec
  | { readonly tensor: DType; readonly shape: readonly number[]; readonly values: readonly (number | string)[] };

export interface Recipe {
  readonly inputs: readonly (Given | undefined)[];
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  /** How many outputs to ask for. Default 1. */
  readonly outputs?: number;
  /** What comes out is random, or bits: values are not compared between dtypes. */
  readonly incomparable?: boolean;
}

/** The version of the operator, and the dtype of each of its type parameters. */
export interface Version {
  readonly since: number;
  readonly dtypes: Readonly<Record<string, DType>>;
}

/** All nodes to try. A recipe that uses what a version doesn't have is left out there. None: these dtypes don't go together. */
export type Recipes = (v: Version) => readonly Recipe[];

export const of = (...shape: number[]): Given => ({ shape });
export const values = (...list: (number | string)[]): Given => ({ shape: [list.length], values: list });
export const scalar = (value: number | string): Given => ({ shape: [], values: [value] });
export const filled = (shape: readonly number[], list: readonly (number | string)[]): Given => ({
  shape,
  values: list,
});

export const node = (
  inputs: readonly (Given | undefined)[],
  attributes: Recipe["attributes"] = {},
  outputs = 1,
): Recipe => ({ inputs, attributes, outputs });

/** The same nodes whatever the version. */
export const always =
  (...recipes: Recipe[]): Recipes =>
  () =>
    recipes;

export const x = of(2, 3);

export const image = of(1, 1, 4, 4);

export const spread = (g: Given, n: number): Given[] => Array.from({ length: n }, () => g);

/** TensorProto.DataType. */
export const onnxCode: Readonly<Record<string, number>> = Object.fromEntries(
  (
    "f32:1 u8:2 i8:3 u16:4 i16:5 i32:6 i64:7 string:8 bool:9 f16:10 f64:11 u32:12 u64:13 bf16:16 f8e4m3fn:17 f8e4m3fnuz:18 " +
    "f8e5m2:19 f8e5m2fnuz:20 u4:21 i4:22 f4e2m1:23 f8e8m0:24 u2:25 i2:26 f6e2m3:27 f6e3m2:28"
  )
    .split(" ")
    .map((pair) => [pair.split(":")[0], Number(pair.split(":")[1])]),
);

export const codeOf = (v: { dtypes: Readonly<Record<string, string>> }, parameter: string): number =>
  onnxCode[v.dtypes[parameter]];

export const random = (r: Recipe): Recipe => ({ ...r, incomparable: true });

/** Axes as the attribute that they once were, or as an input. */
export const axesSince =
  (since: number, shape: Given, axes: number[], attributes: Recipe["attributes"] = {}, without = true): Recipes =>
  (v) => [
    ...(without ? [node([shape], attributes)] : []),
    v.since < since ? node([shape], { ...attributes, axes }) : node([shape, values(...axes)], attributes),
  ];
