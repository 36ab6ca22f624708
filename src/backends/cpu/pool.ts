/**
 * Pooling in f32 over 1 to 3 spatial axes, one plane at a time. Windows that lie on elements alone (nearly all of them)
 * run over fixed tap offsets; those on an edge test each tap. Indices are found only where somebody reads them.
 */
import {
  averagePool,
  globalAveragePool,
  globalMaxPool,
  type MaxPoolAttrs,
  maxPool,
  poolWindow,
} from "../../ops/pool.ts";
import { onPadding, tapOffsets, type Window } from "../../ops/window.ts";
import { sizeOf, stridesOf } from "../../tensor/shape.ts";
import type { HostStep, Kernel } from "../backend.ts";
import { kernel } from "../backend.ts";
import { gridOffsets } from "./conv.ts";
import { f32 } from "./tile.ts";

interface PoolPlan {
  readonly taps: number;
  readonly inputPlane: number;
  readonly outputPlane: number;
  /** Offset of each window's first tap, for windows that lie inside. */
  readonly starts: Int32Array;
  /** Offsets of the taps of a window from its first. */
  readonly steps: Int32Array;
  readonly inside: Uint8Array;
  /** As `tapOffsets` gives them, `taps` for each window: read for windows on an edge. */
  readonly table: Int32Array;
}

/** Entries of the table up to which it pays to have one. */
const tableLimit = 1 << 22;

function planPool(window: Window): PoolPlan | undefined {
  const taps = sizeOf(window.kernel);
  const outputPlane = sizeOf(window.output);
  if (taps * outputPlane > tableLimit || outputPlane === 0) return undefined;
  const strides = stridesOf(window.input);
  const table = tapOffsets(window);
  const inside = new Uint8Array(outputPlane);
  for (let o = 0; o < outputPlane; o++)
    inside[o] = table.subarray(o * taps, (o + 1) * taps).every((t) => t >= 0) ? 1 : 0;
  return {
    taps,
    inputPlane: sizeOf(window.input),
    outputPlane,
    starts: Int32Array.from({ length: outputPlane }, (_, o) => table[o * taps]),
    steps: gridOffsets(
      window.kernel,
      strides.map((s, d) => s * window.dilations[d]),
    ),
    inside,
    table,
  };
}

/** The largest element of each window of one plane. NaN wins. */
function maxPlane(
  { taps, starts, steps, inside, table }: PoolPlan,
  x: Float32Array,
  at: number,
  y: Float32Array,
  to: number,
): void {
  for (let o = 0; o < starts.length; o++) {
    let best = -Infinity;
    if (inside[o] === 1) {
      const start = at + starts[o];
      for (let t = 0; t < taps; t++) {
        const v = x[start + steps[t]];
        if (v > best || Number.isNaN(v)) best = v;
      }
    } else
      for (let t = o * taps; t < (o + 1) * taps; t++) {
        const v = table[t] < 0 ? -Infinity : x[at + table[t]];
        if (v > best || Number.isNaN(v)) best = v;
      }
    y[to + o] = best;
  }
}

/** The same with indices. Taps in order and a strict comparison: the first of equal elements. */
function maxPlaneIndices(
  { taps, outputPlane, table }: PoolPlan,
  x: Float32Array,
  at: number,
  y: Float32Array,
  to: number,
  indices: BigInt64Array,
  numbering: Int32Array | undefined,
): void {
  for (let o = 0; o < outputPlane; o++) {
    let best = -Infinity;
    let where = -1;
    for (let t = o * taps; t < (o + 1) * taps; t++) {
      const i = table[t];
      if (i < 0) continue;
      const v = x[at + i];
      if (where < 0 || v > best || (Number.isNaN(v) && !Number.isNaN(best))) {
        best = v;
        where = i;
      }
    }
    const found = Math.max(where, 0);
    y[to + o] = best;
    indices[to + o] = BigInt(at + (numbering ? numbering[found] : found));
  }
}

/** Column-major number of every row-major position. */
function columnMajor(shape: readonly number[]): Int32Array {
  const strides = shape.map((_, d) => sizeOf(shape.slice(0, d)));
  return gridOffsets(shape, strides);
}

