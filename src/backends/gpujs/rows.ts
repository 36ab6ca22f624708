/**
 * Softmax and normalisations: passes that give one number a row (a maximum, a sum, a mean), then one over the elements.
 * A row is `n` elements `inner` apart.
 */
import { batchNorm, channelsFirst } from "../../ops/batch-norm.ts";
import { groupNorm, instanceNorm } from "../../ops/group-norm.ts";
import { layerNorm, rmsNorm, rowsFrom } from "../../ops/layer-norm.ts";
import { aroundAxis, logSoftmax, softmax } from "../../ops/softmax.ts";
import { sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { gpuKernel, literal, offsetIn, type Pass, quotient, remainder } from "./code.ts";

/** Folds each row into `acc`: from `start`, by `each` element `v`, ending with `result`. */
const rowPass = (
  { rows, n, inner = 1 }: { rows: number; n: number; inner?: number },
  { start, each, result = "acc" }: { start: string; each: string; result?: string },
): Pass => ({
  count: rows,
  body: `
    const row = this.thread.x;
    const from = ${quotient("row", inner)} * ${n * inner} + ${remainder("row", inner)};
    let acc = ${start};
    for (let k = 0; k < ${n}; k++) {
      const v = x[from + k * ${inner}];
      ${each}
    }
    return ${result};`,
});

const softmaxPasses = (op: string, axis: number | undefined, x: TensorType, log: boolean): readonly Pass[] => {
  const { outer, n, inner } = aroundAxis(op, x.shape, axis ?? -1);
  const rows = { rows: outer * inner, n, inner };
  const row = `${quotient("i", n * inner)} * ${inner} + ${remainder("i", inner)}`;
  const shifted = "x[i] - pass0[row]";
  return [
    rowPass(rows, { start: "x[from]", each: "if (v > acc) { acc = v; }" }),
    rowPass(rows, { start: "0", each: "acc += expOf(v - pass0[row]);" }),
    {
      count: sizeOf(x.shape),
      body: `
        const i = this.thread.x;
        const row = ${row};
        return ${log ? `${shifted} - logOf(pass1[row])` : `expOf(${shifted}) / pass1[row]`};`,
    },
  ];
};

/** Mean as pass 0, 1 / deviation as pass 1. */
const momentPasses = (rows: { rows: number; n: number }, epsilon: number): Pass[] => [
  rowPass(rows, { start: "0", each: "acc += v;", result: `acc / ${rows.n}` }),
  rowPass(rows, {
    start: "0",
    each: "const d = v - pass0[row]; acc += d * d;",
    result: `1 / Math.sqrt(acc / ${rows.n} + ${literal(epsilon)})`,
  }),
];

/** Groups of channels: scale and bias have one element for every `per` elements of a sample. */
const groupPasses = (x: TensorType, groups: number, scales: number, epsilon: number): readonly Pass[] => {
  const { batch, channels, inner } = channelsFirst(x);
  const n = (channels / groups) * inner;
  const per = (channels * inner) / scales;
  return [
    ...momentPasses({ rows: batch * groups, n }, epsilon),
    {
      count: sizeOf(x.shape),
      body: `
        const i = this.thread.x;
        const row = ${quotient("i", n)};
        const c = ${remainder(quotient("i", per), scales)};
        return (x[i] - pass0[row]) * pass1[row] * scale[c] + bias[c];`,
    },
  ];
};

export const rowKernels = [
  gpuKernel(softmax, "rows", ([x], _, { axis }) => softmaxPasses("softmax", axis, x, false)),
  gpuKernel(logSoftmax, "rows", ([x], _, { axis }) => softmaxPasses("logSoftmax", axis, x, true)),
  gpuKernel(layerNorm, "rows", ([x, scale, bias], _, { axis, epsilon = 1e-5 }) => {
    const { rows, n } = rowsFrom("layerNorm", x, axis);
    const shift = bias ? ` + bias[${offsetIn(bias.shape, x.shape, "i")}]` : "";
    return [
      ...momentPasses({ rows, n }, epsilon),
      {
        count: sizeOf(x.shape),
        body: `
          const i = this.thread.x;
          const row = ${quotient("i", n)};
          return (x[i] - pass0[row]) * pass1[row] * scale[${offsetIn(scale.shape, x.shape, "i")}]${shift};`,
      },
    ];
  }),
  gpuKernel(rmsNorm, "rows", ([x, scale], _, { axis, epsilon = 1e-5 }) => {
    const { rows, n } = rowsFrom("rmsNorm", x, axis);
    return [
      rowPass(
        { rows, n },
        { start: "0", each: "acc += v * v;", result: `1 / Math.sqrt(acc / ${n} + ${literal(epsilon)})` },
      ),
      {
        count: sizeOf(x.shape),
        body: `
          const i = this.thread.x;
          return x[i] * pass0[${quotient("i", n)}] * scale[${offsetIn(scale.shape, x.shape, "i")}];`,
      },
    ];
  }),
  gpuKernel(instanceNorm, "rows", ([x], _, { epsilon = 1e-5 }) => {
    const { channels } = channelsFirst(x);
    return groupPasses(x, channels, channels, epsilon);
  }),
  gpuKernel(groupNorm, "rows", ([x, scale], _, { groups, epsilon = 1e-5 }) =>
    groupPasses(x, groups, scale.shape[0], epsilon),
  ),
  gpuKernel(batchNorm, "element", ([x], _, { epsilon = 1e-5 }) => {
    const { channels, inner } = channelsFirst(x);
    return `
      const i = this.thread.x;
      const c = ${remainder(quotient("i", inner), channels)};
      return (x[i] - mean[c]) / Math.sqrt(variance[c] + ${literal(epsilon)}) * scale[c] + bias[c];`;
  }),
];
