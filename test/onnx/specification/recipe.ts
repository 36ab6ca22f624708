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