const maxPoolKernel = (name: string, indexed: boolean) =>
  kernel<HostStep, typeof maxPool>(maxPool, name, ([x], [y, indices], attrs: MaxPoolAttrs) => {
    if (x.dtype !== "f32" || (indices !== undefined) !== indexed) return undefined;
    const window = poolWindow("maxPool", x, attrs);
    const plan = planPool(window);
    if (!plan) return undefined;
    const planes = x.shape[0] * x.shape[1];
    const numbering = indexed && attrs.columnMajor ? columnMajor(window.input) : undefined;
    const { inputPlane, outputPlane } = plan;
    const wanted = y !== undefined;
    return {
      workspaceBytes: wanted ? 0 : outputPlane * planes * 4,
      run([x], [y, indices], workspace) {
        const values = wanted ? f32(y) : new Float32Array(workspace.buffer, workspace.byteOffset, outputPlane * planes);
        for (let p = 0; p < planes; p++)
          if (indexed)
            maxPlaneIndices(plan, f32(x), p * inputPlane, values, p * outputPlane, indices as BigInt64Array, numbering);
          else maxPlane(plan, f32(x), p * inputPlane, values, p * outputPlane);
      },
    };
  });

const averageKernel = kernel<HostStep, typeof averagePool>(averagePool, "cpu/averagePool/plane", ([x], _, attrs) => {
  if (x.dtype !== "f32") return undefined;
  const plan = planPool(poolWindow("averagePool", x, attrs));
  if (!plan) return undefined;
  const { taps, inputPlane, outputPlane, starts, steps, inside, table } = plan;
  const planes = x.shape[0] * x.shape[1];
  const least = attrs.countIncludePad ? onPadding : 0;
  const counts = Float64Array.from({ length: outputPlane }, (_, o) =>
    table.subarray(o * taps, (o + 1) * taps).reduce((n, t) => n + (t >= least ? 1 : 0), 0),
  );
  return {
    run([source], [out]) {
      const x = f32(source);
      const y = f32(out);
      for (let p = 0; p < planes; p++) {
        const at = p * inputPlane;
        const to = p * outputPlane;
        for (let o = 0; o < outputPlane; o++) {
          let sum = 0;
          if (inside[o] === 1) {
            const start = at + starts[o];
            for (let t = 0; t < taps; t++) sum += x[start + steps[t]];
          } else for (let t = o * taps; t < (o + 1) * taps; t++) if (table[t] >= 0) sum += x[at + table[t]];
          y[to + o] = sum / counts[o];
        }
      }
    },
  };
});

const globalAverageKernel = kernel<HostStep, typeof globalAveragePool>(
  globalAveragePool,
  "cpu/globalAveragePool/plane",
  ([x]) => {
    if (x.dtype !== "f32") return undefined;
    const size = sizeOf(x.shape.slice(2));
    return {
      run([source], [y]) {
        const x = f32(source);
        for (let p = 0, i = 0; p < y.length; p++) {
          let sum = 0;
          for (const end = i + size; i < end; i++) sum += x[i];
          y[p] = sum / size;
        }
      },
    };
  },
);

const globalMaxKernel = kernel<HostStep, typeof globalMaxPool>(globalMaxPool, "cpu/globalMaxPool/plane", ([x]) => {
  if (x.dtype !== "f32") return undefined;
  const size = sizeOf(x.shape.slice(2));
  return {
    run([source], [y]) {
      const x = f32(source);
      for (let p = 0, i = 0; p < y.length; p++) {
        let best = -Infinity;
        for (const end = i + size; i < end; i++) if (x[i] > best || Number.isNaN(x[i])) best = x[i];
        y[p] = best;
      }
    },
  };
});

export const poolKernels: Kernel<HostStep>[] = [
  maxPoolKernel("cpu/maxPool/plane", false),
  maxPoolKernel("cpu/maxPool/indices", true),
  averageKernel,
  globalAverageKernel,
  globalMaxKernel,
];
