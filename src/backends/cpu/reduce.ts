/**
 * Reductions of f32, and of i64. Neighbouring axes that are both kept or both reduced become one, and what is left is read as
 * [outer kept, outer reduced, kept, reduced], each possibly of size 1. In double, in order of memory:
 * - `rows`: the last axis is reduced: each row gives one number, with four sums in flight.
 * - `columns`: the last axis is kept: rows are added into one row of results.
 * - `logSumExp/rows`: finds the maximum first.
 * - `i64`: in order of memory, into the results themselves.
 * The arg-reductions and running sums have a loop for rows and one for columns likewise.
 */
import { argMax, argMin } from "../../ops/arg-reduce.ts";
import { cumProd, cumSum } from "../../ops/cumulative.ts";
import * as ops from "../../ops/reduce.ts";
import { aroundAxis } from "../../ops/softmax.ts";
import { toNumbers } from "../../tensor/convert.ts";
import type { DType } from "../../tensor/dtype.ts";
import { type HostStep, hostKernel, type Kernel, type KernelInput } from "../backend.ts";
import { expF32 } from "./elementwise-math.ts";

function planBlocks(
  op: string,
  [x, axes]: readonly KernelInput[],
  attrs: ops.ReduceAttrs,
  dtype: DType = "f32",
): ops.ReducedBlocks | undefined {
  if (x.dtype !== dtype) return undefined;
  const list = axes?.constant && toNumbers(axes.constant);
  return ops.blocksOf(x.shape, ops.reducedAxes(op, x.shape.length, list, attrs));
}

type Row = (x: Float32Array, at: number, n: number) => number;
type Column = (sums: Float64Array, x: Float32Array, at: number) => void;

interface Loops {
  /** The value of no elements. */
  start: number;
  row: Row;
  column: Column;
  combine: (a: number, b: number) => number;
  finish?: (v: number, count: number) => number;
}

const plus = (a: number, b: number): number => a + b;

const sumRow: Row = (x, at, n) => {
  let a = 0;
  let b = 0;
  let c = 0;
  let d = 0;
  const end = at + n;
  let i = at;
  for (; i + 3 < end; i += 4) {
    a += x[i];
    b += x[i + 1];
    c += x[i + 2];
    d += x[i + 3];
  }
  for (; i < end; i++) a += x[i];
  return a + b + (c + d);
};
const sumColumn: Column = (sums, x, at) => {
  for (let i = 0; i < sums.length; i++) sums[i] += x[at + i];
};
const sum: Loops = { start: 0, row: sumRow, column: sumColumn, combine: plus };

const squareRow: Row = (x, at, n) => {
  let a = 0;
  let b = 0;
  const end = at + n;
  let i = at;
  for (; i + 1 < end; i += 2) {
    a += x[i] * x[i];
    b += x[i + 1] * x[i + 1];
  }
  if (i < end) a += x[i] * x[i];
  return a + b;
};
const squareColumn: Column = (sums, x, at) => {
  for (let i = 0; i < sums.length; i++) sums[i] += x[at + i] * x[at + i];
};
const squares: Loops = { start: 0, row: squareRow, column: squareColumn, combine: plus };

const absoluteRow: Row = (x, at, n) => {
  let a = 0;
  for (let i = at; i < at + n; i++) a += Math.abs(x[i]);
  return a;
};
const absoluteColumn: Column = (sums, x, at) => {
  for (let i = 0; i < sums.length; i++) sums[i] += Math.abs(x[at + i]);
};

const productRow: Row = (x, at, n) => {
  let a = 1;
  for (let i = at; i < at + n; i++) a *= x[i];
  return a;
};
const productColumn: Column = (sums, x, at) => {
  for (let i = 0; i < sums.length; i++) sums[i] *= x[at + i];
};

const maxRow: Row = (x, at, n) => {
  let a = -Infinity;
  for (let i = at; i < at + n; i++) a = Math.max(a, x[i]);
  return a;
};
const maxColumn: Column = (sums, x, at) => {
  for (let i = 0; i < sums.length; i++) sums[i] = Math.max(sums[i], x[at + i]);
};

