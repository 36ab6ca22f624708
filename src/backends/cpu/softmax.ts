/**
 * softmax and logSoftmax, f32, simplest first:
 * - `columns`: the axis is not the last. Rows of neighbouring elements are swept together, so that memory is read in
 *   order; one maximum and one sum is kept for each column.
 * - `rows`: the axis is the last: maximum, exponentials with their sum, and the scaling, each in one sweep of a row that
 *   is still in the cache. Sums are doubles.
 * hardmax has one loop for both.
 */
import { aroundAxis, hardmax, logSoftmax, softmax } from "../../ops/softmax.ts";
import { type HostStep, hostKernel, type Kernel } from "../backend.ts";
import { expF32 } from "./elementwise-math.ts";

function softmaxRows(x: Float32Array, y: Float32Array, n: number): void {
  for (let at = 0; at < x.length; at += n) {
    const end = at + n;
    let max = -Infinity;
    for (let i = at; i < end; i++) if (x[i] > max) max = x[i];
    let sum = 0;
    for (let i = at; i < end; i++) {
      const e = expF32(x[i] - max);
      y[i] = e;
      sum += e;
    }
    const scale = 1 / sum;
    for (let i = at; i < end; i++) y[i] *= scale;
  }
}

function logSoftmaxRows(x: Float32Array, y: Float32Array, n: number): void {
  for (let at = 0; at < x.length; at += n) {
    const end = at + n;
    let max = -Infinity;
    for (let i = at; i < end; i++) if (x[i] > max) max = x[i];
    let sum = 0;
    for (let i = at; i < end; i++) sum += expF32(x[i] - max);
    const shift = max + Math.log(sum);
    for (let i = at; i < end; i++) y[i] = x[i] - shift;
  }
}

function columnMaxima(x: Float32Array, at: number, n: number, max: Float64Array): void {
  const inner = max.length;
  max.fill(-Infinity);
  for (let k = 0, o = at; k < n; k++, o += inner)
    for (let i = 0; i < inner; i++) if (x[o + i] > max[i]) max[i] = x[o + i];
}

function softmaxColumns(x: Float32Array, y: Float32Array, n: number, max: Float64Array, sum: Float64Array): void {
  const inner = max.length;
  for (let at = 0; at < x.length; at += n * inner) {
    columnMaxima(x, at, n, max);
    sum.fill(0);
    for (let k = 0, o = at; k < n; k++, o += inner)
      for (let i = 0; i < inner; i++) {
        const e = expF32(x[o + i] - max[i]);
        y[o + i] = e;
        sum[i] += e;
      }
    for (let i = 0; i < inner; i++) sum[i] = 1 / sum[i];
    for (let k = 0, o = at; k < n; k++, o += inner) for (let i = 0; i < inner; i++) y[o + i] *= sum[i];
  }
}

function logSoftmaxColumns(x: Float32Array, y: Float32Array, n: number, max: Float64Array, sum: Float64Array): void {
  const inner = max.length;
  for (let at = 0; at < x.length; at += n * inner) {
    columnMaxima(x, at, n, max);
    sum.fill(0);
    for (let k = 0, o = at; k < n; k++, o += inner) for (let i = 0; i < inner; i++) sum[i] += expF32(x[o + i] - max[i]);
    for (let i = 0; i < inner; i++) max[i] += Math.log(sum[i]);
    for (let k = 0, o = at; k < n; k++, o += inner) for (let i = 0; i < inner; i++) y[o + i] = x[o + i] - max[i];
  }
}

type Rows = typeof softmaxRows;
type Columns = typeof softmaxColumns;

const variants = (op: typeof softmax, rows: Rows, columns: Columns): Kernel<HostStep>[] => {
  const { name } = op.op;
  return [
    hostKernel(op, `cpu/${name}/rows`, ([x], _, { axis = -1 }) => {
      const { n, inner } = aroundAxis(name, x.shape, axis);
      if (x.dtype !== "f32" || inner !== 1 || n === 0) return undefined;
      return {
        inplace: true,
        run: ([x], [y]) => rows(x as Float32Array, y as Float32Array, n),
      };
    }),
    hostKernel(op, `cpu/${name}/columns`, ([x], _, { axis = -1 }) => {
      const { n, inner } = aroundAxis(name, x.shape, axis);
      if (x.dtype !== "f32" || n * inner === 0) return undefined;
      const max = new Float64Array(inner);
      const sum = new Float64Array(inner);
      return {
        inplace: true,
        run: ([x], [y]) => columns(x as Float32Array, y as Float32Array, n, max, sum),
      };
    }),
  ];
};

/** 1 at the first maximum of a row whose elements are `inner` apart, 0 elsewhere. */
function markMaximum(x: Float32Array, y: Float32Array, at: number, n: number, inner: number): void {
  let best = at;
  for (let i = at, end = at + n * inner; i < end; i += inner) {
    if (x[i] > x[best]) best = i;
    y[i] = 0;
  }
  y[best] = 1;
}

const hardmaxKernel = hostKernel(hardmax, "cpu/hardmax/f32", ([x], _, { axis = -1 }) => {
  const { outer, n, inner } = aroundAxis("hardmax", x.shape, axis);
  if (x.dtype !== "f32" || n === 0) return undefined;
  return {
    run([x], [y]) {
      for (let o = 0; o < outer; o++)
        for (let i = 0; i < inner; i++) markMaximum(x as Float32Array, y as Float32Array, o * n * inner + i, n, inner);
    },
  };
});

export const softmaxKernels: readonly Kernel<HostStep>[] = [
  ...variants(softmax, softmaxRows, softmaxColumns),
  ...variants(logSoftmax, logSoftmaxRows, logSoftmaxColumns),
  hardmaxKernel,
];
