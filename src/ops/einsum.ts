/** Einstein summation: any product of tensors, summed over the indices that the output does not name. */
import { fromF64, toF64 } from "../tensor/convert.ts";
import { isInteger } from "../tensor/dtype.ts";
import { forEachOffset, stridesOf } from "../tensor/shape.ts";
import type { TensorType } from "../tensor/tensor.ts";
import { sameDType, shapeError } from "./check.ts";
import { integersOf, storeIntegers } from "./integers.ts";
import { defineOp } from "./op.ts";

export interface EinsumAttrs {
  /** `ij,jk->ik`; without `->` the output has the indices that occur once, sorted, after those of `...`. */
  equation: string;
}

const OP = "einsum";

/** An equation against the shapes of its operands. Indices are letters; those of an ellipsis are numbered from the right. */
export interface EinsumPlan {
  /** Names of the output's axes, then those that are summed over. */
  indices: string[];
  sizes: number[];
  /** How many of them are the output's. */
  kept: number;
  /** For each operand, its stride along each index: 0 where it doesn't have it; summed where it has it twice. */
  strides: number[][];
}

/** Parses `equation` for operands of these types. Throws ShapeError. */
export function einsumPlan(equation: string, operands: readonly TensorType[]): EinsumPlan {
  const [left, right, ...more] = equation.replace(/ /g, "").split("->");
  const terms = left.split(",");
  if (more.length > 0 || terms.length !== operands.length)
    shapeError(OP, `"${equation}" has ${terms.length} terms`, ...operands);
  const sizes = new Map<string, number>();
  const names = terms.map((term, t) => axesOf(equation, term, operands[t]));
  let ellipsis: string[] = [];
  names.forEach((axes, t) => {
    const { shape } = operands[t];
    axes.forEach((name, a) => {
      const known = sizes.get(name) ?? 1;
      // Axes of size 1 broadcast, as in NumPy.
      if (known !== 1 && shape[a] !== 1 && known !== shape[a])
        shapeError(OP, `"${equation}": index ${name} is ${known} and ${shape[a]}`, ...operands);
      sizes.set(name, known === 1 ? shape[a] : known);
    });
    const own = axes.filter((name) => name.startsWith("."));
    if (own.length > ellipsis.length) ellipsis = own;
  });
  const output = right === undefined ? implicitOutput(terms, ellipsis) : explicitOutput(equation, right, ellipsis);
  for (const name of output)
    if (!sizes.has(name)) shapeError(OP, `"${equation}": output index ${name} is in no term`, ...operands);
  if (new Set(output).size !== output.length) shapeError(OP, `"${equation}": an output index is repeated`, ...operands);
  const indices = [...output, ...[...sizes.keys()].filter((name) => !output.includes(name))];
  const strides = names.map((axes, t) => {
    const { shape } = operands[t];
    const own = stridesOf(shape);
    return indices.map((name) => axes.reduce((s, n, a) => (n === name && shape[a] !== 1 ? s + own[a] : s), 0));
  });
  return { indices, sizes: indices.map((name) => sizes.get(name)!), kept: output.length, strides };
}

const parts = (equation: string, term: string): [string, string | undefined] => {
  const [before, after, ...more] = term.split("...");
  if (more.length > 0 || !/^[A-Za-z]*$/.test(before + (after ?? "")))
    shapeError(OP, `"${equation}": cannot read the term "${term}"`);
  return [before, after];
};

function axesOf(equation: string, term: string, operand: TensorType): string[] {
  const [before, after] = parts(equation, term);
  const rank = operand.shape.length;
  const free = rank - before.length - (after?.length ?? 0);
  if (after === undefined ? free !== 0 : free < 0)
    shapeError(OP, `"${equation}": term "${term}" does not fit`, operand);
  return [...before, ...Array.from({ length: free }, (_, i) => `.${free - i}`), ...(after ?? "")];
}

function implicitOutput(terms: readonly string[], ellipsis: readonly string[]): string[] {
  const letters = [...terms.join("")].filter((c) => /[A-Za-z]/.test(c));
  const once = letters.filter((c) => letters.indexOf(c) === letters.lastIndexOf(c));
  return [...ellipsis, ...once.sort()];
}

function explicitOutput(equation: string, term: string, ellipsis: readonly string[]): string[] {
  const [before, after] = parts(equation, term);
  return after === undefined ? [...before] : [...before, ...ellipsis, ...after];
}

/** Sums of products by indices. Numbers of one dtype; integers exact (wrapping); output of that dtype. */
export const einsum = /* @__PURE__ */ defineOp({
  name: OP,
  inputs: ["...xs"],
  infer(xs, { equation }: EinsumAttrs) {
    if (xs.length === 0) shapeError(OP, "takes at least one operand");
    const dtype = sameDType(OP, ...xs);
    const { sizes, kept } = einsumPlan(equation, xs);
    return { dtype, shape: sizes.slice(0, kept) };
  },
  reference(xs, { equation }, [y]) {
    const { sizes, kept, strides } = einsumPlan(equation, xs);
    const exact = isInteger(y.dtype);
    // Products and sums of bigint read as those of numbers.
    const sources = xs.map((x) => (exact ? integersOf(x) : toF64(x)) as unknown as number[]);
    const [zero, one] = (exact ? [0n, 1n] : [0, 1]) as [number, number];
    const results = new Array<number>(y.data.length).fill(zero);
    const outStrides = sizes.map((_, i) => (i < kept ? stridesOf(sizes.slice(0, kept))[i] : 0));
    forEachOffset(sizes, [outStrides, ...strides], (_, offsets) => {
      let product = one;
      for (let t = 0; t < sources.length; t++) product *= sources[t][offsets[t + 1]];
      results[offsets[0]] += product;
    });
    if (exact) storeIntegers(results as unknown as bigint[], y);
    else fromF64(results, y);
  },
});