const minRow: Row = (x, at, n) => {
  let a = Infinity;
  for (let i = at; i < at + n; i++) a = Math.min(a, x[i]);
  return a;
};
const minColumn: Column = (sums, x, at) => {
  for (let i = 0; i < sums.length; i++) sums[i] = Math.min(sums[i], x[at + i]);
};

const table: readonly [typeof ops.reduceSum, Loops][] = [
  [ops.reduceSum, sum],
  [ops.reduceMean, { ...sum, finish: (v, count) => v / count }],
  [ops.reduceLogSum, { ...sum, finish: Math.log }],
  [ops.reduceSumSquare, squares],
  [ops.reduceL2, { ...squares, finish: Math.sqrt }],
  [ops.reduceL1, { start: 0, row: absoluteRow, column: absoluteColumn, combine: plus }],
  [ops.reduceProd, { start: 1, row: productRow, column: productColumn, combine: (a, b) => a * b }],
  [ops.reduceMax, { start: -Infinity, row: maxRow, column: maxColumn, combine: Math.max }],
  [ops.reduceMin, { start: Infinity, row: minRow, column: minColumn, combine: Math.min }],
];

function reduceRows(
  x: Float32Array,
  y: Float32Array,
  b: ops.ReducedBlocks,
  { start, row, combine, finish }: Loops,
): void {
  const { outerKept, outerReduced, kept, reduced } = b;
  const slice = kept * reduced;
  for (let o = 0; o < outerKept; o++)
    for (let k = 0; k < kept; k++) {
      let v = start;
      for (let r = 0; r < outerReduced; r++)
        v = combine(v, row(x, (o * outerReduced + r) * slice + k * reduced, reduced));
      y[o * kept + k] = finish ? finish(v, outerReduced * reduced) : v;
    }
}

function reduceColumns(x: Float32Array, y: Float32Array, b: ops.ReducedBlocks, loops: Loops, sums: Float64Array): void {
  const { start, column, finish } = loops;
  const { outerKept, outerReduced, kept } = b;
  for (let o = 0; o < outerKept; o++) {
    sums.fill(start);
    for (let r = 0; r < outerReduced; r++) column(sums, x, (o * outerReduced + r) * kept);
    for (let k = 0; k < kept; k++) y[o * kept + k] = finish ? finish(sums[k], outerReduced) : sums[k];
  }
}

const reductions = table.flatMap(([op, loops]): Kernel<HostStep>[] => {
  const { name } = op.op;
  return [
    hostKernel(op, `cpu/${name}/rows`, (inputs, _, attrs) => {
      const b = planBlocks(name, inputs, attrs);
      if (!b || (b.reduced === 1 && b.outerReduced > 1)) return undefined;
      return { run: ([x], [y]) => reduceRows(x as Float32Array, y as Float32Array, b, loops) };
    }),
    hostKernel(op, `cpu/${name}/columns`, (inputs, _, attrs) => {
      const b = planBlocks(name, inputs, attrs);
      if (!b || b.reduced > 1) return undefined;
      const sums = new Float64Array(b.kept);
      return { run: ([x], [y]) => reduceColumns(x as Float32Array, y as Float32Array, b, loops, sums) };
    }),
  ];
});

function expSum(x: Float32Array, at: number, n: number, max: number): number {
  let s = 0;
  for (let i = at; i < at + n; i++) s += expF32(x[i] - max);
  return s;
}

function logSumExpRows(x: Float32Array, y: Float32Array, n: number): void {
  for (let o = 0; o < y.length; o++) {
    const max = maxRow(x, o * n, n);
    y[o] = Number.isFinite(max) ? max + Math.log(expSum(x, o * n, n, max)) : max;
  }
}

