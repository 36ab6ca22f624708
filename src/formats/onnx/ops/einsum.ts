/**
 * ONNX Einsum -> ours. A product of two operands becomes a matmul between transposes and reshapes, for which every
 * backend has kernels; anything else (diagonals, ellipses, other numbers of operands) stays an einsum.
 */
import type { SymbolicValue } from "../../../graph/builder.ts";
import { concat } from "../../../ops/concat.ts";
import { einsum } from "../../../ops/einsum.ts";
import { matmul, productDTypes } from "../../../ops/matmul.ts";
import { reduceProd, reduceSum } from "../../../ops/reduce.ts";
import { reshape } from "../../../ops/reshape.ts";
import { shape } from "../../../ops/shape.ts";
import { transpose } from "../../../ops/transpose.ts";
import { FormatError } from "../../../tensor/errors.ts";
import type { LoweringTable, OnnxNode } from "../node.ts";

/** The indices of a product of two operands, by where they occur. */
interface Product {
  a: string;
  b: string;
  output: string;
  /** In both and in the output. */
  batch: string[];
  /** In the output and in `a` or `b` alone. */
  rows: string[];
  columns: string[];
  /** In both, summed over. */
  inner: string[];
}

const only = (term: string, keep: (c: string) => boolean): string[] => [...term].filter(keep);

/** Undefined where the equation is no plain product of two operands. */
export function parseProduct(equation: string): Product | undefined {
  const [left, right, ...more] = equation.replace(/ /g, "").split("->");
  const [a, b, ...others] = left.split(",");
  if (b === undefined || others.length + more.length > 0 || !/^[A-Za-z]*$/.test(a + b + (right ?? "")))
    return undefined;
  const repeats = (term: string): boolean => new Set(term).size !== term.length;
  if (repeats(a) || repeats(b) || repeats(right ?? "")) return undefined;
  const output =
    right ??
    only(a + b, (c) => !(a.includes(c) && b.includes(c)))
      .sort()
      .join("");
  if (only(output, (c) => !a.includes(c) && !b.includes(c)).length > 0) return undefined;
  return {
    a,
    b,
    output,
    batch: only(a, (c) => b.includes(c) && output.includes(c)),
    rows: only(a, (c) => !b.includes(c) && output.includes(c)),
    columns: only(b, (c) => !a.includes(c) && output.includes(c)),
    inner: only(a, (c) => b.includes(c) && !output.includes(c)),
  };
}

/** Matmul does not have einsum's narrow integers. */
const hasMatmul = (x: SymbolicValue): boolean => !x.type || (productDTypes as readonly string[]).includes(x.type.dtype);

/** Indices that are 1 in one operand and not in the other repeat, which reshapes would not. */
function repeatsAnIndex({ a, b }: Product, x: SymbolicValue, y: SymbolicValue): boolean {
  if (!x.type || !y.type) return false;
  const [s, t] = [x.type.shape, y.type.shape];
  return [...a].some((c, i) => b.includes(c) && s[i] !== t[b.indexOf(c)]);
}

function lowerProduct(n: OnnxNode, p: Product, x: SymbolicValue, y: SymbolicValue): SymbolicValue {
  const size = (c: string): SymbolicValue => {
    const [from, i] = p.a.includes(c) ? [x, p.a.indexOf(c)] : [y, p.b.indexOf(c)];
    return shape(from, { start: i, end: i + 1 });
  };
  const sizes = (indices: readonly string[]): SymbolicValue =>
    indices.length === 0
      ? n.builder.constant({ dtype: "i64", shape: [0], data: new BigInt64Array(0) })
      : join(indices.map(size));
  /** One size for all of `indices`; 1 for none. */
  const merged = (indices: readonly string[]): SymbolicValue =>
    indices.length === 0 ? n.i64([1]) : indices.length === 1 ? size(indices[0]) : reduceProd(sizes(indices));
  /** `value` with `term`'s axes in the order of `groups`, each group one axis, after the batch axes. */
  const matrix = (value: SymbolicValue, term: string, groups: readonly (readonly string[])[]): SymbolicValue => {
    const kept = [...p.batch, ...groups.flat()];
    const lost = [...term].filter((c) => !kept.includes(c));
    const own = [...term].filter((c) => kept.includes(c));
    const summed =
      lost.length === 0 ? value : reduceSum(value, n.i64(lost.map((c) => term.indexOf(c))), { keepDims: false });
    const perm = kept.map((c) => own.indexOf(c));
    const ordered = perm.every((from, to) => from === to) ? summed : transpose(summed, { perm });
    if (groups.every((g) => g.length === 1)) return ordered;
    return reshape(ordered, join([sizes(p.batch), ...groups.map(merged)]), { allowZero: true });
  };
  const product = matmul(matrix(x, p.a, [p.rows, p.inner]), matrix(y, p.b, [p.inner, p.columns]));
  const order = [...p.batch, ...p.rows, ...p.columns];
  const whole =
    p.rows.length === 1 && p.columns.length === 1 ? product : reshape(product, sizes(order), { allowZero: true });
  const perm = [...p.output].map((c) => order.indexOf(c));
  return perm.every((from, to) => from === to) ? whole : transpose(whole, { perm });
}

const join = (parts: readonly SymbolicValue[]): SymbolicValue =>
  parts.length === 1 ? parts[0] : concat(...parts, { axis: 0 });

export const einsumLowerings: LoweringTable = {
  Einsum: (n) => {
    const equation = n.string("equation");
    if (equation === undefined)
      throw new FormatError('Einsum: attribute "equation" is missing', { op: n.type }).at(n.name);
    const operands = n.rest();
    const product = operands.length === 2 ? parseProduct(equation) : undefined;
    if (!product || !hasMatmul(operands[0]) || repeatsAnIndex(product, operands[0], operands[1]))
      return einsum(...operands, { equation });
    return lowerProduct(n, product, operands[0], operands[1]);
  },
};
