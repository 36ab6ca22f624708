/**
 * Normalisations of channels, and those of rows that few models have. batchNorm, whose statistics are given, is
 * elementwise.
 */
import { channelsFirst } from "../../ops/batch-norm.ts";
import type { GroupNormAttrs } from "../../ops/group-norm.ts";
import { batchNorm, batchNormTraining, groupNorm, instanceNorm, lpNorm, meanVarianceNorm } from "../../ops/index.ts";
import { normalizeAxes, normalizeAxis, sizeOf } from "../../tensor/shape.ts";
import type { TensorType } from "../../tensor/tensor.ts";
import { elementwiseStep } from "./elementwise.ts";
import { type Affine, type Norm, normStep, sum } from "./norm.ts";
import { isShort, type Rows, rowDispatch, rowsAlong } from "./rows.ts";
import { type Binding, type GpuKernels, type GpuStep, gpuKernel } from "./step.ts";
import { type GpuTarget, storageOf } from "./target.ts";
import { literal, loaded, read, splat, stored, write } from "./wgsl.ts";

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

export const channelNormKernels: GpuKernels = (target) => [
  ...[true, false].flatMap((short) => {
    const form = short ? "rows" : "group";
    const name = (op: { op: { name: string } }): string => `webgpu/${op.op.name}/${form}`;
    return [
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