const logSumExp = hostKernel(ops.reduceLogSumExp, "cpu/reduceLogSumExp/rows", (inputs, _, attrs) => {
  const b = planBlocks("reduceLogSumExp", inputs, attrs);
  if (!b || b.outerReduced > 1) return undefined;
  return { run: ([x], [y]) => logSumExpRows(x as Float32Array, y as Float32Array, b.reduced) };
});

/** `sign` 1 seeks the largest. NaN beats every number. */
function argRow(x: Float32Array, at: number, n: number, sign: number, last: boolean): number {
  let best = 0;
  let top = x[at] * sign;
  for (let k = 1; k < n; k++) {
    const v = x[at + k] * sign;
    if (v > top || (last && v === top)) {
      best = k;
      top = v;
    } else if (Number.isNaN(v) && (last || !Number.isNaN(top))) {
      best = k;
      top = v;
    }
  }
  return best;
}

/** The same for `inner` columns at once. */
function argColumns(
  x: Float32Array,
  at: number,
  n: number,
  sign: number,
  last: boolean,
  tops: Float64Array,
  best: Int32Array,
): void {
  const inner = tops.length;
  best.fill(0);
  for (let i = 0; i < inner; i++) tops[i] = x[at + i] * sign;
  for (let k = 1; k < n; k++)
    for (let i = 0; i < inner; i++) {
      const v = x[at + k * inner + i] * sign;
      const top = tops[i];
      if (v > top || (last && v === top) || (Number.isNaN(v) && (last || !Number.isNaN(top)))) {
        tops[i] = v;
        best[i] = k;
      }
    }
}

const argSigns = [
  [argMax, 1],
  [argMin, -1],
] as const;

const argKernels = argSigns.flatMap(([op, sign]): Kernel<HostStep>[] => {
  const { name } = op.op;
  return [
    hostKernel(op, `cpu/${name}/rows`, ([x], _, { axis = 0, selectLastIndex = false }) => {
      const { outer, n, inner } = aroundAxis(name, x.shape, axis);
      if (x.dtype !== "f32" || inner !== 1) return undefined;
      return {
        run([x], [y]) {
          for (let o = 0; o < outer; o++)
            (y as BigInt64Array)[o] = BigInt(argRow(x as Float32Array, o * n, n, sign, selectLastIndex));
        },
      };
    }),
    hostKernel(op, `cpu/${name}/columns`, ([x], _, { axis = 0, selectLastIndex = false }) => {
      const { outer, n, inner } = aroundAxis(name, x.shape, axis);
      if (x.dtype !== "f32" || inner === 1) return undefined;
      const tops = new Float64Array(inner);
      const best = new Int32Array(inner);
      return {
        run([x], [y]) {
          for (let o = 0; o < outer; o++) {
            argColumns(x as Float32Array, o * n * inner, n, sign, selectLastIndex, tops, best);
            for (let i = 0; i < inner; i++) (y as BigInt64Array)[o * inner + i] = BigInt(best[i]);
          }
        },
      };
    }),
  ];
});

/** Joins n elements of x from i on to y[at]. */
type JoinI64 = (x: BigInt64Array, i: number, n: number, y: BigInt64Array, at: number) => void;

const addI64: JoinI64 = (x, i, n, y, at) => {
  for (const end = i + n; i < end; i++) y[at] += x[i];
};
const multiplyI64: JoinI64 = (x, i, n, y, at) => {
  for (const end = i + n; i < end; i++) y[at] = BigInt.asIntN(64, y[at] * x[i]);
};
const maxI64: JoinI64 = (x, i, n, y, at) => {
  for (const end = i + n; i < end; i++) {
    const [v, m] = [x[i], y[at]];
    y[at] = v > m ? v : m;
  }
};
const minI64: JoinI64 = (x, i, n, y, at) => {
  for (const end = i + n; i < end; i++) {
    const [v, m] = [x[i], y[at]];
    y[at] = v < m ? v : m;
  }
};

