/**
 * Kernels that combine the elements of a row, a set of elements along some axes:
 *
 *   rows   an invocation for each row: short rows
 *   group  a workgroup for each row, whose invocations meet
 *
 * Both are the same code: each invocation takes every `step`-th element from `first`, then results are combined.
 */
import { type Shape, sizeOf, stridesOf } from "../../tensor/shape.ts";
import { type Combination, groupReduction, groupSize } from "./reduction.ts";
import type { Binding, Dispatch } from "./step.ts";
import type { GpuTarget, Scalar } from "./target.ts";
import { offsets, perElement, perGroup } from "./wgsl.ts";

export interface Rows {
  readonly count: number;
  /** Elements of a row. */
  readonly n: number;
  /** Statements that declare `start`, where row number `row` begins. */
  readonly begin: string;
  /** Where element number `k` is: statements, and its offset. */
  element(k: string): { readonly code: string; readonly at: string };
}

/** The sets of elements along `axes`; rows count as the elements of the result do. */
export function rowsAlong(shape: Shape, axes: readonly number[]): Rows {
  const strides = stridesOf(shape);
  const gone = new Set(axes);
  const pick = (along: boolean) => shape.map((_, i) => i).filter((i) => gone.has(i) === along);
  const [kept, reduced] = [pick(false), pick(true)];
  const keptShape = kept.map((i) => shape[i]);
  const reducedSizes = reduced.map((i) => shape[i]);
  const start = offsets("row", keptShape, [kept.map((i) => strides[i])], "kept");
  return {
    count: sizeOf(keptShape),
    n: sizeOf(reducedSizes),
    begin: `${start.code}  let start = ${start.at[0]};\n`,
    element(k) {
      const along = offsets(k, reducedSizes, [reduced.map((i) => strides[i])], "along");
      return { code: along.code, at: `start + ${along.at[0]}` };
    },
  };
}

/** Rows so short that one invocation takes a whole one. */
const shortRow = 32;

export const isShort = ({ n }: Rows): boolean => n <= shortRow;

/** A value that all invocations of a row combine: by name, declared by the dispatch. */
export interface RowValue extends Combination {
  readonly name: string;
  readonly type: Scalar;
}

interface RowCode {
  readonly bindings: readonly Binding[];
  readonly values: readonly RowValue[];
  /** Module scope. */
  readonly declarations?: string;
  /**
   * What happens for one row. `each` writes a loop over the elements of this invocation; `all` an expression for a value
   * combined over the row; `once` statements that one invocation alone executes.
   */
  body(row: {
    each(k: string, body: (at: string) => string): string;
    all(value: RowValue, own: string): string;
    once(statements: string): string;
  }): string;
}

export function rowDispatch(target: GpuTarget, rows: Rows, code: RowCode): Dispatch {
  const { bindings, values, declarations = "" } = code;
  const short = isShort(rows);
  const size = groupSize(rows.n);
  const each = (k: string, body: (at: string) => string): string => {
    const { code: walk, at } = rows.element(k);
    const loop = short
      ? `var ${k} = 0u; ${k} < ${rows.n}u; ${k}++`
      : `var ${k} = local; ${k} < ${rows.n}u; ${k} += ${size}u`;
    return `  for (${loop}) {\n${walk}    ${body(at)}\n  }\n`;
  };
  if (short) {
    const body = code.body({ each, all: (_, own) => own, once: (statements) => statements });
    return perElement(rows.count, { bindings, declarations, body: `  let row = i;\n${rows.begin}${body}` });
  }
  const body = code.body({
    each,
    all: ({ name }, own) => `${name}(${own}, local, width)`,
    once: (statements) => `  if (local == 0u) { ${statements} }\n`,
  });
  const combined = values.map((v) => groupReduction(target, v.name, v.type, size, v)).join("");
  return perGroup(rows.count, size, { bindings, declarations: combined + declarations, body: rows.begin + body });
}
