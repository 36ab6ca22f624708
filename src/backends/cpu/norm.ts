/**
 * Normalisations of f32. Each reads a set of elements once for its sum and sum of squares (in double, where the
 * difference of the two keeps more digits than f32 data has) and once more, from the cache, to write it.
 * - `layerNorm/rows`, `rmsNorm/rows`: scale and bias cover exactly the normalised axes.
 * - `batchNorm/channels`: statistics, scale and bias become one factor and one summand a channel.
 * - `groups`: instanceNorm and groupNorm.
 * - `localResponseNorm/window`: the sum over channels is a window that moves, kept for a whole plane at a time.
 * - `lpNorm/columns`, `meanVarianceNorm/sets`: in two and three passes, the latter about the mean.
 */
import { batchNorm, channelsFirst } from "../../ops/batch-norm.ts";
import { groupNorm, instanceNorm } from "../../ops/group-norm.ts";
import { layerNorm, rmsNorm, rowsFrom } from "../../ops/layer-norm.ts";
import { localResponseNorm, lpNorm, MVN_EPSILON, meanVarianceNorm } from "../../ops/local-norm.ts";
import { blocksOf } from "../../ops/reduce.ts";
import { aroundAxis } from "../../ops/softmax.ts";
import { normalizeAxes, sizeOf } from "../../tensor/shape.ts";
import { type HostStep, hostKernel, type Kernel, type KernelInput } from "../backend.ts";

const allF32 = (inputs: readonly (KernelInput | undefined)[]): boolean => inputs.every((x) => !x || x.dtype === "f32");

/** Whether `t`, which broadcasts to x, has one element for each of the last `n` of x. */
const coversRow = (t: KernelInput | undefined, x: KernelInput, n: number): boolean => {
  if (!t) return true;
  // Of the right size, and not repeated along a normalised axis while running along another one.
  const own = t.shape.slice(t.shape.findIndex((d) => d !== 1));
  return sizeOf(t.shape) === n && (n === 1 || own.every((d, i) => d === x.shape[x.shape.length - own.length + i]));
};

function layerNormRows(
  x: Float32Array,
  scale: Float32Array,
  bias: Float32Array | undefined,
  y: Float32Array,
  n: number,
  epsilon: number,
): void {
  for (let at = 0; at < x.length; at += n) {
    let sum = 0;
    let squares = 0;
    for (let i = at; i < at + n; i++) {
      const v = x[i];
      sum += v;
      squares += v * v;
    }
    const mean = sum / n;
    const factor = 1 / Math.sqrt(Math.max(squares / n - mean * mean, 0) + epsilon);
    if (bias) for (let i = 0; i < n; i++) y[at + i] = (x[at + i] - mean) * factor * scale[i] + bias[i];
    else for (let i = 0; i < n; i++) y[at + i] = (x[at + i] - mean) * factor * scale[i];
  }
}

const layerNormKernel = hostKernel(layerNorm, "cpu/layerNorm/rows", (inputs, _, { axis, epsilon = 1e-5 }) => {
  const [x, scale, bias] = inputs;
  const { n } = rowsFrom("layerNorm", x, axis);
  if (!allF32(inputs) || n === 0 || !coversRow(scale, x, n) || !coversRow(bias, x, n)) return undefined;
  return {
    inplace: true,
    run([x, scale, bias], [y]) {
      layerNormRows(x as Float32Array, scale as Float32Array, bias as Float32Array, y as Float32Array, n, epsilon);
    },
  };
});

function rmsNormRows(x: Float32Array, scale: Float32Array, y: Float32Array, n: number, epsilon: number): void {
  for (let at = 0; at < x.length; at += n) {
    let squares = 0;
    for (let i = at; i < at + n; i++) squares += x[i] * x[i];
    const factor = 1 / Math.sqrt(squares / n + epsilon);
    for (let i = 0; i < n; i++) y[at + i] = x[at + i] * factor * scale[i];
  }
}

const rmsNormKernel = hostKernel(rmsNorm, "cpu/rmsNorm/rows", (inputs, _, { axis, epsilon = 1e-5 }) => {
  const [x, scale] = inputs;
  const { n } = rowsFrom("rmsNorm", x, axis);
  if (!allF32(inputs) || n === 0 || !coversRow(scale, x, n)) return undefined;
  return {
    inplace: true,
    run: ([x, scale], [y]) => rmsNormRows(x as Float32Array, scale as Float32Array, y as Float32Array, n, epsilon),
  };
});

