/** Normalisations of rows. batchNorm, whose statistics are given, is elementwise. */

import { channelsFirst } from "../../ops/batch-norm.ts";
import type { GroupNormAttrs } from "../../ops/group-norm.ts";
import {
  batchNorm,
  batchNormTraining,
  groupNorm,
  instanceNorm,
  layerNorm,
  layerNormStatistics,
  lpNorm,
  meanVarianceNorm,
  rmsNorm,
} from "../../ops/index.ts";
import { broadcastStrides, normalizeAxes, normalizeAxis, type Shape, sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { elementwiseStep } from "./elementwise.ts";
import { addition } from "./reduction.ts";
import { isShort, type Rows, type RowValue, rowDispatch, rowsAlong } from "./rows.ts";
import { type Binding, type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type GpuTarget, storageOf } from "./target.ts";
import { literal, loaded, offsets, read, splat, stored, write } from "./wgsl.ts";

const sum: RowValue = { name: "together", type: "f32", ...addition };

interface Norm {
  readonly rows: Rows;
  readonly x: TensorType;
  /** By output; undefined where nobody reads it. */
  readonly outputs: readonly (TensorType | undefined)[];
  readonly epsilon: number;
  /** rms: the mean is not subtracted. lp: neither, and the sum takes the mean's place. */
  readonly kind: "mean" | "rms" | "l1" | "l2" | "deviation";
  /** Inputs that the result is multiplied with and added to; how element `at` of x reads them. */
  readonly scale?: Affine;
  readonly bias?: Affine;
  /** Statistics instead of the normalised elements. */
  readonly statistics?: boolean;
}

interface Affine {
  readonly input: number;
  readonly type: TensorType;
  /** Of the tensor that the elements of x count as, and the strides of this one over it. */
  readonly shape: Shape;
  readonly strides: readonly number[];
}

function normStep(target: GpuTarget, n: Norm): GpuStep | undefined {
  const { rows, x, kind } = n;
  const storage = storageOf(target, x.dtype);
  const results = n.outputs.map((t) => t && storageOf(target, t.dtype));
  const affine = [n.scale, n.bias].map((a) => a && { ...a, storage: storageOf(target, a.type.dtype) });
  if (!storage || n.outputs.some((t, i) => t && !results[i]) || affine.some((a) => a && !a.storage)) return undefined;
  const bindings: Binding[] = [read("x", { input: 0 }, storage.element)];
  results.forEach((r, output) => {
    if (r) bindings.push(write(`y${output}`, { output }, r.element));
  });
  affine.forEach((a, i) => {
    if (a) bindings.push(read(i === 0 ? "scale" : "bias", { input: a.input }, a.storage!.element));
  });
  const v = (at: string) => loaded(storage, 1, `x[${at}]`);
  const centred = kind === "mean" || kind === "deviation";
  const part = kind === "l1" ? "abs(d)" : "d * d";
  const count = `${rows.n}.0`;
  const inverse = {
    mean: `1.0 / sqrt(spread / ${count} + ${literal(n.epsilon)})`,
    rms: `1.0 / sqrt(spread / ${count} + ${literal(n.epsilon)})`,
    deviation: `1.0 / (sqrt(spread / ${count}) + ${literal(n.epsilon)})`,
    l1: "select(1.0 / spread, 0.0, spread == 0.0)",
    l2: "select(1.0 / sqrt(spread), 0.0, spread == 0.0)",
  }[kind];
  const dispatch = rowDispatch(target, rows, {
    bindings,
    values: [sum],
    body({ each, all, once }) {
      const mean = centred
        ? `  var own = 0.0;\n${each("k", (at) => `own += ${v(at)};`)}  let mean = ${all(sum, "own")} / ${count};\n`
        : "  let mean = 0.0;\n";
      const spread = `  var squares = 0.0;
${each("j", (at) => `let d = ${v(at)} - mean; squares += ${part};`)}  let spread = ${all(sum, "squares")};
  let inverse = ${inverse};
`;
      if (n.statistics) {
        const values = ["mean", "inverse"];
        return (
          mean + spread + once(results.map((r, i) => (r ? `y${i}[row] = ${stored(r, 1, values[i])};` : "")).join(" "))
        );
      }
      const write = each("m", (at) => {
        const terms = affine.map((a, i) => {
          if (!a) return { code: "", value: "" };
          const walk = offsets("here", a.shape, [a.strides], i === 0 ? "scaled" : "shifted");
          return { code: walk.code, value: loaded(a.storage!, 1, `${i === 0 ? "scale" : "bias"}[${walk.at[0]}]`) };
        });
        const value = `(${v("here")} - mean) * inverse${terms[0].value && ` * ${terms[0].value}`}${terms[1].value && ` + ${terms[1].value}`}`;
        return `let here = ${at};\n${terms.map((t) => t.code).join("")}    y0[here] = ${stored(results[0]!, 1, value)};`;
      });
      return mean + spread + write;
    },
  });
  return { run: [dispatch] };
}

const broadcast = (x: TensorType, input: number, type: TensorType | undefined): Affine | undefined =>
  type && { input, type, shape: x.shape, strides: broadcastStrides(type.shape, x.shape) };

/** The axes from `axis` on. */
function rowsFrom(op: string, x: TensorType, axis = -1): Rows {
  const a = normalizeAxis(op, axis, x.shape.length);
  return rowsAlong(x.shape, x.shape.map((_, i) => i).slice(a));
}

/** Groups of channels, [batch, groups, size / per, per] with one scale for each `per` elements of a sample. */
function groups(
  target: GpuTarget,
  inputs: readonly TensorType[],
  outputs: readonly TensorType[],
  count: number,
  epsilon = 1e-5,
): { rows: Rows; step: () => GpuStep | undefined } {
  const [x, scale, bias] = inputs;
  const { batch, channels, inner } = channelsFirst(x);
  const rows = rowsAlong([batch * count, (channels / count) * inner], [1]);
  const scales = sizeOf(scale.shape);
  const affine = (input: number, type: TensorType): Affine => ({
    input,
    type,
    shape: [batch, scales, (channels * inner) / scales],
    strides: [0, 1, 0],
  });
  const norm: Norm = { rows, x, outputs, epsilon, kind: "mean", scale: affine(1, scale), bias: affine(2, bias) };
  return { rows, step: () => normStep(target, norm) };
}

/** Each channel by its own statistics, which the running ones move towards. */
function trainingStep(
  target: GpuTarget,
  rows: Rows,
  inputs: readonly TensorType[],
  outputs: readonly (TensorType | undefined)[],
  epsilon: number,
  momentum: number,
): GpuStep | undefined {
  const storages = inputs.map((t) => storageOf(target, t.dtype));
  const [x, scale, bias, mean, variance] = storages;
  if (!x || !scale || !bias || !mean || !variance) return undefined;
  const names = ["x", "scale", "bias", "mean", "variance"];
  const results = ["y", "runningMean", "runningVariance"];
  const bindings: Binding[] = names.flatMap((name, input) =>
    input < 3 || outputs[input - 2] ? [read(name, { input }, storages[input]!.element)] : [],
  );
  outputs.forEach((t, output) => {
    if (t) bindings.push(write(results[output], { output }, storageOf(target, t.dtype)!.element));
  });
  const v = (at: string) => loaded(x, 1, `x[${at}]`);
  const running = (name: string, storage: typeof x, output: number, now: string): string => {
    if (!outputs[output]) return "";
    const value = `${loaded(storage, 1, `${name}[row]`)} * ${literal(momentum)} + ${now} * ${literal(1 - momentum)}`;
    return `${results[output]}[row] = ${stored(storage, 1, value)};`;
  };
  const dispatch = rowDispatch(target, rows, {
    bindings,
    values: [sum],
    body: ({ each, all, once }) => `  var own = 0.0;
${each("k", (at) => `own += ${v(at)};`)}  let centre = ${all(sum, "own")} / ${rows.n}.0;
  var squares = 0.0;
${each("j", (at) => `let d = ${v(at)} - centre; squares += d * d;`)}  let spread = ${all(sum, "squares")} / ${rows.n}.0;
  let factor = ${loaded(scale, 1, "scale[row]")} / sqrt(spread + ${literal(epsilon)});
  let shift = ${loaded(bias, 1, "bias[row]")};
${outputs[0] ? each("m", (at) => `y[${at}] = ${stored(x, 1, `(${v(at)} - centre) * factor + shift`)};`) : ""}
${once(`${running("mean", mean, 1, "centre")} ${running("variance", variance, 2, "spread")}`)}`,
  });
  return { run: [dispatch] };
}

export const normKernels: GpuKernels = (target) => [
  ...[true, false].flatMap((short) => {
    const form = short ? "rows" : "group";
    const name = (op: { op: { name: string } }): string => `webgpu/${op.op.name}/${form}`;
    return [
      gpuKernel(layerNorm, name(layerNorm), ([x, scale, bias], outputs, { axis, epsilon = 1e-5 }) => {
        const rows = rowsFrom("layerNorm", x, axis);
        if (isShort(rows) !== short) return undefined;
        return normStep(target, {
          rows,
          x,
          outputs,
          epsilon,
          kind: "mean",
          scale: broadcast(x, 1, scale),
          bias: broadcast(x, 2, bias),
        });
      }),
      gpuKernel(layerNormStatistics, name(layerNormStatistics), ([x], outputs, { axis, epsilon = 1e-5 }) => {
        const rows = rowsFrom("layerNormStatistics", x, axis);
        if (isShort(rows) !== short) return undefined;
        return normStep(target, { rows, x, outputs, epsilon, kind: "mean", statistics: true });
      }),
      gpuKernel(rmsNorm, name(rmsNorm), ([x, scale], outputs, { axis, epsilon = 1e-5 }) => {
        const rows = rowsFrom("rmsNorm", x, axis);
        if (isShort(rows) !== short) return undefined;
        return normStep(target, { rows, x, outputs, epsilon, kind: "rms", scale: broadcast(x, 1, scale) });
      }),
      gpuKernel(instanceNorm, name(instanceNorm), (inputs, outputs, { epsilon }) => {
        const { rows, step } = groups(target, inputs, outputs, channelsFirst(inputs[0]).channels, epsilon);
        return isShort(rows) === short ? step() : undefined;
      }),
      gpuKernel(groupNorm, name(groupNorm), (inputs, outputs, attrs: GroupNormAttrs) => {
        const { rows, step } = groups(target, inputs, outputs, attrs.groups, attrs.epsilon);
        return isShort(rows) === short ? step() : undefined;
      }),
      gpuKernel(batchNormTraining, name(batchNormTraining), (inputs, outputs, { epsilon = 1e-5, momentum = 0.9 }) => {
        const { batch, channels, inner } = channelsFirst(inputs[0]);
        const rows = rowsAlong([batch, channels, inner], [0, 2]);
        return isShort(rows) === short ? trainingStep(target, rows, inputs, outputs, epsilon, momentum) : undefined;
      }),
      gpuKernel(lpNorm, name(lpNorm), ([x], outputs, { axis = -1, p = 2 }) => {
        const rows = rowsAlong(x.shape, x.shape.length === 0 ? [] : [normalizeAxis("lpNorm", axis, x.shape.length)]);
        if (isShort(rows) !== short) return undefined;
        return normStep(target, { rows, x, outputs, epsilon: 0, kind: p === 1 ? "l1" : "l2" });
      }),
      gpuKernel(meanVarianceNorm, name(meanVarianceNorm), ([x], outputs, { axes = [0, 2, 3] }) => {
        const rows = rowsAlong(x.shape, normalizeAxes("meanVarianceNorm", axes, x.shape.length));
        if (isShort(rows) !== short) return undefined;
        return normStep(target, { rows, x, outputs, epsilon: 1e-9, kind: "deviation" });
      }),
    ];
  }),
  gpuKernel(batchNorm, "webgpu/batchNorm", ([x, ...perChannel], [y], { epsilon = 1e-5 }) => {
    const alongChannels = x.shape.length < 2 ? [] : [perChannel[0].shape[0], ...x.shape.slice(2).map(() => 1)];
    return elementwiseStep(target, {
      output: y,
      operands: [x, ...perChannel].map((t, input) => ({
        input,
        type: input === 0 ? t : { dtype: t.dtype, shape: alongChannels },
      })),
      value: ([v, scale, bias, mean, variance]) =>
        `(${v} - ${mean}) * (${scale} / sqrt(${variance} + ${splat(epsilon)})) + ${bias}`,
    });
  }),
];