const tableI64: readonly [typeof ops.reduceSum, start: bigint, JoinI64][] = [
  [ops.reduceSum, 0n, addI64],
  [ops.reduceProd, 1n, multiplyI64],
  [ops.reduceMax, -(2n ** 63n), maxI64],
  [ops.reduceMin, 2n ** 63n - 1n, minI64],
];

const reductionsI64 = tableI64.map(([op, start, join]) =>
  hostKernel(op, `cpu/${op.op.name}/i64`, (inputs, _, attrs) => {
    const b = planBlocks(op.op.name, inputs, attrs, "i64");
    if (!b) return undefined;
    const { outerKept, outerReduced, kept, reduced } = b;
    return {
      run([x], [y]) {
        (y as BigInt64Array).fill(start);
        for (let o = 0, i = 0; o < outerKept; o++)
          for (let r = 0; r < outerReduced; r++)
            for (let k = 0; k < kept; k++, i += reduced)
              join(x as BigInt64Array, i, reduced, y as BigInt64Array, o * kept + k);
      },
    };
  }),
);

/** One running total for each of the `inner` columns. */
function runTotals(
  x: Float32Array,
  y: Float32Array,
  n: number,
  product: boolean,
  exclusive: boolean,
  reverse: boolean,
  totals: Float64Array,
): void {
  const inner = totals.length;
  for (let at = 0; at < x.length; at += n * inner) {
    totals.fill(product ? 1 : 0);
    for (let j = 0; j < n; j++) {
      const o = at + (reverse ? n - 1 - j : j) * inner;
      for (let i = 0; i < inner; i++) {
        const before = totals[i];
        const after = product ? before * x[o + i] : before + x[o + i];
        y[o + i] = exclusive ? before : after;
        totals[i] = after;
      }
    }
  }
}

const running = [cumSum, cumProd].map((op) =>
  hostKernel(op, `cpu/${op.op.name}/columns`, ([x, axis], _, { exclusive = false, reverse = false }) => {
    if (x.dtype !== "f32" || !axis.constant) return undefined;
    const { n, inner } = aroundAxis(op.op.name, x.shape, toNumbers(axis.constant)[0]);
    if (n * inner === 0) return undefined;
    const totals = new Float64Array(inner);
    return {
      inplace: true,
      run: ([x], [y]) => runTotals(x as Float32Array, y as Float32Array, n, op === cumProd, exclusive, reverse, totals),
    };
  }),
);

/** The same for i64. What came before is read from y: V8 keeps no BigInt in a register from turn to turn. */
function runTotalsI64(
  x: BigInt64Array,
  y: BigInt64Array,
  n: number,
  inner: number,
  product: boolean,
  exclusive: boolean,
  reverse: boolean,
): void {
  const step = reverse ? -inner : inner;
  const later = exclusive ? step : 0;
  for (let at = 0; at < x.length; at += n * inner)
    for (let i = at; i < at + inner; i++) {
      const first = reverse ? i + (n - 1) * inner : i;
      y[first] = exclusive ? (product ? 1n : 0n) : x[first];
      for (let j = 1, o = first + step; j < n; j++, o += step)
        y[o] = product ? BigInt.asIntN(64, y[o - step] * x[o - later]) : y[o - step] + x[o - later];
    }
}

const runningI64 = [cumSum, cumProd].map((op) =>
  hostKernel(op, `cpu/${op.op.name}/i64`, ([x, axis], _, { exclusive = false, reverse = false }) => {
    if (x.dtype !== "i64" || !axis.constant) return undefined;
    const { n, inner } = aroundAxis(op.op.name, x.shape, toNumbers(axis.constant)[0]);
    if (n * inner === 0) return undefined;
    return {
      inplace: !exclusive,
      run: ([x], [y]) =>
        runTotalsI64(x as BigInt64Array, y as BigInt64Array, n, inner, op === cumProd, exclusive, reverse),
    };
  }),
);

export const reduceKernels: readonly Kernel<HostStep>[] = [
  ...reductions,
  logSumExp,
  ...argKernels,
  ...running,
  ...reductionsI64,
  ...runningI64,
];