/** y = x * factor + shift over [from, to). */
function affine(x: Float32Array, y: Float32Array, from: number, to: number, factor: number, shift: number): void {
  for (let i = from; i < to; i++) y[i] = x[i] * factor + shift;
}

const batchNormKernel = hostKernel(batchNorm, "cpu/batchNorm/channels", (inputs, _, { epsilon = 1e-5 }) => {
  if (!allF32(inputs)) return undefined;
  const { batch, channels, inner } = channelsFirst(inputs[0]);
  const factors = new Float64Array(channels);
  const shifts = new Float64Array(channels);
  return {
    inplace: true,
    run(inputs, outputs) {
      const [x, scale, bias, mean, variance] = inputs as Float32Array[];
      const [y] = outputs as Float32Array[];
      for (let c = 0; c < channels; c++) {
        factors[c] = scale[c] / Math.sqrt(variance[c] + epsilon);
        shifts[c] = bias[c] - mean[c] * factors[c];
      }
      if (inner === 1)
        for (let at = 0; at < x.length; at += channels)
          for (let c = 0; c < channels; c++) y[at + c] = x[at + c] * factors[c] + shifts[c];
      else
        for (let p = 0; p < batch * channels; p++)
          affine(x, y, p * inner, (p + 1) * inner, factors[p % channels], shifts[p % channels]);
    },
  };
});

function normalizeGroups(
  x: Float32Array,
  scale: Float32Array,
  bias: Float32Array,
  y: Float32Array,
  groups: number,
  size: number,
  epsilon: number,
): void {
  // scale and bias cover runs of this many elements.
  const run = (groups * size) / scale.length;
  for (let g = 0, at = 0; at < x.length; g++, at += size) {
    let sum = 0;
    let squares = 0;
    for (let i = at; i < at + size; i++) {
      const v = x[i];
      sum += v;
      squares += v * v;
    }
    const mean = sum / size;
    const factor = 1 / Math.sqrt(Math.max(squares / size - mean * mean, 0) + epsilon);
    const first = ((g % groups) * size) / run;
    for (let r = 0; r * run < size; r++) {
      const a = factor * scale[first + r];
      affine(x, y, at + r * run, at + (r + 1) * run, a, bias[first + r] - mean * a);
    }
  }
}

const groupsOf = (inputs: readonly KernelInput[], groups: number, epsilon: number): HostStep | undefined => {
  const { channels, inner } = channelsFirst(inputs[0]);
  const size = (channels / groups) * inner;
  if (!allF32(inputs) || size === 0) return undefined;
  return {
    inplace: true,
    run(inputs, outputs) {
      const [x, scale, bias] = inputs as Float32Array[];
      normalizeGroups(x, scale, bias, outputs[0] as Float32Array, groups, size, epsilon);
    },
  };
};

/** (bias + alpha / size * squares) ** -beta for a plane, times x. */
function scaleByPower(
  x: Float32Array,
  y: Float32Array,
  at: number,
  squares: Float64Array,
  weight: number,
  bias: number,
  beta: number,
): void {
  if (beta === 0.75)
    for (let i = 0; i < squares.length; i++) {
      const root = Math.sqrt(bias + weight * squares[i]);
      y[at + i] = x[at + i] / (root * Math.sqrt(root));
    }
  else for (let i = 0; i < squares.length; i++) y[at + i] = x[at + i] * (bias + weight * squares[i]) ** -beta;
}

function addSquares(x: Float32Array, at: number, squares: Float64Array, sign: number): void {
  for (let i = 0; i < squares.length; i++) squares[i] += sign * x[at + i] * x[at + i];
}

const localResponseNormKernel = hostKernel(
  localResponseNorm,
  "cpu/localResponseNorm/window",
  ([x], _, { size, alpha = 1e-4, beta = 0.75, bias = 1 }) => {
    if (x.dtype !== "f32") return undefined;
    const { batch, channels, inner } = channelsFirst(x);
    const before = Math.floor((size - 1) / 2);
    const after = Math.ceil((size - 1) / 2);
    const squares = new Float64Array(inner);
    return {
      run(inputs, outputs) {
        const [x] = inputs as Float32Array[];
        for (let b = 0; b < batch; b++) {
          const plane = (c: number): number => (b * channels + c) * inner;
          squares.fill(0);
          for (let c = 0; c < Math.min(after, channels); c++) addSquares(x, plane(c), squares, 1);
          for (let c = 0; c < channels; c++) {
            if (c + after < channels) addSquares(x, plane(c + after), squares, 1);
            if (c - before > 0) addSquares(x, plane(c - before - 1), squares, -1);
            scaleByPower(x, outputs[0] as Float32Array, plane(c), squares, alpha / size, bias, beta);
          }
        }
      },
    };
  },
);

/** Along the axis for all `inner` columns at once: their norms, then what is left of them. */
function lpColumns(
  x: Float32Array,
  y: Float32Array,
  at: number,
  n: number,
  norms: Float64Array,
  squared: boolean,
): void {
  const inner = norms.length;
  norms.fill(0);
  for (let k = 0, j = at; k < n; k++)
    for (let i = 0; i < inner; i++, j++) norms[i] += squared ? x[j] * x[j] : Math.abs(x[j]);
  for (let i = 0; i < inner; i++) norms[i] = norms[i] === 0 ? 0 : 1 / (squared ? Math.sqrt(norms[i]) : norms[i]);
  for (let k = 0, j = at; k < n; k++) for (let i = 0; i < inner; i++, j++) y[j] = x[j] * norms[i];
}

const lpNormKernel = hostKernel(lpNorm, "cpu/lpNorm/columns", ([x], _, { axis = -1, p = 2 }) => {
  if (x.dtype !== "f32") return undefined;
  const { outer, n, inner } = aroundAxis("lpNorm", x.shape, axis);
  const norms = new Float64Array(inner);
  return {
    run([a], [b]) {
      for (let o = 0; o < outer; o++) lpColumns(a as Float32Array, b as Float32Array, o * n * inner, n, norms, p === 2);
    },
  };
});

const meanVarianceKernel = hostKernel(meanVarianceNorm, "cpu/meanVarianceNorm/sets", ([x], _, { axes = [0, 2, 3] }) => {
  if (x.dtype !== "f32") return undefined;
  const gone = normalizeAxes("meanVarianceNorm", axes, x.shape.length);
  const blocks = blocksOf(x.shape, gone);
  if (!blocks) return undefined;
  const { outerKept, outerReduced, kept, reduced } = blocks;
  const size = outerReduced * reduced;
  return {
    run([a], [b]) {
      for (let s = 0; s < outerKept * kept; s++) {
        const at = Math.floor(s / kept) * outerReduced * kept * reduced + (s % kept) * reduced;
        standardise(a as Float32Array, b as Float32Array, at, outerReduced, kept * reduced, reduced, size);
      }
    },
  };
});

/** `rows` rows of n elements, `stride` apart, to mean 0 and variance 1. */
function standardise(
  x: Float32Array,
  y: Float32Array,
  at: number,
  rows: number,
  stride: number,
  n: number,
  size: number,
): void {
  const end = at + rows * stride;
  let sum = 0;
  for (let r = at; r < end; r += stride) for (let i = r; i < r + n; i++) sum += x[i];
  const mean = sum / size;
  let squares = 0;
  for (let r = at; r < end; r += stride) for (let i = r; i < r + n; i++) squares += (x[i] - mean) * (x[i] - mean);
  const deviation = Math.sqrt(squares / size) + MVN_EPSILON;
  for (let r = at; r < end; r += stride) for (let i = r; i < r + n; i++) y[i] = (x[i] - mean) / deviation;
}

export const normKernels: readonly Kernel<HostStep>[] = [
  layerNormKernel,
  rmsNormKernel,
  batchNormKernel,
  hostKernel(instanceNorm, "cpu/instanceNorm/groups", (inputs, _, { epsilon = 1e-5 }) =>
    groupsOf(inputs, channelsFirst(inputs[0]).channels, epsilon),
  ),
  hostKernel(groupNorm, "cpu/groupNorm/groups", (inputs, _, { groups, epsilon = 1e-5 }) =>
    groupsOf(inputs, groups, epsilon),
  ),
  localResponseNormKernel,
  lpNormKernel,
  meanVarianceKernel,
];
